"""What each module of the library may do, read from its source; and what a converge with nothing to do imports."""

import ast
import functools
import os
import pkgutil
import subprocess
import sys

import pytest

import catcher_install
from catcher_install import apply, paths, transition

from .support import TREE, child_python, installed, library_modules

FILES = library_modules()
MODULES = sorted(FILES)

# Modules through which a program reaches the system. catcher_install/host.py uses them, and what it alone calls.
HOST = ("host", "process")
SYSTEM = {
    "os", "io", "subprocess", "socket", "select", "selectors", "fcntl", "shutil", "tempfile", "pathlib", "glob",
    "signal",
    "ctypes", "pwd", "grp", "mmap", "asyncio", "multiprocessing", "threading", "platform", "resource", "fileinput",
    "urllib", "http", "ssl", "pty", "termios", "syslog", "time", "posix", "_posixsubprocess",
}

# What each other module may use of them, and why.
ALLOWED = {
    # Text of a moment: no system call.
    "pair": {"time.strftime", "time.gmtime"},
    "text": {"time.strftime", "time.gmtime"},
    # Text of an address, likewise.
    "sockets": {"socket.inet_ntop", "socket.AF_INET", "socket.AF_INET6"},
    # The kernel's random numbers.
    "cert.generate": {"os.urandom"},
    # A program of its own, which gives OpenSSL a pair in nameless files.
    "cert.judge": {"os", "ssl"},
    # The environment shows who calls us. The fork is for units of Type=forking that are kept from CCA 7.x.
    "launch": {"os.environ", "os.fork", "os.setsid", "os._exit"},
    "journal": {"syslog.openlog", "syslog.syslog"},
    # The far side of a connection is not this host.
    "probe.connection": {"socket", "time", "threading", "fcntl", "termios"},
    "probe.handshake": {"socket", "ssl"},
    "probe.trust": {"ssl"},
}

# Arrows between the folders go down only. The ground floor imports cert/ inside functions, when it is asked to.
FLOORS = ("admin", "probe", "cert", "")

# Modules that may have more than LINES lines: the one that touches the system.
LONG = {"host"}
LINES = 400
# Of a shell file in hooks/. preinst.sh runs before a file of ours is on the host, so it cannot load parts of itself.
SHELL_LINES = 500

# The modules that may write to standard output and standard error.
PRINTS = {"admin.cli", "launch", "cert.judge"}
# optional: what the distribution's packages print does not go to standard output.
WRITES_TO_STDERR = {"admin.cli", "journal", "optional"}

# Builtins that reach the system or end the program.
BUILTINS = {"open", "input", "exec", "eval", "__import__", "exit", "quit"}


@functools.lru_cache(maxsize=None)
def tree_of(module):
    with open(FILES[module], encoding="utf-8") as stream:
        return ast.parse(stream.read(), module)


def for_mypy_only(tree):
    """The nodes below "if TYPE_CHECKING:", which never run."""
    return {id(node) for branch in ast.walk(tree) if isinstance(branch, ast.If)
            and isinstance(branch.test, ast.Name) and branch.test.id == "TYPE_CHECKING" for node in ast.walk(branch)}


@functools.lru_cache(maxsize=None)
def nodes_of(tree):
    skipped = for_mypy_only(tree)
    return [node for node in ast.walk(tree) if id(node) not in skipped]


