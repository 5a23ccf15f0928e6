"""Entities that are made and changed without their `__init__` are what `__init__` would have made."""

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from services.kit.fast_dataclasses import changed, made


@dataclass(frozen=True, kw_only=True)
class Point:
    """What entities are: frozen, with defaults and a base."""

    x: int
    y: int = 0


@dataclass(frozen=True, kw_only=True)
class Named(Point):
    name: str
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        return f"{self.name} {self.x}"


def test_it_equals_what_init_makes_and_is_as_frozen() -> None:
    values = {"x": 1, "y": 2, "name": "a", "labels": {"b": "c"}}
    point = made(Named, values)
    assert point == Named(**values)  # type: ignore[arg-type]
    assert point.shown == "a 1"
    with pytest.raises(FrozenInstanceError):
        point.x = 2  # type: ignore[misc]


def test_a_change_leaves_the_first_as_it_was() -> None:
    first = Named(x=1, name="a")
    second = changed(first, x=2)
    assert second == replace(first, x=2)
    assert first.x == 1


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(TypeError, match="Named has no field z"):
        changed(Named(x=1, name="a"), z=3)
