"""The index of hazards is complete, and fits the existing tests."""

import pytest

from tests.faults import hazards

TREE = hazards.TESTS.parent


def test_every_hazard_is_there_once():
    lines = [one.line for one in hazards.hazards()]
    assert lines == list(range(1, hazards.COUNT + 1))


@pytest.mark.parametrize("hazard", hazards.hazards(), ids=lambda one: f"{one.line} {one.name}")
def test_a_hazard_has_tests_that_exist_and_were_seen_to_fail(hazard):
    assert hazard.means and hazard.tests
    assert [test for test in hazard.tests if not hazards.exists(test)] == []
    broken = [one for one in hazards.mutations() if hazard.line in one.hazards]
    assert broken or hazard.seen_red


@pytest.mark.parametrize("mutation", hazards.mutations(), ids=lambda one: one.name)
def test_a_mutation_changes_code_and_names_tests(mutation):
    # If the text were there twice, the mutation could change the wrong place.
    assert (TREE / mutation.file).read_text().count(mutation.old) == 1
    assert mutation.old != mutation.new
    assert mutation.red and [test for test in mutation.red if not hazards.exists(test)] == []
    assert all(1 <= line <= hazards.COUNT for line in mutation.hazards) and mutation.hazards


def test_every_file_of_this_directory_stands_for_a_hazard():
    named = {test.partition("::")[0] for hazard in hazards.hazards() for test in hazard.tests}
    here = {f"faults/{path.name}" for path in hazards.INDEX.parent.glob("test_*.py")}
    assert sorted(here - named - {"faults/test_hazards.py"}) == []