def dotted(node):
    """os.path.join as a name; None for what is not names and dots."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join(reversed(parts + [node.id]))


def uses_of_the_system(tree):
    """Return each use of a module of SYSTEM, and of a name that is imported from such a module, with dots."""
    names, used = {}, set()
    nodes = nodes_of(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            for one in node.names:
                if one.name.split(".")[0] in SYSTEM:
                    names[(one.asname or one.name).split(".")[0]] = one.name.split(".")[0]
        if isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] in SYSTEM:
            used |= {node.module + "." + one.name for one in node.names}
    for node in nodes:
        name = dotted(node)
        if name and isinstance(node, ast.Attribute) and name.split(".")[0] in names:
            parts = [names[name.split(".")[0]]] + name.split(".")[1:]
            used.add(".".join(parts[:3] if parts[1] == "path" else parts[:2]))
    # The inner part of os.path.join is no use of its own.
    return used - {"os.path"}


def test_every_module_is_looked_at():
    """The rules below hold for what pkgutil finds by itself: no folder hides a module from them."""
    found = {one.name for one in pkgutil.walk_packages(catcher_install.__path__, "catcher_install.")}
    assert found == {"catcher_install." + module for module in MODULES}
    assert len(MODULES) > 40


@pytest.mark.parametrize("module", [name for name in MODULES if name not in HOST])
def test_only_host_touches_the_system(module):
    allowed = ALLOWED.get(module, set())
    used = uses_of_the_system(tree_of(module))
    assert sorted(one for one in used if one not in allowed and one.split(".")[0] not in allowed) == []


def test_only_host_runs_programs():
    importers = set()
    for module in MODULES:
        for node in nodes_of(tree_of(module)):
            if isinstance(node, ast.ImportFrom) and "process" in [node.module] + [one.name for one in node.names]:
                importers.add(module)
    assert importers == {"host"}


# Each way to ask the running system has one owner, because two would become different.
OWNERS = {"/proc/%d/net": "host", "/bin/systemctl": "systemd", "MainPID": "systemd"}


@pytest.mark.parametrize("text", sorted(OWNERS))
def test_each_way_to_ask_the_system_has_one_owner(text):
    """Looked for in string constants, docstrings left out."""
    found = set()
    for module in MODULES:
        nodes = nodes_of(tree_of(module))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        # "s" before Python 3.8, "value" since then
        found |= {module for node in nodes if type(node).__name__ in ("Constant", "Str") and id(node) not in docstrings
                  and text in str(node.value if hasattr(node, "value") else node.s)}
    assert found == {OWNERS[text]}


def test_state_json_has_one_writer():
    writers = {module for module in MODULES for node in nodes_of(tree_of(module)) if isinstance(node, ast.Attribute)
               and node.attr == "render" and getattr(node.value, "id", "") == "stamp"}
    assert writers == {"apply"}


def imported_by(module):
    """The modules of the library that a module imports, as {"cert.keys": whether at its top}."""
    tree = tree_of(module)
    is_package = FILES[module].endswith("__init__.py")
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = {}
    for node in nodes_of(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[:len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            for one in node.names:
                name = ".".join(base + [one.name])
                found[name if name in FILES else ".".join(base)] = node in tree.body
    return found


def floor(module):
    return module.partition(".")[0] if module.partition(".")[0] in FLOORS else ""


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_from_its_own_floor_or_from_below(module):
    above = FLOORS[:FLOORS.index(floor(module))]
    imported = imported_by(module)
    wrong = [name for name, at_top in imported.items() if floor(name) in above and (floor(module) or at_top)]
    assert wrong == []


def test_the_rule_of_floors_sees_imports():
    assert "admin.installed_pair" in imported_by("admin.cert_export")
    assert imported_by("apply")["cert.generate"] is False
    assert imported_by("probe.result")["cert.names"] is True
    assert floor("probe.result") == "probe" and floor("plan") == "" and floor("cert") == "cert"


def entries():
    """The modules of the ground floor that hooks/entry.py starts."""
    with open(os.path.join(TREE, "hooks", "entry.py"), encoding="utf-8") as stream:
        tree = ast.parse(stream.read())
    named = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name[len("catcher_install."):] for name in named if name.startswith("catcher_install.")
            and floor(name[len("catcher_install."):]) == ""}


def test_the_ground_floor_is_what_a_hook_or_a_start_imports():
    """At the top or inside a function, and not through a folder: modules that only cert/ needs are in cert/."""
    ground = {module for module in MODULES if floor(module) == ""}
    reached, waiting = set(), entries()
    assert waiting == {"launch", "scriptlet"}
    while waiting:
        module = waiting.pop()
        reached.add(module)
        waiting |= {name for name in imported_by(module) if floor(name) == ""} - reached
    assert ground - reached == set()


def test_only_one_module_imports_cryptography():
    importers = {module for module in MODULES for node in ast.walk(tree_of(module))
                 if isinstance(node, (ast.Import, ast.ImportFrom))
                 for name in [getattr(node, "module", None)] + [one.name for one in node.names]
                 if name and not getattr(node, "level", 0) and name.split(".")[0] == "cryptography"}
    assert importers == {"cert.crypto"}


@pytest.mark.parametrize("module", MODULES)
def test_no_private_name_of_another_module_is_used(module):
    tree = tree_of(module)
    modules = {one.asname or one.name for node in nodes_of(tree) if isinstance(node, ast.ImportFrom) and node.level
               for one in node.names}
    private = {one.name for node in nodes_of(tree) if isinstance(node, ast.ImportFrom) and node.level
               for one in node.names if one.name.startswith("_")}
    used = {dotted(node) for node in nodes_of(tree) if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name) and node.value.id in modules and node.attr.startswith("_")}
    assert sorted(used | private) == []


@pytest.mark.parametrize("module", [name for name in MODULES if name not in LONG])
def test_no_module_is_long(module):
    with open(FILES[module], encoding="utf-8") as stream:
        assert len(stream.readlines()) <= LINES


# Modules without a file of their name in tests/unit or tests/slow, and the file that tests them.
ELSEWHERE = {
    "actions": "unit/test_plan.py", "admin.arguments": "unit/admin/test_cli.py",
    "admin.backend": "unit/admin/test_status.py", "admin.cert_request": "slow/test_cert_generate.py",
    "admin.daily_check": "packaging/test_daily_check.py", "capture": "unit/test_mode_as_seen.py",
    "catalog": "unit/test_messages.py",
    "cert.chain": "unit/cert/test_check.py", "cert.names": "unit/cert/test_details.py",
    "facts": "unit/test_history.py", "journal": "unit/test_scriptlet.py",
    "service": "unit/test_plan.py", "start": "unit/test_launch.py",
    "unit": "unit/test_launch.py",
}


def test_a_module_is_tested_in_a_file_of_its_name_or_as_said_here():
    tests = os.path.join(TREE, "tests")
    # tests/slow has no folders.
    slow = set(os.listdir(os.path.join(tests, "slow")))
    without = []
    for one in MODULES:
        folder, _, name = one.rpartition(".")
        name = "test_%s.py" % name
        mirrored = os.path.exists(os.path.join(tests, "unit", folder, name)) or (folder != "" and name in slow)
        if os.path.basename(FILES[one]) != "__init__.py" and not mirrored:
            without.append(one)
    assert sorted(without) == sorted(ELSEWHERE)
    assert [path for path in ELSEWHERE.values() if not os.path.exists(os.path.join(tests, path))] == []


HOOKS = sorted(entry.name for entry in os.scandir(os.path.join(TREE, "hooks")) if entry.is_file())


@pytest.mark.parametrize("name", HOOKS)
def test_no_hook_is_long(name):
    with open(os.path.join(TREE, "hooks", name), encoding="utf-8") as stream:
        assert len(stream.readlines()) <= (LINES if name.endswith(".py") else SHELL_LINES)


def test_what_is_allowed_is_used():
    """A permission that no module needs must be removed."""
    for module, allowed in ALLOWED.items():
        if module not in MODULES:
            continue
        used = uses_of_the_system(tree_of(module))
        whole = {one.split(".")[0] for one in used}
        assert sorted(one for one in allowed if one not in used and one not in whole) == [], module


@pytest.mark.parametrize("module", [name for name in MODULES if name not in HOST])
def test_no_builtin_reaches_around_host(module):
    called = {node.func.id for node in nodes_of(tree_of(module))
              if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert sorted(called & BUILTINS) == []


@pytest.mark.parametrize("module", MODULES)
def test_only_the_outermost_layer_prints(module):
    nodes = nodes_of(tree_of(module))
    prints = any(isinstance(node, ast.Call) and dotted(node.func) == "print" for node in nodes)
    streams = {dotted(node) for node in nodes if isinstance(node, ast.Attribute)} & {
        "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"}
    assert not prints or module in PRINTS
    assert not streams or module in WRITES_TO_STDERR
    # argparse ends the program itself, so what stands in for it may too.
    names = {dotted(node) for node in nodes if isinstance(node, ast.Attribute)}
    assert module in ("admin.cli", "cert.judge") or "sys.exit" not in names


@pytest.mark.parametrize("module", MODULES)
def test_no_exception_is_swallowed(module):
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, "bare except, line %d" % node.lineno
            assert not all(isinstance(one, ast.Pass) for one in node.body), "except: pass, line %d" % node.lineno


@pytest.mark.parametrize("module", ["plan", "service", "stamp", "start"])
def test_a_decision_table_does_no_io(module):
    """A decision table gets the facts of a host, never the host."""
    tree = tree_of(module)
    assert uses_of_the_system(tree) == set()
    arguments = {one.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for one in node.args.args}
    assert "host" not in arguments


@pytest.mark.parametrize("module", MODULES)
def test_the_library_asks_for_no_more_than_python_3_6(module):
    with open(FILES[module], encoding="utf-8") as stream:
        text = stream.read()
    if sys.version_info >= (3, 8):
        ast.parse(text, feature_version=(3, 6))
    else:
        compile(text, module, "exec")
    assert "from __future__" not in text
    assert "dataclass" not in [name.split(".")[0] for name in text.split() if name.startswith("@")]


def test_the_library_is_imported_by_this_python():
    for module in MODULES:
        __import__("catcher_install." + module)


# -- the hot path ------------------------------------------------------------------------------------------------------

NEVER = (
    "json", "re", "argparse", "typing", "pathlib", "subprocess", "cryptography", "distro", "packaging", "collections",
    "dataclasses", "enum", "functools", "datetime", "ipaddress", "hashlib", "socket", "tempfile", "shutil", "logging",
    "traceback", "site", "importlib.metadata", "contextlib",
)

CONVERGE = """
import sys
before = set(sys.modules)
sys.path.insert(0, sys.argv[1])
from tests.unit.support import Executed, Machine, OPENSSL_3
from catcher_install import apply, paths, transition
machine = Machine(sys.argv[2])
machine.programs[paths.OPENSSL] = (0, OPENSSL_3)
machine.put("/usr/bin/systemctl", b"", 0o755)
machine.programs["/usr/bin/systemctl"] = (0, b"")
done = []
if sys.argv[3] == "start":
    from catcher_install import launch
    launch.Host = lambda: machine
    try:
        launch.main(["start"])
    except Executed:
        pass
