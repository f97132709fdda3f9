"""Settings for all tests."""

import pytest

# Rewrite their assertions as those of a test: then a failure shows the values.
pytest.register_assert_rewrite("tests.packaging.soundness", "tests.packaging.service_states", "tests.packaging.system")
