"""The log: lines on stderr, which the journal keeps."""

import os
import time

ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7     # syslog's priorities
LOG_LINES, LOG_WINDOW = 200, 10.0   # lines about connections in so many seconds; the rest is counted


class Log:
    """Lines on stderr, with systemd's <N> priorities where stderr is the journal. ASCII, no control characters."""

    def __init__(self):
        self.journal = stderr_is_journal()
        self.window_end, self.lines, self.suppressed = 0.0, 0, 0

    def __call__(self, priority, text):
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
        prefix = "<%d>" % priority if self.journal else "catcher.exe: "
        try:
            os.write(2, (prefix + text + "\n").encode("ascii"))
        except OSError:
            return  # stderr is gone, and there is nowhere else to say so

    def connection(self, priority, text):
        """Like a call, for lines that peers cause: beyond LOG_LINES in LOG_WINDOW seconds they are only counted."""
        self.tick(time.monotonic())
        self.lines += 1
        if self.lines > LOG_LINES:
            self.suppressed += 1
        else:
            self(priority, text)

    def tick(self, now):
        """Begins a new window when the old one is over, and reports what that one suppressed."""
        if now < self.window_end:
            return
        if self.suppressed:
            self(NOTICE, "%d more lines about connections were suppressed" % self.suppressed)
        self.window_end, self.lines, self.suppressed = now + LOG_WINDOW, 0, 0


def stderr_is_journal():
    """True where stderr is the stream that JOURNAL_STREAM names (systemd.exec(5)), not something it was sent on to."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == "%d:%d" % (status.st_dev, status.st_ino)


def summary(error):
    """An unexpected error in one line: its type, text and place."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return "%s: %s (%s, line %d)" % (
        type(error).__name__, error, os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno)
