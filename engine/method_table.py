"""Which methods there are, as data: their parts, what they need, their steps and stages. Imports no torch.

A method is a training objective: a list of parts, each of which is one named loss. The parts themselves are in engine/methods/.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, Literal

from engine.registry import Registry


class Needs(Flag):
    """What must be prepared before training. Without any flag every semantic stage is skipped."""

    NONE = 0
    USER_VECTORS = auto()
    """Semantic vectors of anchors."""
    ITEM_VECTORS = auto()
    """Semantic vectors of items."""
    NEIGHBORS = auto()
    """For each anchor the anchors that mean the same."""
    SUBSTITUTES = auto()
    """For each item the items that mean the same."""

    @property
    def users(self) -> bool:
        """Whether texts of users are read."""
        return bool(self & (Needs.USER_VECTORS | Needs.NEIGHBORS))

    @property
    def items(self) -> bool:
        """Whether texts of items are read."""
        return bool(self & (Needs.ITEM_VECTORS | Needs.SUBSTITUTES))

    @property
    def lists(self) -> bool:
        """Whether neighbors are retrieved, of users or of items."""
        return bool(self & (Needs.NEIGHBORS | Needs.SUBSTITUTES))


@dataclass(frozen=True)
class PartInfo:
    """What the program has to know of a part of ours without importing it."""

    code: str
    """`module:Class`"""
    needs: Needs = Needs.NONE
    weight: str = ""
    """Path of the setting that is its weight; empty for `parts.<name>.weight`."""
    term: str = ""
    """Name of its loss in the metrics of an epoch; empty for `loss_<name>`."""


@dataclass(frozen=True)
class Step:
    """One update of the parameters by a batch."""

    parts: tuple[str, ...] | None = None
    """The parts whose losses count; none means all."""
    updates: Literal["all", "encoder", "own"] = "all"
    """The parameters that change: all, those of the backbone, or those of the parts. `own` encodes without gradient."""


@dataclass(frozen=True)
class Stage:
    """A training before the main one: a fixed number of epochs, no validation; its weights are the start of the next."""

    name: str
    parts: tuple[str, ...]
    epochs: str
    """Path of the setting that is its number of epochs."""


@dataclass(frozen=True)
class Method:
    """A training objective."""

    parts: tuple[Any, ...]
    """Names of our parts, or subclasses of engine.methods.base.Part; the first gives L_rec."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings by path where the method differs from the defaults; a preset and a user go over them."""
    steps: tuple[Step, ...] = (Step(),)
    stages: tuple[Stage, ...] = ()
    description: str = ""
    """One line: what it adds to the backbone."""
    family: str = ""
    """`recommendation`, `contrastive`, `semantic` (reads texts) or `pretraining`."""
    passes: str = "1"
    """Encoder passes for each training sample, and what comes beside them; passes without gradient are named."""
    source: str = ""
    """Where it was published."""
    ours: str = ""
    """What is done otherwise than in its released code, and what it is allowed beyond the others' budget."""

    @property
    def all_parts(self) -> tuple[Any, ...]:
        """The parts of its stages and its own, each once."""
        staged = (part for stage in self.stages for part in stage.parts)
        return tuple({name_of(part): part for part in (*staged, *self.parts)}.values())

    @property
    def is_simple(self) -> bool:
        """Whether it is the sum of its parts: one update for each batch, and no stage before."""
        return self.steps == (Step(),) and not self.stages


def name_of(part: Any) -> str:
    """The name of a part that is given by name or as a class."""
    return part if isinstance(part, str) else part.name


PARTS: Mapping[str, PartInfo] = {
    "rec": PartInfo("engine.methods.rec:Rec"),
    "inter": PartInfo(
        "engine.methods.sracl:Inter", Needs.USER_VECTORS | Needs.NEIGHBORS, weight="loss.alpha", term="loss_cs"
    ),
    "intra": PartInfo(
        "engine.methods.sracl:Intra", Needs.ITEM_VECTORS | Needs.SUBSTITUTES, weight="loss.beta", term="loss_is"
    ),
}
"""Our parts by name."""

PLAIN = Method(
    parts=("rec",),
    description="The backbone with its recommendation loss alone",
    family="recommendation",
    source="Kang and McAuley, ICDM 2018, with the loss of parts.rec.loss",
    ours="Cross-entropy over all items in place of one sampled negative.",
)
SRACL = Method(
    parts=("rec", "inter", "intra"),
    description="Contrasts with a learned sum of semantic neighbors, and of views with semantic substitutes",
    family="semantic",
    passes="14 with k = 10; about 9 where dropped neighbors are not encoded",
    source="SRA-CL, NeurIPS 2025, arXiv 2503.04162",
    ours="Neighbors from other users' training prefixes by default; preset `paper` runs it as released.",
)

METHODS = Registry(
    kind="method",
    where="method.name",
    group="sracl.methods",
    base="engine.method_table:Method",
    ours={"sracl": "engine.method_table:SRACL", "plain": "engine.method_table:PLAIN"},
    example="examples/own_method.py is one that works.",
    values=True,
)
"""Our methods by name; a new one is a value above and a line here."""
