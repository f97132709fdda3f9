"""The process itself: what ps shows of it, its limits, and its messages to systemd."""

import os
import socket

from .log import DEBUG


def show_as(words, log):
    """Make ps show WORDS as the arguments of this process, instead of those of the interpreter.

    ps gets the text between arg_start and arg_end (proc_pid_stat(5), fields 48 and 49). We may write into that memory,
    by /proc/self/mem even without ctypes. If that fails, the interpreter's arguments stay visible, which end with the
    same words. Nothing depends on it.
    """
    title = b"\0".join(os.fsencode(word) for word in words) + b"\0"
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        with open("/proc/self/cmdline", "rb") as file:
            shown = file.read()
        if not 0 < len(title) <= end - start == len(shown):
            raise ValueError("no room of a known size")
        with open("/proc/self/mem", "r+b", buffering=0) as file:
            file.seek(start)
            if file.read(end - start) != shown:
                raise ValueError("unexpected contents")
            file.seek(start)
            file.write(title.ljust(end - start, b"\0"))
        with open("/proc/self/comm", "wb", buffering=0) as file:
            file.write(os.path.basename(os.fsencode(words[0]))[:15])
    except (OSError, ValueError, IndexError) as error:
        log(DEBUG, "ps shows the interpreter's arguments: %s" % error)


def leave_no_core():
    """Keep our memory, which contains the key, out of core files and crash reports."""
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A crash reporter may ignore that limit. With this filter it gets none of our memory (core(5), coredump_filter).
    try:
        with open("/proc/self/coredump_filter", "wb", buffering=0) as file:
            file.write(b"0")
    except OSError:
        return      # a kernel without core files has no such file


def tell_systemd(state):
    """Send STATE, e.g. READY=1, to systemd if it asked for that (sd_notify(3)). Returns whether it was sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.sendto(state.encode("ascii"), address.replace("@", "\0", 1) if address[0] == "@" else address)
    except OSError:
        return False
    return True


def give_back_memory():
    """Make the C library return free memory to the system. By itself it keeps everything below the last used block."""
    try:
        import ctypes
        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):
        return      # musl has no such call: the memory stays with us, for later connections


def allow_descriptors(settings):
    """Raise the soft limit of descriptors to what max_connections needs. With fewer, the catcher sometimes stops
    accepting for a moment."""
    import resource
    needed = 2 * settings.max_connections + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