else:
    done = apply.converge(machine, transition.from_scriptlet("rpm", ["2"])).done
print(done)
print([argv[0] for argv in machine.spawned if argv[0] == paths.OPENSSL])
print(sorted(set(sys.modules) - before))
"""


def converged(tmp_path, conf):
    """A host on which nothing is left to do."""
    machine = installed(tmp_path)
    machine.put(paths.CONF, conf)
    for _ in range(2):
        apply.converge(machine, transition.of(transition.START))


def run_with_nothing_to_do(tmp_path, how):
    """A fresh Python's run: the actions done, the calls of openssl, the modules imported."""
    output = subprocess.check_output(child_python() + ["-c", CONVERGE, TREE, str(tmp_path), how])
    return [ast.literal_eval(line) for line in output.decode("utf-8").splitlines()]


MODES = pytest.mark.parametrize("conf", [b"TLS_ON\n", b"TLS_OFF\n"], ids=["TLS", "TCP"])


@MODES
@pytest.mark.parametrize("how", ["start", "converge"])
def test_a_run_with_nothing_to_do_imports_next_to_nothing(tmp_path, quick_pair, conf, how):
    converged(tmp_path, conf)
    done, asked, imported = run_with_nothing_to_do(tmp_path, how)
    assert done == ([] if how == "start" else ["try-restart"])
    # A process of openssl takes a third of the time that Python needs to start.
    assert asked == []
    assert "catcher_install.plan" in imported
    assert sorted(set(imported) & set(NEVER)) == []
    # Each module costs a fraction of a millisecond: a new one is added here on purpose.
    others = {name for name in imported if name.split(".")[0] not in ("catcher_install", "tests")}
    assert others <= {"fcntl", "select", "time", "errno", "_json", "_sha2", "_sha256", "stat", "os", "_locale",
                      "_bootlocale", "posixpath",
                      "genericpath", "_stat", "_collections_abc", "os.path", "abc", "_abc",
                      "codecs", "encodings"}, others  # fmt: skip
