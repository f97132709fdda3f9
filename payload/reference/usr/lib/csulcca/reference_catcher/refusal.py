"""Why the catcher does not start, and with which exit status."""

import errno

EX_FAILED, EX_USAGE, EX_CONFIG = 1, 2, 78   # CSUTKEcat.service does not restart after 78

# Errors of a read that may be over in a moment.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EINTR,
           errno.ESTALE)

NEW_PAIR = "install a matching PEM pair with: catcherctl cert install KEY CRT"
EDIT_CONF = "edit %s, then: systemctl restart CSUTKEcat"


class Refused(Exception):
    """The catcher cannot start: exit status, what is wrong in one line, what to type in another."""

    def __init__(self, status, line, hint):
        Exception.__init__(self, line)
        self.status, self.line, self.hint = status, line, hint


def status_of(error):
    """The exit status for a file that could not be read because of an OSError: whether a second attempt may succeed."""
    return EX_FAILED if error.errno in PASSING else EX_CONFIG
