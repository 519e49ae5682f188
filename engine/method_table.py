"""Which methods there are, as data: their parts, what they need, their steps and stages. Imports no torch.

A method is a training objective: a list of parts, each of which is one named loss. The parts themselves are in engine/methods/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, Literal

from engine.extension_points import BACKBONES
from engine.part_settings import PartsConfig, PartSettings
from engine.registry import Registry, attribute_of


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
    reads: tuple[str, ...] = ()
    """Other parts whose settings it reads, also where they are off: they enter the hash."""
    reads_where: tuple[str, Any] | None = None
    """Name and value of its setting with which it reads them, and with which they have to be in the method; none for always."""


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


def name_of(part: Any) -> str:
    """The name of a part that is given by name or as a class."""
    return part if isinstance(part, str) else part.name


def epochs_of(stage: Stage, parts: PartsConfig) -> int:
    """Epochs of a stage, from the setting that it names, whether the part of the setting is on or off."""
    _, name, leaf = stage.epochs.split(".")
    if name in PARTS:
        return getattr(getattr(parts, name), leaf)
    part: Any = next(part for part in stage.parts if name_of(part) == name)
    return getattr(part.settings.model_validate(parts.given(name)), leaf)


_NAME = re.compile(r"[a-z][a-z0-9_]*")
PARTS: Mapping[str, PartInfo] = {
    "rec": PartInfo("engine.methods.rec:Rec"),
    "inter": PartInfo(
        "engine.methods.sracl:Inter", Needs.USER_VECTORS | Needs.NEIGHBORS, weight="loss.alpha", term="loss_cs"
    ),
    "intra": PartInfo(
        "engine.methods.sracl:Intra", Needs.ITEM_VECTORS | Needs.SUBSTITUTES, weight="loss.beta", term="loss_is"
    ),
    "same_target": PartInfo("engine.methods.same_target:SameTarget"),
    "augmented": PartInfo("engine.methods.augmented:Augmented"),
    "meta": PartInfo("engine.methods.meta:Meta", reads=("augmented",)),
    "intent": PartInfo("engine.methods.intent:Intent", reads=("augmented",), reads_where=("pair", "augmented")),
    "align": PartInfo("engine.methods.align:Align", Needs.USER_VECTORS | Needs.ITEM_VECTORS),
    "reconstruct": PartInfo("engine.methods.reconstruct:Reconstruct", Needs.USER_VECTORS | Needs.ITEM_VECTORS),
    "distill": PartInfo("engine.methods.distill:Distill", Needs.USER_VECTORS | Needs.NEIGHBORS),
    "mip": PartInfo("engine.methods.s3rec:Mip"),
    "sp": PartInfo("engine.methods.s3rec:Sp", reads=("mip",)),
    "aap": PartInfo("engine.methods.s3rec:Aap", reads=("mip",)),
    "map": PartInfo("engine.methods.s3rec:Map", reads=("mip", "aap")),
}
"""Our parts by name."""

BACKBONE_NEEDS: Mapping[str, Needs] = {"dual": Needs.ITEM_VECTORS, "alpharec": Needs.ITEM_VECTORS}
"""What our backbones need beside interactions, by name; the others need nothing."""


def backbone_needs(name: str) -> Needs:
    """What a backbone needs before training. Ours are not imported, one of your own is; of a file that is gone nothing is known.

    Raises:
        ConfigError: it cannot be loaded, or needs what no backbone can have.
    """
    if name in BACKBONES.ours or BACKBONES.problem_of(name) is not None:
        return BACKBONE_NEEDS.get(name, Needs.NONE)
    needs = BACKBONES.load(name).needs
    if needs not in (Needs.NONE, Needs.ITEM_VECTORS):
        raise BACKBONES.refused(
            name, f"has the needs {needs!r}: a backbone may need Needs.ITEM_VECTORS alone, as histories have no others"
        )
    return needs


_UPDATES = ("all", "encoder", "own")
_PART = "engine.methods.base:Part"


def problem_of_method(method: Method) -> str | None:
    """What is wrong with a method that is not ours, such as `has no parts`; none where nothing is."""
    if not isinstance(method.parts, tuple) or not method.parts:
        return 'has no parts: give at least one, as in parts=("rec", Mine)'
    problems = (_problem_of_part(part) for part in (*method.parts, *_staged(method)))
    found = next((problem for problem in problems if problem is not None), None)
    return found or _problem_of_names(method) or _problem_of_steps(method) or _problem_of_stages(method)


def _staged(method: Method) -> list[Any]:
    return [part for stage in method.stages for part in stage.parts]


def _problem_of_part(part: Any) -> str | None:
    if isinstance(part, str):
        return (
            None
            if part in PARTS
            else f"names a part {part!r}; ours are {', '.join(PARTS)}, others are given as classes"
        )
    if not isinstance(part, type) or not issubclass(part, attribute_of(_PART)):
        return (
            f"has a part {part!r}, which is neither the name of one of ours nor a subclass of {_PART.replace(':', '.')}"
        )
    name, settings = getattr(part, "name", None), getattr(part, "settings", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"has a part {part.__name__} whose `name` is {name!r}: give it a word in small letters"
    if name in PARTS or f"loss_{name}" in {info.term for info in PARTS.values()}:
        return (
            f"has a part {part.__name__} named {name!r}, which one of ours or its loss is called: choose another name"
        )
    if not isinstance(settings, type) or not issubclass(settings, PartSettings):
        return f"has a part {name} whose `settings` are {settings!r}: they are a subclass of engine.part_settings.PartSettings"
    if not isinstance(part.needs, Needs):
        return f"has a part {name} whose `needs` are {part.needs!r}: they are flags of engine.method_table.Needs"
    if part.__abstractmethods__:
        return f"has a part {name} without {', '.join(sorted(part.__abstractmethods__))}"
    return None


def _problem_of_names(method: Method) -> str | None:
    """Two parts of one name would share settings, weights and curves."""
    for parts in (method.parts, *(stage.parts for stage in method.stages)):
        names = [name_of(part) for part in parts]
        if twice := next((name for name in names if names.count(name) > 1), None):
            return f"has two parts named {twice!r}"
    kinds: dict[str, Any] = {}
    for part in (*method.parts, *_staged(method)):
        if kinds.setdefault(name_of(part), part) != part:
            return f"has two parts named {name_of(part)!r}"
    return None


def _problem_of_steps(method: Method) -> str | None:
    names = {name_of(part) for part in method.parts}
    counted: set[str] = set()
    for step in method.steps:
        if step.updates not in _UPDATES:
            return f"has a step that updates {step.updates!r}: it may be {', '.join(_UPDATES)}"
        if unknown := [name for name in step.parts or () if name not in names]:
            return f"has a step of parts {', '.join(unknown)}, which are none of {', '.join(sorted(names))}"
        counted |= names if step.parts is None else set(step.parts)
    if missing := sorted(names - counted):
        return f"has parts that count in no step: {', '.join(missing)}"
    return None


def _problem_of_stages(method: Method) -> str | None:
    for stage in method.stages:
        section, _, rest = stage.epochs.partition(".")
        name, _, leaf = rest.partition(".")
        part = next((part for part in stage.parts if name_of(part) == name), None)
        if not stage.parts or section != "parts" or part is None:
            return f"has a stage {stage.name!r} whose `epochs` are {stage.epochs!r}: name a setting of one of its parts, parts.NAME.SETTING"
        if not isinstance(part, str) and leaf not in part.settings.model_fields:
            return f"has a stage {stage.name!r} whose `epochs` are {stage.epochs!r}, but part {name} has no setting {leaf!r}"
    return None


PLAIN = Method(
    parts=("rec",),
    description="The backbone with its recommendation loss alone",
    family="recommendation",
    source="Kang and McAuley, ICDM 2018, with the loss of parts.rec.loss",
    ours="Cross-entropy over all items in place of one sampled negative; preset esasrec trains eSASRec.",
)
SRACL = Method(
    parts=("rec", "inter", "intra"),
    description="Contrasts with a learned sum of semantic neighbors, and of views with semantic substitutes",
    family="semantic",
    passes="14 with k = 10; about 9 where dropped neighbors are not encoded",
    source="SRA-CL, NeurIPS 2025, arXiv 2503.04162",
    ours="Neighbors from other users' training prefixes by default; preset `paper` runs it as released.",
)
DUOREC = Method(
    parts=("rec", "same_target"),
    description="Contrasts another dropout pass of a prefix with another prefix of the same target",
    family="contrastive",
    passes="3",
    source="DuoRec, WSDM 2022, arXiv 2110.05730",
    ours="The index by target is made from the training prefixes of the run; the padding row is no class of L_rec.",
)
ICSREC = Method(
    parts=("rec", "same_target", "intent"),
    defaults={"parts.same_target.weight": 0.3, "parts.same_target.kin": True},
    description="Contrasts prefixes of the same target with each other and with the clusters that they belong to",
    family="contrastive",
    passes="3, and 1 without gradient for each training prefix before every epoch",
    source="ICSRec, WSDM 2024, arXiv 2310.14318",
    ours="The positive is drawn, not always the last; k-means starts once, not five times, and in torch; both contrasts read one pass.",
)
CL4SREC = Method(
    parts=("rec", "augmented"),
    description="Contrasts two views of a prefix, cropped, masked or reordered",
    family="contrastive",
    passes="3, two of them over views that are shorter where they are cropped",
    source="CL4SRec, ICDE 2022, arXiv 2010.14395, with the ratios of DuoRec's code of it",
    ours="Masked items are one learned vector; L_rec reads the prefix itself, which in the released code is masked and reordered, too.",
)
COSEREC = Method(
    parts=("rec", "augmented"),
    defaults={
        "parts.augmented.operators": ("crop", "mask", "reorder", "insert", "substitute"),
        "parts.augmented.choice": "independent",
        "parts.augmented.crop": 0.2,
        "parts.augmented.mask": 0.7,
        "parts.augmented.reorder": 0.2,
        "parts.augmented.short_length": 4,
    },
    description="CL4SRec's contrast, with items that are inserted or substituted by similar ones",
    family="contrastive",
    passes="3, two of them over views that insertions lengthen; a table of similar items before every epoch",
    source="CoSeRec, 2021, arXiv 2108.06479, with the settings of its Sports script",
    ours="Contrasts the hidden state at the last item, or at all items without padding (representation = states); masked items are "
    "one learned vector; the warm-up is counted in epochs over prefixes, of which 30 have the steps of its 160 on Sports.",
)
ICLREC = Method(
    parts=("rec", "augmented", "intent"),
    defaults={
        "parts.augmented.choice": "independent",
        "parts.augmented.crop": 0.2,
        "parts.augmented.mask": 0.7,
        "parts.augmented.reorder": 0.2,
        "parts.intent.pair": "augmented",
        "parts.intent.kin": False,
    },
    description="CL4SRec's contrast, and one of both views with the cluster that the prefix belongs to",
    family="contrastive",
    passes="3, two of them over shorter views, and 1 without gradient for each training prefix before every epoch",
    source="ICLRec, WWW 2022, arXiv 2202.02519, with the settings of its scripts",
    ours="Intents and contrasts are those of the hidden state at the last item of a prefix, or of the mean over its items (parts.intent.representation = "
    "mean), where the released code averages over all places of one sequence of each user, padding included; k-means starts once, not five times, and in torch; both contrasts read one pass.",
)
MCLREC = Method(
    parts=("rec", "augmented", "meta"),
    defaults={
        "parts.augmented.weight": 0.03,
        "parts.augmented.crop": 0.5,
        "parts.augmented.mask": 0.5,
        "parts.augmented.reorder": 0.8,
    },
    steps=(Step(updates="encoder"), Step(parts=("meta",), updates="own"), Step(updates="encoder")),
    description="CL4SRec's contrast, and one with views that two learned augmenters make of its views",
    family="contrastive",
    passes="6, and 2 without gradient: a batch makes two updates of the encoder, and one of the augmenters between them",
    source="MCLRec, SIGIR 2023, arXiv 2304.10763, with the weights of its Yelp script",
    ours="The encoder has two updates of each batch, twice those of all other methods at equal epochs: with the weights of augmented and "
    "meta at 0 it is the control, a backbone of as many updates. Masked items are one learned vector; the augmenters are in the checkpoint.",
)
RLMREC_CON = Method(
    parts=("rec", "align"),
    description="Aligns hidden states and target items with their texts: no neighbors, no synthesizer",
    family="semantic",
    source="RLMRec, WWW 2024, arXiv 2310.15950, with the weight and temperature of its Amazon script",
    ours="Published for a graph of users and items; here a user is the prefix, with the vector of its own text. The texts are those that SRA-CL reads. "
    "No term of sampled negatives and no penalty on weights. With unit = user a prefix has a text of later items: take prefix.",
)
RLMREC_GEN = Method(
    parts=("rec", "reconstruct"),
    description="Masks items of the prefix, and finds the texts of prefix and masked items from their hidden states",
    family="semantic",
    passes="1, read at masked items, too",
    source="RLMRec, WWW 2024, arXiv 2310.15950, with the weight, temperature and share of masks of its Amazon script",
    ours="Published for a graph, whose nodes are masked; here items of a prefix are, in the pass that L_rec reads. The texts are those that "
    "SRA-CL reads. With unit = user a prefix has a text of later items: take prefix.",
)
LLMESR = Method(
    parts=("rec", "distill"),
    defaults={"model.backbone": "dual"},
    description="A second view of every item from its text, and hidden states drawn to those of similar users",
    family="semantic",
    passes="2, one for each view of the items, and 20 without gradient with k = 10",
    source="LLM-ESR, NeurIPS 2024",
    ours="Cross-entropy at the last item in place of binary cross-entropy at all items, where the released encoder sees the answer; the "
    "encoder is causal; neighbors are prefixes (retrieval.pool = users: one of each other user, as published) by the vectors that SRA-CL has.",
)
S3REC = Method(
    parts=("rec",),
    stages=(Stage("pretrain", ("mip", "sp", "aap", "map"), "parts.mip.epochs"),),
    description="The plain backbone, pretrained on masked items, segments and attributes of items",
    family="pretraining",
    passes="4 that see both ways in each of 100 epochs of pretraining, then 1",
    source="S3-Rec, CIKM 2020, arXiv 2008.07873",
    ours="Its pretraining, parts.mip.epochs, comes on top of the epochs that all other methods have, and takes longer than these. It has "
    "the batch of the run; losses are means over tokens or prefixes, not sums (parts.mip.reduction). Masked items are one learned vector, no "
    "item; prefixes of one item have no segments; segments of others come from training interactions. Then L_rec of the run is trained, "
    "in the released code binary cross-entropy at all items. Without attributes, aap and map are switched off, and the run says so.",
)
ALPHAREC = Method(
    parts=("rec",),
    defaults={"model.backbone": "alpharec", "train.lr": 5e-4, "train.weight_decay": 1e-6},
    description="No item embeddings and no order: texts, mapped and averaged along the graph of users and items, by cosine",
    family="semantic",
    passes="0; every step maps the texts of all items and sums them twice along the graph",
    source="AlphaRec, ICLR 2025, arXiv 2407.05441",
    ours="A user is the window of the prefix, as validation and test have it, and not a node; the graph has training interactions alone. "
    "The hidden layer of the texts has model.inner numbers, in place of half of the text vector's; a batch has 256 prefixes, not 4,096 pairs.",
)

METHODS = Registry(
    kind="method",
    where="method.name",
    group="sracl.methods",
    base="engine.method_table:Method",
    ours={
        "sracl": "engine.method_table:SRACL",
        "plain": "engine.method_table:PLAIN",
        "duorec": "engine.method_table:DUOREC",
        "icsrec": "engine.method_table:ICSREC",
        "cl4srec": "engine.method_table:CL4SREC",
        "coserec": "engine.method_table:COSEREC",
        "iclrec": "engine.method_table:ICLREC",
        "mclrec": "engine.method_table:MCLREC",
        "rlmrec-con": "engine.method_table:RLMREC_CON",
        "rlmrec-gen": "engine.method_table:RLMREC_GEN",
        "llm-esr": "engine.method_table:LLMESR",
        "s3rec": "engine.method_table:S3REC",
        "alpharec": "engine.method_table:ALPHAREC",
    },
    example="examples/own_method.py is one that works.",
    values=True,
    check=problem_of_method,
)
"""Our methods by name; a new one is a value above and a line here."""
