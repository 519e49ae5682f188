"""A setting is described by the docstring under it, which is read when somebody asks for it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from engine.sections import Section
from engine.setting_paths import described_fields, setting_fields


class Base(Section):
    width: int = 3
    """How wide,
    in columns.
    """


class Inherits(Base):
    least: int = Field(default=1, description="At least.")
    """Not this."""
    most: int = 9
    bare: int = 9

    class Inner(Section):
        most: int = 9
        """At most."""


def test_every_setting_has_a_description() -> None:
    fields = described_fields()
    assert list(fields) == list(setting_fields())
    assert [path for path, field in fields.items() if not field.description] == []
    assert fields["train.seed"].default == setting_fields()["train.seed"].default
    assert len({field.description for field in fields.values()}) > len(fields) / 2


def test_descriptions_are_of_the_own_class_its_bases_and_what_the_field_says() -> None:
    found = {name: field.description for name, field in Inherits.described_fields().items()}
    assert found == {"width": "How wide,\nin columns.", "least": "At least.", "most": None, "bare": None}
    assert Inherits.Inner.described_fields()["most"].description == "At most."


def test_a_class_without_a_source_has_no_descriptions() -> None:
    names: dict[str, Any] = {"Section": Section, "__name__": "nowhere"}
    exec("class Own(Section):\n    width: int = 3\n    '''How wide.'''", names)
    assert names["Own"].described_fields()["width"].description is None
