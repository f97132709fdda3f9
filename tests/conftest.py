"""For every test."""

import pytest

# Their assertions are a test's: a failure shows the values.
pytest.register_assert_rewrite("tests.packaging.soundness", "tests.packaging.service_states", "tests.packaging.system")
