"""Refusals to start, with their exit statuses."""

import errno

EX_FAILED, EX_USAGE, EX_CONFIG = 1, 2, 78   # CSUTKEcat.service does not restart after 78

# Errors of a read that may soon go away.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EINTR,
           errno.ESTALE)

NEW_PAIR = "install a matching PEM pair with: catcherctl cert install KEY CRT"
EDIT_CONF = "edit %s, then: systemctl restart CSUTKEcat"


class Refused(Exception):
    """The catcher cannot start. status: the exit status. line: what is wrong. hint: what to type, or None."""

    def __init__(self, status, line, hint):
        Exception.__init__(self, line)
        self.status, self.line, self.hint = status, line, hint


def status_of(error):
    """Return the exit status for a file that could not be read. It tells systemd whether to try again."""
    return EX_FAILED if error.errno in PASSING else EX_CONFIG
