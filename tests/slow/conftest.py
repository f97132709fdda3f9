"""The fixtures of the unit tests, for tests that take longer than all of tests/unit may take together."""

from tests.unit.admin.conftest import (  # noqa: F401 - pytest finds fixtures by name
    another_pair,
    daemon,
    frozen,
    set_up,
)
from tests.unit.conftest import (  # noqa: F401
    a_pair,
    machine,
    no_distribution,
    no_real_pauses,
    no_real_programs,
    out_of_sight,
    pytest_configure,
    pytest_report_header,
    quick_pair,
    tmp_path,
    umask_022,
)
from tests.unit.probe.conftest import authority, good  # noqa: F401
