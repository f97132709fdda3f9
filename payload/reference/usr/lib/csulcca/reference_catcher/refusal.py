"""Why the catcher does not start, and with which exit status."""

EX_FAILED, EX_USAGE, EX_CONFIG = 1, 2, 78   # CSUTKEcat.service does not restart after 78

NEW_PAIR = "install a matching PEM pair with: catcherctl cert install KEY CRT"
EDIT_CONF = "edit %s, then: systemctl restart CSUTKEcat"


class Refused(Exception):
    """The catcher cannot start: exit status, what is wrong in one line, what to type in another."""

    def __init__(self, status, line, hint):
        Exception.__init__(self, line)
        self.status, self.line, self.hint = status, line, hint
