"""Record: a value with named fields."""

import pytest

from catcher_install.record import Record


class Point(Record):
    __slots__ = ("x", "y")


class Place(Record):
    __slots__ = ("x", "y")


def test_fields_are_given_by_name():
    point = Point(x=1, y=2)
    assert (point.x, point.y) == (1, 2)
    assert repr(point) == "Point(x=1, y=2)"


@pytest.mark.parametrize("fields,problem", [
    ({"x": 1}, "Point needs the field y"),
    ({"x": 1, "y": 2, "z": 3}, "Point has no field z"),
    ({}, "Point needs the field x"),
])
def test_a_missing_or_unknown_field_is_an_error(fields, problem):
    with pytest.raises(TypeError) as raised:
        Point(**fields)
    assert str(raised.value) == problem


def test_a_record_is_equal_only_to_its_own_type():
    assert Point(x=1, y=2) == Point(x=1, y=2)
    assert Point(x=1, y=2) != Point(x=1, y=3)
    assert Point(x=1, y=2) != Place(x=1, y=2)
    assert Point(x=1, y=2) != (1, 2)


def test_a_copy_with_changes():
    point = Point(x=1, y=2)
    other = point.replace(y=3)
    assert (point.y, other) == (2, Point(x=1, y=3))
    with pytest.raises(TypeError):
        point.replace(z=1)


def test_a_record_takes_no_other_attribute_and_has_no_hash():
    point = Point(x=1, y=2)
    with pytest.raises(AttributeError):
        point.z = 1
    with pytest.raises(TypeError):
        hash(point)
