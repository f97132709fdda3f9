"""The log: lines on stderr, which the journal keeps."""

import os
import select
import socket
import stat
import time

ERROR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7     # syslog's priorities
# Limits of the number of lines in WINDOW seconds. Further lines are only counted. Connections that were used and those
# that failed have separate limits, and so has each peer: so neither one peer nor failures hide who used the catcher.
WINDOW = 10.0
USE_LINES = 200         # on the used connections of one peer,
ALL_USE_LINES = 1200    # and of all peers; the first line of a peer is always logged
NOISE_LINES = 50        # on the failed connections of one peer,
ALL_NOISE_LINES = 1000  # and of all peers. journald drops all lines of a service that logs 10,000 lines in 30 s
PEERS = 1024            # peers with counters of their own in a window; all others share one
OTHERS = "other addresses"


class Log:
    """Lines on stderr, with systemd's <N> priorities if stderr is the journal. ASCII, no control characters."""

    def __init__(self):
        self.journal = stderr_is_journal()
        self.socket = stderr_socket()
        self.lost = 0           # lines for which stderr had no room
        self.window_end = 0.0
        self.uses, self.noises, self.hidden = {}, {}, {}    # lines of this window by peer; hidden by (peer, kind)

    def __call__(self, priority, text):
        if self.lost:
            text = "%s (the log has lost %d lines before this one, because nobody read it)" % (text, self.lost)
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
        prefix = "<%d>" % priority if self.journal else "catcher.exe: "
        try:
            self._write((prefix + text + "\n").encode("ascii"))
        except OSError:
            # There is no other place to report it.
            self.lost += 1
            return
        self.lost = 0

    def _write(self, line):
        """Write a line to stderr. Raises OSError instead of waiting if stderr has no room: a reader that hangs must not
        stop the catcher."""
        if self.socket is not None:
            self.socket.send(line, socket.MSG_DONTWAIT)
            return
        room = select.poll()    # one for each thread
        room.register(2, select.POLLOUT)
        if not room.poll(0):
            raise BlockingIOError
        os.write(2, line)

    def use(self, peer, priority, text):
        """Log a line about what PEER (see origin()) did with the catcher."""
        self.tick(time.monotonic())
        peer, count = count_line(self.uses, peer)
        if count == 1 or count <= USE_LINES and sum(self.uses.values()) <= ALL_USE_LINES:
            self(priority, text)
        else:
            self._hide(peer, "its connections")

    def noise(self, peer, priority, text):
        """Log a line about what PEER (see origin()) tried without success."""
        self.tick(time.monotonic())
        peer, count = count_line(self.noises, peer)
        if count <= NOISE_LINES and sum(self.noises.values()) <= ALL_NOISE_LINES:
            self(priority, text)
        else:
            self._hide(peer, "its connections that failed")

    def _hide(self, peer, what):
        self.hidden[peer, what] = self.hidden.get((peer, what), 0) + 1

    def tick(self, now):
        """Begin a new window when the old window is over, and report what was suppressed in it."""
        if now < self.window_end:
            return
        hidden = self.hidden
        self.window_end, self.uses, self.noises, self.hidden = now + WINDOW, {}, {}, {}
        for number, ((peer, what), count) in enumerate(
                sorted(hidden.items(), key=lambda item: item[0][1])):     # use before noise
            if number == NOISE_LINES:
                self(NOTICE, "the same of %d more addresses" % (len(hidden) - number))
                break
            self(NOTICE, "%s: %d more lines about %s were suppressed" % (peer, count, what))


def count_line(lines, peer):
    """Count a line in LINES, {peer: number of lines}. Returns the peer, or OTHERS if there are too many peers, and its
    number."""
    if len(lines) >= PEERS and peer not in lines:
        peer = OTHERS
    lines[peer] = lines.get(peer, 0) + 1
    return peer, lines[peer]


def stderr_socket():
    """Return stderr as a socket, as it is for the journal; None if it is another kind of file. (For a socket poll(2)
    cannot be used: it reports no room as soon as a quarter is used.)"""
    try:
        return socket.fromfd(2, socket.AF_UNIX, socket.SOCK_STREAM) if stat.S_ISSOCK(os.fstat(2).st_mode) else None
    except OSError:
        return None


def stderr_is_journal():
    """Return whether stderr is the stream that JOURNAL_STREAM names (systemd.exec(5)), and was not redirected since."""
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == "%d:%d" % (status.st_dev, status.st_ino)


def summary(error):
    """Return an unexpected error in one line: its type, text and place."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    return "%s: %s (%s, line %d)" % (
        type(error).__name__, error, os.path.basename(trace.tb_frame.f_code.co_filename), trace.tb_lineno)
