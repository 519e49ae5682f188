"""The settings of a run: a frozen tree, and its hash.

engine/setting_paths.py says by which names a setting may be given.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from engine.errors import ConfigError
from engine.evaluation_config import EvaluateConfig as EvaluateConfig
from engine.evaluation_config import RecordConfig
from engine.extension_points import BACKBONES, BACKENDS, ENCODERS, PROVIDERS, SYNTHESIZERS, encoder_identity
from engine.method_table import METHODS, PARTS, Method, Needs, PartInfo, Stage, Step, backbone_needs, epochs_of, name_of
from engine.part_settings import PartsConfig, RecSettings, words_of
from engine.sections import Hash, Named, Scope, Section, hashed_tree


class DataConfig(Section):
    """Which interactions and item texts a run reads."""

    dataset: str = "demo"
    """Name of an imported dataset; `demo` is synthetic and generated when missing."""
    max_length: int = Field(default=20, ge=1, le=1000)
    """Window: the last items of a prefix that the backbone sees (the paper's n), in items."""
    max_users: int | None = Field(default=None, ge=2)
    """Use only the first N users, by user ID; none means all of them."""
    drop_titles: Annotated[float, Hash(scope="texts")] = Field(default=0.0, ge=0.0, le=1.0)
    """Share of items, drawn at random with a fixed seed, whose text is removed."""
    swap_titles: Annotated[bool, Hash(scope="texts")] = False
    """Shuffle the texts among the items with a fixed seed: a placebo for the semantic stages."""


class SemanticsConfig(Section):
    """From texts to semantic vectors: summaries by an LLM, then a frozen text encoder (paper section 3.2)."""

    provider: Annotated[str, Named(PROVIDERS), Hash(identity=PROVIDERS.identity_of)] = "offline"
    """Who writes the summaries: `offline` (rules), `titles` (raw text: the paper's w/o LLM), a named endpoint (`llamacpp` needs
    no key: docs/llm.md), or your own as `path.py:Class`."""
    llm: str | None = None
    """Model of a named endpoint; none uses the endpoint's default."""
    unit: str = Field(default="prefix", pattern=r"^(prefix|user|every-([2-9]|[1-9]\d+))$")
    """One summary per training prefix (`prefix`, released code), per user (`user`, paper), or per m-th prefix of a user
    (`every-m`, such as `every-4`: the prefixes up to the next one share it)."""
    prompt: str = "auto"
    """Version of the prompt; `auto` uses the newest one for the dataset's domain, or the one that the endpoint's entry names."""
    encoder: Annotated[str, Named(ENCODERS), Hash(identity=encoder_identity)] = "minilm"
    """Text encoder: `minilm`, `tfidf`, the name or folder of a sentence-transformers model, `ENDPOINT:MODEL`, or your own
    as `path.py:Class`."""
    pooling: Annotated[Literal["auto", "mean", "cls", "pooler"], Hash(omit_default=True)] = "auto"
    """From a model's token vectors to one: their mean, the first token's, or the pooler's output. `auto` is what the model's files
    say, and for SimCSE what its authors use (supervised models: the pooler); other models without such files get the mean."""
    vector: Literal["text", "item-mean", "collaborative"] = "text"
    """An anchor's vector: of its summary, the mean of its items' vectors, or the backbone's own (w/o semantic)."""
    budget: Annotated[float | None, Hash(never=True)] = Field(default=None, ge=0)
    """Budget of a run for LLM calls, in US dollars, never exceeded; none means no limit."""


class RetrievalConfig(Section):
    """Neighbors of prefixes and substitutes of items, by semantic similarity (paper sections 3.2.1 and 3.2.2)."""

    k: int = Field(default=10, ge=1, le=1000)
    """Neighbors retrieved per anchor (the paper's k)."""
    item_k: int = Field(default=10, ge=1, le=1000)
    """Substitutes retrieved per item."""
    pool: Literal["others", "train", "users", "reference"] = "others"
    """Candidates: other users' training prefixes, all training prefixes, one per other user, or all prefixes."""
    similarity: Literal["cosine", "dot"] = "cosine"
    """Similarity of two semantic vectors."""
    backend: Annotated[str, Named(BACKENDS), Hash(identity=BACKENDS.identity_of)] = "exact"
    """Exact search, Annoy's approximate trees (`annoy`), faiss's inverted lists (`faiss`, an extra), or your own as
    `path.py:Class`."""
    trees: int = Field(default=50, ge=1, le=1000)
    """Annoy: number of trees."""
    search_k: int = Field(default=20_000, ge=1)
    """Annoy: nodes that a query inspects. faiss: candidates that it compares."""


def _all_but(*names: str) -> tuple[str, ...]:
    """Our backbones but for those that read a setting."""
    return tuple(name for name in BACKBONES.ours if name not in names)


class ModelConfig(Section):
    """The sequence encoder f, called backbone."""

    backbone: Annotated[str, Named(BACKBONES), Hash(identity=BACKBONES.identity_of)] = "sasrec"
    """Sequence encoder f: sasrec, gru4rec, bert4rec, bsarec, ligr, dual and alpharec (read item texts), an installed entry
    point, or your own as `path.py:Class`."""
    width: int = Field(default=64, ge=2, le=4096)
    """Size of the item embeddings and hidden states (the paper's d)."""
    layers: int = Field(default=2, ge=1, le=32)
    """Layers of the Transformer, of the GRU, or of the graph (alpharec)."""
    heads: int = Field(default=2, ge=1, le=64)
    """Attention heads (not of gru4rec and alpharec); must divide the width."""
    inner: int = Field(default=256, ge=1, le=16384)
    """Width of the feed-forward layer; hidden size of gru4rec, and of what alpharec makes of texts."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of embeddings and hidden states (not of alpharec)."""
    attention_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of attention probabilities (not of gru4rec and alpharec)."""
    padding: Literal["zero", "random"] = "zero"
    """Initial value of the padding row of the item embedding (released code: random). The mask hides it either way."""
    mask: Annotated[float, Hash(ignored_by=_all_but("bert4rec"))] = Field(default=0.2, gt=0.0, lt=1.0)
    """Probability that an item of a training sequence is masked (bert4rec only)."""
    filter_mix: Annotated[float, Hash(omit_default=True, ignored_by=_all_but("bsarec"))] = Field(
        default=0.9, ge=0.0, le=1.0
    )
    """Share of the frequency filter in a layer, the rest is attention (bsarec's alpha)."""
    filter_bands: Annotated[int, Hash(omit_default=True, ignored_by=_all_but("bsarec"))] = Field(default=3, ge=1)
    """Where the filter cuts: the lowest c // 2 + 1 frequencies of the window pass, the others are rescaled (bsarec's c)."""
    loss_negatives: Annotated[int, Hash(omit_default=True, ignored_by=_all_but("alpharec"))] = Field(default=256, ge=1)
    """Items sampled for each target in alpharec's own loss, none of them a training item of the user."""
    loss_temperature: Annotated[float, Hash(omit_default=True, ignored_by=_all_but("alpharec"))] = Field(
        default=0.15, gt=0.0
    )
    """Divisor of the cosines in alpharec's own loss."""


class SynthesizerConfig(Section):
    """Weights of the retrieved neighbors in the contrastive sample h+ (paper section 3.3)."""

    kind: Annotated[str, Named(SYNTHESIZERS), Hash(identity=SYNTHESIZERS.identity_of)] = "gat"
    """How the retrieved neighbors are weighed: `gat` is the paper's, the others are its controls; or your own as
    `path.py:Class`."""
    weight_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Dropout rate of the weights in training (released code only); not applied to `random` and `top1`."""
    item_kind: Literal["draw", "synthesize"] = "draw"
    """A swapped item becomes one drawn substitute (paper) or the weighted sum of all of them."""


class LossConfig(Section):
    """L = L_rec + alpha L_CS + beta L_IS (paper sections 3.3 to 3.5)."""

    alpha: float = Field(default=0.1, ge=0.0)
    """Weight of the inter-user contrast L_CS; 0 switches it off."""
    beta: float = Field(default=0.1, ge=0.0)
    """Weight of the intra-user contrast L_IS; 0 switches it off."""
    temperature: float = Field(default=1.0, gt=0.0)
    """InfoNCE temperature (tau)."""
    direction: Literal["symmetric", "one-way"] = "symmetric"
    """InfoNCE over all 2B - 2 other rows (released code) or over the B - 1 other samples (paper)."""
    swap: float = Field(default=0.2, ge=0.0, le=1.0)
    """Probability that an item of a view is replaced by a substitute."""


class MethodConfig(Section):
    """The training objective: a list of parts, each of which is one named loss."""

    name: Annotated[str, Named(METHODS)] = "sracl"
    """The method: one of `sracl methods`, an installed entry point, or your own as `path.py:NAME`."""
    parts: tuple[str, ...] | None = None
    """Parts to combine in place of the method's own, such as ["rec", "same_target", "inter"]; none means the method's."""

    @field_validator("parts", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return words_of(value)


class TrainConfig(Section):
    """The optimizer, the training loop and early stopping."""

    epochs: int = Field(default=100, ge=1)
    """Maximum epochs."""
    batch: int = Field(default=256, ge=2)
    """Prefixes per step."""
    mode: Annotated[Literal["prefix", "sequence"], Hash(omit_default=True)] = "prefix"
    """Encode every prefix on its own (paper), or each user once, read at all positions: faster, other mathematics."""
    lr: float = Field(default=1e-3, gt=0.0)
    """Adam's learning rate."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """Adam's L2 penalty."""
    sparse_adam: Annotated[bool, Hash(omit_default=True)] = False
    """Whether a step updates the embeddings of the items that it touches alone, with a sampled parts.rec.loss: less memory
    for a large catalog, and another optimizer, as Adam goes on to move items that a step does not touch."""
    patience: int = Field(default=10, ge=1)
    """Stop after this many consecutive epochs without a better validation score."""
    select: str = Field(default="mrr@10", pattern=r"^[a-z]\w*(@[1-9]\d*)?$")
    """Validation metric that picks the best epoch: any metric of docs/metrics.md, with its cutoff; it is measured too."""
    select_digits: int | None = Field(default=None, ge=1, le=15)
    """Digits to which the score is rounded before it is compared; none compares in full precision."""
    tie_improves: bool = False
    """Whether an equal score counts as better."""
    seed: Annotated[int, Hash(never=True)] = Field(default=1, ge=0, le=2**31 - 1)
    """Seed of initial weights, batches, dropout and draws."""
    device: Annotated[str, Hash(never=True)] = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto` uses CUDA if available, else the CPU."""
    threads: Annotated[int | None, Hash(never=True)] = Field(default=None, ge=1)
    """CPU threads; none uses torch's default. The same seed gives the same run for the same number of threads."""
    processes: Annotated[int, Hash(never=True)] = Field(default=1, ge=1, le=1024)
    """Processes that share every batch, each with a GPU of its own or its part of the CPU's threads (docs/scale.md): the same
    mathematics, and other random numbers, so that the same seed gives the same run for the same number of processes."""
    precision: Annotated[Literal["float32", "bfloat16"], Hash(omit_default=True)] = "float32"
    """Precision of the encoder's products in training (autocast); weights, losses, evaluation and bert4rec's own pass stay float32."""


class Config(Section):
    """All settings of a run."""

    data: DataConfig = DataConfig()
    semantics: Annotated[SemanticsConfig, Hash(scope="texts")] = SemanticsConfig()
    retrieval: Annotated[RetrievalConfig, Hash(scope="lists")] = RetrievalConfig()
    model: ModelConfig = ModelConfig()
    method: Annotated[MethodConfig, Hash(never=True)] = MethodConfig()
    parts: Annotated[PartsConfig, Hash(never=True)] = PartsConfig()
    synthesizer: Annotated[SynthesizerConfig, Hash(scope="contrasts")] = SynthesizerConfig()
    loss: Annotated[LossConfig, Hash(scope="contrasts")] = LossConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    record: Annotated[RecordConfig, Hash(never=True)] = RecordConfig()

    @property
    def own_method(self) -> bool:
        """Whether the method is not one of ours, so that its parts are known when its code is loaded and not before."""
        return self.method.name not in METHODS.ours

    @property
    def definition(self) -> Method:
        """The method with the parts that `method.parts` combines.

        Raises:
            ConfigError: an own method cannot be loaded.
        """
        found: Method = METHODS.load(self.method.name)
        if self.method.parts is None:
            return found
        own = {name_of(part): part for part in found.parts}
        return replace(found, parts=tuple(own.get(name, name) for name in self.method.parts))

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the parts whose weight is above 0, in order; those of stages first.

        Raises:
            ConfigError: an own method cannot be loaded.
        """
        return tuple(name_of(part) for part in self.definition.all_parts if self.weight(part) > 0)

    def weight(self, part: Any) -> float:
        """Weight of a part, given by name or as a class."""
        name = name_of(part)
        info = PARTS.get(name)
        if info is None:
            settings = part.settings.model_fields["weight"].default if not isinstance(part, str) else 1.0
            return float(self.parts.given(name).get("weight", settings))
        section, *rest = (info.weight or f"parts.{name}.weight").split(".")
        value: Any = getattr(self, section)
        for leaf in rest:
            value = getattr(value, leaf)
        return value

    def read_by(self, part: str) -> tuple[str, ...]:
        """Other parts whose settings a part reads as it is set."""
        info = part_info(part)
        if info.reads_where is None:
            return info.reads
        setting, value = info.reads_where
        return info.reads if getattr(getattr(self.parts, part), setting) == value else ()

    @property
    def needs(self) -> Needs:
        """What the active parts and the backbone need before training.

        Raises:
            ConfigError: an own method or backbone cannot be loaded.
        """
        return self._part_needs | backbone_needs(self.model.backbone)

    @property
    def _part_needs(self) -> Needs:
        needs = Needs.NONE
        for part in self.definition.all_parts:
            if self.weight(part) > 0:
                needs |= part_info(part).needs
        return needs

    @property
    def stages(self) -> tuple[tuple[Stage, int], ...]:
        """The trainings before the main one that have a part which is on, with their epochs.

        Raises:
            ConfigError: an own method cannot be loaded.
        """
        on = (stage for stage in self.definition.stages if any(self.weight(part) > 0 for part in stage.parts))
        return tuple((stage, epochs_of(stage, self.parts)) for stage in on)

    @property
    def is_simple(self) -> bool:
        """Whether the objective is the sum of its parts: one update for each batch, and no stage before with a part that is on."""
        return self.definition.steps == (Step(),) and not self.stages

    @property
    def contrasts(self) -> bool:
        """Whether a contrast of SRA-CL is on, as far as can be said without loading an own method."""
        if self.own_method:
            return True
        return bool({"inter", "intra"} & set(self.active))

    @property
    def is_plain(self) -> bool:
        """Whether the backbone is trained with its recommendation loss alone."""
        return not self.own_method and self.active == ("rec",) and self.is_simple

    def config_hash(self) -> str:
        """Hash of every setting that can change the result, by the `Hash` rules of the fields.

        Where no text is read no semantic setting is included: all plain backbones have the same hash, whatever their method is
        called. Parts other than those of SRA-CL are included with their settings, in order; an own method by its content.
        """
        scopes = self._scopes()
        tree = self._hashed(self)
        if "contrasts" in scopes and not self.own_method:
            off = {leaf: 0.0 for part, leaf in (("inter", "alpha"), ("intra", "beta")) if part not in self.active}
            tree["loss"] |= off  # the weight of a part that is not combined has no effect
        objective = self._objective()
        return content_hash(tree if objective is None else tree | {"method": objective})

    def _scopes(self) -> frozenset[Scope]:
        """The scopes of the hash that are open; all of them for an own method, which may read anything."""
        if self.own_method:
            return frozenset(("always", "texts", "lists", "contrasts"))
        needs = self._part_needs
        with suppress(ConfigError):  # code that cannot be loaded is refused elsewhere, with the reason
            needs |= backbone_needs(self.model.backbone)
        open_: dict[Scope, bool] = {
            "always": True,
            "texts": needs != Needs.NONE,
            "lists": needs.lists,
            "contrasts": self.contrasts,
        }
        return frozenset(scope for scope, on in open_.items() if on)

    def _objective(self) -> Any:
        """What is hashed of the method; none for the objectives that runs had before there were others."""
        if self.own_method:  # without the defaults, so that parts which later versions add change no hash
            name = METHODS.identity_of(self.method.name)
            return {
                "name": name,
                "combined": self.method.parts,
                "parts": self.parts.model_dump(mode="json", exclude_defaults=True),
            }
        active = self.active
        before = tuple(name for name in ("rec", "inter", "intra") if name in active)
        if (
            active == before
            and active[:1] == ("rec",)
            and self._hashed(self.parts.rec) == self._hashed(RecSettings())
            and self.is_simple
        ):
            return None
        named = [
            [name, self._hashed(getattr(self.parts, name)) if name in PartsConfig.model_fields else {}]
            for name in active
        ]
        objective: dict[str, Any] = {
            "name": "" if self.is_simple else self.method.name,
            "parts": named,
        }
        read = {other for name in active for other in self.read_by(name) if other not in active}
        if read:
            objective["read"] = {other: self._hashed(getattr(self.parts, other)) for other in read}
        return objective

    def _hashed(self, section: Section) -> dict[str, Any]:
        return hashed_tree(section, scopes=self._scopes(), backbone=self.model.backbone)

    def differences(self, base: Config) -> dict[str, tuple[Any, Any]]:
        """`{"loss.alpha": (base's value, ours)}` for every setting in which the two differ.

        None stands for a setting of a part that is not ours where one of the two does not give it.
        """
        ours, theirs = flatten(self.model_dump(mode="json")), flatten(base.model_dump(mode="json"))
        paths = dict.fromkeys([*ours, *theirs])
        return {path: (theirs.get(path), ours.get(path)) for path in paths if theirs.get(path) != ours.get(path)}


def part_info(part: Any) -> PartInfo:
    """What is known of a part that is given by name or as a class."""
    name = name_of(part)
    return PARTS[name] if name in PARTS else PartInfo(code="", needs=part.needs)


def content_hash(value: Any, *, length: int = 16) -> str:
    """The first `length` hex digits of the SHA-256 of a value's canonical JSON (sorted keys, no blanks, UTF-8)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"loss": {"alpha": 1}}` as `{"loss.alpha": 1}`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        flat |= flatten(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat
