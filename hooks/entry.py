"""The Python program behind CSUTKEcat, catcherctl and the package scriptlets. hooks/run starts it with -I -S."""

import gc
import os
import sys

# This is one short run: garbage collection would only cost time.
gc.disable()

# Scriptlets compile the bytecode (run compile): for the daemon's unit /usr is read-only, and nothing else compiles it.
sys.dont_write_bytecode = True

if sys.version_info < (3, 6):  # noqa: UP036 - /usr/bin/python3 may be anything
    sys.exit("csulcca needs Python 3.6 or newer; this is %s" % sys.version.split()[0])

# If a standard stream is closed, the first file that is opened would get its number, and messages.
for fd in (0, 1, 2):
    try:
        os.fstat(fd)
    except OSError:
        os.open(os.devnull, os.O_RDWR)
if sys.stdout is None:
    sys.stdout = open(1, "w")  # noqa: SIM115 - for the life of the process
if sys.stderr is None:
    sys.stderr = open(2, "w")  # noqa: SIM115

# If the caller ignores the end of its children, nobody can wait for ours (wait(2), ECHILD). Not signal, which takes
# longer to import.
import _signal  # type: ignore[import-not-found]  # noqa: E402

_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
# If it blocks signals, they end neither us nor the daemon.
_signal.pthread_sigmask(_signal.SIG_SETMASK, [])

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
name = sys.argv[1] if len(sys.argv) > 1 else ""
try:
    if name == "CSUTKEcat":
        from catcher_install.launch import main
    elif name == "scriptlet":
        from catcher_install.scriptlet import main
    elif name == "scriptlet-remove":
        from catcher_install.scriptlet import remove as main
    elif name == "compile":
        from catcher_install.scriptlet import compile_library as main
    elif name == "make-pair":
        from catcher_install.launch import make_pair as main
    elif name == "watch":
        from catcher_install.admin.daily_check import main
    else:
        from catcher_install.admin.cli import main
    status = main(sys.argv[2:])
except (ImportError, OSError) as error:
    # The disk fails, or no descriptor is left: even the module that reports faults may not load.
    sys.stderr.write("csulcca: cannot run: %s\n" % ascii(str(error))[1:-1])
    sys.stderr.write("csulcca:   fix the cause, then type: catcherctl apply\n")
    status = 0 if sys.argv[1:3] == ["scriptlet", "rpm"] else 1
except KeyboardInterrupt:
    sys.stderr.write("csulcca: interrupted\n")
    sys.stderr.write("csulcca:   to do the rest, type: catcherctl apply\n")
    status = 0 if sys.argv[1:3] == ["scriptlet", "rpm"] else 1
for stream in (sys.stdout, sys.stderr):
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        # Standard output is a result. What standard error does not take is in the journal, too.
        status = status or int(stream is sys.stdout)
# Exit without the interpreter's own clean-up.
os._exit(status)
