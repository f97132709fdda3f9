"""Settings for all tests."""

import pytest

# Rewrite the assertions of these modules like those of a test, so that a failure shows the values.
pytest.register_assert_rewrite("tests.packaging.soundness", "tests.packaging.service_states", "tests.packaging.system")
