"""A bounded task for small models: for each field the answer names one of a few choices, and sentences are made of them.

A model of some hundred million parameters copies and repeats itself when it writes freely. Here it only decides: the choices
stand in the items' own texts, and a JSON schema keeps the answer among them where the server can do that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.semantics.kinds import Kind
from engine.semantics.llm.answer_text import clean
from engine.semantics.llm.json_objects import objects_in


@dataclass(frozen=True)
class Choices:
    """What may be answered to one prompt; a field of one choice is not asked, unless no other has more."""

    kind: Kind
    fields: Mapping[str, tuple[str, ...]]
    """Choices by field, at least one each, in the order in which they are asked."""

    @cached_property
    def asked(self) -> dict[str, tuple[str, ...]]:
        """The fields that are left to the model."""
        open_ones = {name: some for name, some in self.fields.items() if len(some) > 1}
        return open_ones or dict(list(self.fields.items())[-1:])

    @property
    def schema(self) -> dict[str, Any]:
        """JSON schema of the answer."""
        return {
            "type": "object",
            "properties": {name: {"type": "string", "enum": list(some)} for name, some in self.asked.items()},
            "required": list(self.asked),
            "additionalProperties": False,
        }

    def shown(self) -> str:
        """The choices as a prompt lists them, one field a line."""
        return "\n".join(f"{name}: {' | '.join(some)}" for name, some in self.asked.items())

    def text(self, answer: str) -> str | None:
        """The summary that an answer stands for; None if a field is missing or names nothing that could be chosen."""
        for tree in objects_in(answer):
            if (picks := self._picks(tree)) is not None:
                return _user(picks) if self.kind == "user" else _item(picks)
        return None

    def _picks(self, tree: Any) -> dict[str, str] | None:
        if not isinstance(tree, dict):
            return None
        named = {_plain(str(name)): value for name, value in tree.items()}
        picks = {name: some[0] for name, some in self.fields.items()}
        for name, some in self.asked.items():
            value = named.get(_plain(name))
            found = [choice for choice in some if isinstance(value, str) and _plain(choice) == _plain(value)]
            if not found:
                return None
            picks[name] = found[0]
        return picks


def _plain(text: str) -> str:
    return " ".join(clean(text).casefold().split())


def _user(picks: Mapping[str, str]) -> str:
    """Two sentences about a person, of the fields `theme`, `category`, `maker`, `typical` and `latest`."""
    of = picks.get
    theme, category = of("theme"), of("category")
    habit = f"{theme} (mostly {category})" if theme and category else theme or category
    first = f"This person is drawn to {habit}" if habit else ""
    if maker := of("maker"):
        first = f"{first}, often from {maker}" if first else f"This person often chooses {maker}"
    typical, latest = picks["typical"], picks["latest"]
    second = (
        f"A typical choice is {typical}, the latest one {latest}"
        if typical != latest
        else f"The latest choice is {latest}"
    )
    return _sentences(first, second)


def _item(picks: Mapping[str, str]) -> str:
    """Two lines about an item and its buyers, of the fields `name`, `feature`, `category`, `maker`, `likes` and `beside`."""
    of = picks.get
    first = f"This item is {of('name')}" + (f", {of('feature')}" if of("feature") else "")
    if links := [
        f"{verb} {of(name)}" for name, verb in (("category", "belongs to"), ("maker", "comes from")) if of(name)
    ]:
        first += f"; it {' and '.join(links)}"
    likes, beside = of("likes"), of("beside")
    second = f"It suits people drawn to {likes or of('feature') or of('category') or of('name')}"
    if beside:
        second += f", who also chose {beside}"
    return f"{_sentences(first)}\n{_sentences(second)}"


def _sentences(*texts: str) -> str:
    return " ".join(f"{text.rstrip('.')}." for text in texts if text)
