"""The fixtures of the unit tests, for those of the shell files."""

from tests.unit.conftest import machine, no_distribution, no_real_programs, umask_022  # noqa: F401 - by name

from .test_hooks_shell import root  # noqa: F401
