"""Plain value objects whose definition takes no time at a daemon start.

``collections.namedtuple`` compiles code for each type, and ``dataclasses`` does not exist on Python 3.6.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple


class Record:
    """A value with the fields named in ``__slots__``; equal only to a record of the same type.

    All fields are given by keyword. A missing or an unknown field raises TypeError.
    """

    __slots__: "Tuple[str, ...]" = ()

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            if name not in fields:
                raise TypeError("%s needs the field %s" % (type(self).__name__, name))
            setattr(self, name, fields.pop(name))
        if fields:
            raise TypeError("%s has no field %s" % (type(self).__name__, ", ".join(sorted(fields))))

    def replace(self, **changes):
        """Return a copy with some fields changed."""
        fields: Dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        fields.update(changes)
        return type(self)(**fields)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            getattr(self, name) == getattr(other, name) for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "%s(%s)" % (
            type(self).__name__,
            ", ".join("%s=%r" % (name, getattr(self, name)) for name in self.__slots__),
        )
