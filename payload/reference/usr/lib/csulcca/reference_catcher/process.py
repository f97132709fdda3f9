"""The process itself: what ps shows of it, and the limits that the system sets it."""

import os
import socket

from .log import DEBUG


def show_as(words, log):
    """Make ps show WORDS as the arguments of this process, instead of those of the interpreter.

    The kernel tells ps the text between arg_start and arg_end (proc_pid_stat(5), fields 48 and 49). That memory is
    ours to write, and /proc/self/mem does it without ctypes. Where that cannot be done the interpreter's arguments
    stay visible, which end in the same words; nothing depends on it.
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
    """Keep the memory, which contains the key, out of core files and out of a crash reporter."""
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A crash reporter may look past the limit, and then finds no memory that was ours (core(5), coredump_filter).
    try:
        with open("/proc/self/coredump_filter", "wb", buffering=0) as file:
            file.write(b"0")
    except OSError:
        return      # a kernel without core files has no such file


def tell_systemd(state):
    """Send STATE, such as READY=1, to the service manager if it asked for that (sd_notify(3)); True if it was sent."""
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
    """Make the C library return free memory to the system: by itself it keeps all memory below the last used block."""
    try:
        import ctypes
        ctypes.CDLL(None).malloc_trim(0)
    except (ImportError, OSError, AttributeError):
        return      # then it stays ours, for the next connections; musl has no such call


def allow_descriptors(settings):
    """Raise the soft limit of descriptors to what max_connections needs. With less, the catcher sometimes pauses
    accepting."""
    import resource
    needed = 2 * settings.max_connections + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(needed, hard), hard))
