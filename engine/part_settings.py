"""The settings of the parts that training objectives are made of: one section for each part, `parts.<name>`.

The two contrasts of SRA-CL are older than this tree: their settings stand in `loss` and `synthesizer`, and
`parts.inter.weight` and `parts.intra.weight` are other names of `loss.alpha` and `loss.beta`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from engine.sections import Hash, Section


def words_of(value: Any) -> Any:
    """`hr,ndcg` and `[hr, ndcg]` as they are typed are lists."""
    if not isinstance(value, str):
        return value
    return [word.strip() for word in value.strip().removeprefix("[").removesuffix("]").split(",") if word.strip()]


class PartSettings(Section):
    """What every part has. Those of a part of your own are a subclass."""

    weight: float = Field(default=1.0, ge=0.0)
    """Factor of this loss in the sum; 0 switches the part off."""


SAMPLED = ("bce", "ss", "ss-logq", "gbce")
"""Recommendation losses that score the target and sampled negatives alone."""


class RecSettings(PartSettings):
    """L_rec, the recommendation loss."""

    loss: Annotated[Literal["ce", "bce", "ss", "ss-logq", "gbce"], Hash(omit_default=True)] = "ce"
    """Cross-entropy over all items (`ce`), or over the target and sampled negatives (`ss`; drawn by popularity and corrected for it: `ss-logq`),
    or binary cross-entropy of target and negatives (`bce`), or gSASRec's correction of it (`gbce`). Not of a backbone with a loss of
    its own (bert4rec, alpharec)."""
    chunk: Annotated[int, Hash(omit_default=True, only_with=("loss", ("ce",)))] = Field(default=0, ge=0)
    """Items that the cross-entropy over all items scores at once: the same loss but for rounding, without scores of a batch for all
    items in memory. 0: all at once up to 100,000 items, 8,192 at a time beyond."""
    negatives: Annotated[int, Hash(only_with=("loss", SAMPLED))] = Field(default=256, ge=1)
    """Items sampled for each target: with replacement, never the target itself; uniform (bce, ss, gbce), or by one more than their training
    interactions (ss-logq)."""
    gbce_t: Annotated[float, Hash(only_with=("loss", ("gbce",)))] = Field(default=0.75, ge=0.0, le=1.0)
    """gbce: from 0, binary cross-entropy, to 1, no overconfidence left."""


class ContrastSettings(PartSettings):
    """What every part has that contrasts two hidden states of each training prefix by symmetric InfoNCE."""

    weight: float = Field(default=0.1, ge=0.0)
    """Factor of this contrast in the sum; 0 switches it off."""
    temperature: float = Field(default=1.0, gt=0.0)
    """Divisor of the similarities in this InfoNCE."""
    similarity: Literal["dot", "cosine"] = "dot"
    """Of two hidden states in this InfoNCE: their dot product, which the released codes take, or their cosine, which wants a
    temperature well below 1."""


class SameTargetSettings(ContrastSettings):
    """Contrast of each training prefix with another one that has the same target (DuoRec, ICSRec)."""

    positive: Literal["random", "last"] = "random"
    """Which of the prefixes with the same target: one drawn anew in each step, or always the last of the data set, which
    ICSRec's released code takes."""
    kin: bool = False
    """Whether prefixes with the same target are no negatives of each other; DuoRec takes them as negatives, ICSRec does not."""


Operator = Literal["crop", "mask", "reorder", "insert", "substitute"]
"""What changes a sequence of items into a view of it."""


class AugmentedSettings(ContrastSettings):
    """Contrast of two views of each training prefix that operators have changed (CL4SRec, CoSeRec)."""

    operators: tuple[Operator, ...] = Field(default=("crop", "mask", "reorder"), min_length=1)
    """What makes the views: crop keeps a run of items, mask hides some behind one learned vector, reorder shuffles a run; insert
    puts similar items before some, and substitute puts them in their place. The first three leave a prefix of one item alone."""
    choice: Literal["different", "independent"] = "different"
    """Who makes the two views of a prefix: two different operators, or one operator for each, maybe twice the same."""
    crop: float = Field(default=0.6, gt=0.0, le=1.0)
    """Share of the items that crop keeps, rounded down to at least one item."""
    mask: float = Field(default=0.3, ge=0.0, le=1.0)
    """Share of the items that mask hides, rounded down."""
    reorder: float = Field(default=0.6, ge=0.0, le=1.0)
    """Share of the items that reorder shuffles, rounded down."""
    insert: float = Field(default=0.4, gt=0.0, le=1.0)
    """Share of the items before which insert puts the one most similar, rounded down to at least one."""
    substitute: float = Field(default=0.1, gt=0.0, le=1.0)
    """Share of the items in whose place substitute puts the one most similar, rounded down to at least one."""
    short_length: int = Field(default=0, ge=0)
    """Prefixes of at most as many items have views by `short_operators`; 0 means none."""
    short_operators: tuple[Operator, ...] = Field(default=("substitute", "insert", "mask"), min_length=1)
    """What makes the views of short prefixes."""
    warmup: int = Field(default=30, ge=0)
    """Epochs in which items are similar by how often training sequences hold both; then by that or by their embeddings,
    whichever says more (insert and substitute)."""
    representation: Literal["last", "states"] = "last"
    """What is contrasted: the hidden state at the last item, or those at all items one behind the other, aligned at the last."""

    @field_validator("operators", "short_operators", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return words_of(value)

    @model_validator(mode="after")
    def _enough(self) -> AugmentedSettings:
        for operators in (self.operators, *([self.short_operators] if self.short_length else [])):
            if len(set(operators)) < len(operators):
                raise ValueError(f"each operator can stand there once, not {list(operators)}")
            if self.choice == "different" and len(operators) < 2:
                raise ValueError(f"two different operators are not in {list(operators)}: use choice = independent")
        return self

    @property
    def every_operator(self) -> tuple[Operator, ...]:
        """All that make views, of short prefixes too, each once."""
        return tuple(dict.fromkeys((*self.operators, *(self.short_operators if self.short_length else ()))))


class MetaSettings(ContrastSettings):
    """Contrast of the views of `augmented` with what two learned augmenters make of them (MCLRec)."""

    margin: float = Field(default=0.1, ge=0.0)
    """Factor of what keeps an augmenter's output away from its view: how far the similarity of the two is above those of the
    others."""


class IntentSettings(ContrastSettings):
    """Contrast of hidden states with the centroids of their clusters, the intents (ICSRec, ICLRec)."""

    pair: Annotated[Literal["same_target", "augmented"], Hash(omit_default=True)] = "same_target"
    """Which two views have an intent: those of `same_target`, each that of its own hidden state (ICSRec), or those of
    `augmented`, both that of the prefix itself (ICLRec)."""
    representation: Annotated[Literal["last", "mean"], Hash(omit_default=True)] = "last"
    """What is clustered and contrasted: the hidden state at the last item, or the mean of those at all items without padding
    (pair = augmented alone)."""
    clusters: int = Field(default=256, ge=2)
    """Intents: clusters of the hidden states of all training prefixes, made anew by k-means before every epoch."""
    kin: bool = True
    """Whether prefixes of one intent are no negatives of each other; without it the very centroid of a prefix stands among
    its negatives, too."""


class AlignSettings(PartSettings):
    """Alignment of hidden states and target items with their texts (RLMRec-Con)."""

    weight: float = Field(default=0.01, ge=0.0)
    """Factor of this alignment in the sum; 0 switches it off."""
    temperature: float = Field(default=0.2, gt=0.0)
    """Divisor of the cosines in this InfoNCE."""


class ReconstructSettings(PartSettings):
    """Reconstruction of texts from sequences with masked items (RLMRec-Gen)."""

    weight: float = Field(default=0.1, ge=0.0)
    """Factor of this reconstruction in the sum; 0 switches it off, and the masks with it."""
    temperature: float = Field(default=0.5, gt=0.0)
    """Divisor of the cosines in this InfoNCE."""
    mask: float = Field(default=0.15, ge=0.0, lt=1.0)
    """Probability that an item of a prefix is hidden behind one learned vector, also from the recommendation loss."""


class DistillSettings(PartSettings):
    """Distance of a hidden state from the mean of those of its semantic neighbors (LLM-ESR)."""

    weight: float = Field(default=0.1, ge=0.0)
    """Factor of this distance in the sum (LLM-ESR's alpha); 0 switches it off. The neighbors are those of `retrieval`."""


class MipSettings(PartSettings):
    """S3-Rec's pretraining and its first task, masked items: a masked item scores above one that the prefix does not hold."""

    epochs: int = Field(default=100, ge=0)
    """Epochs of the pretraining, in which all its tasks are trained together (mip, sp, aap, map); 0 leaves it out."""
    mask: float = Field(default=0.2, ge=0.0, le=1.0)
    """Probability that an item of a prefix is masked (mip, aap, map); its last one always is."""
    form: Literal["released", "single"] = "released"
    """How much one score is above another (mip, sp): the difference of their sigmoids, which bounds a term to 0.31 .. 1.31
    (`released`), or of the scores themselves (`single`)."""
    reduction: Literal["mean", "sum"] = "mean"
    """Losses of the pretraining: means over tokens or prefixes, or the released sums, which grow with batch and length."""


class SpSettings(PartSettings):
    """Segments: what surrounds a segment of a prefix scores above another segment with it (S3-Rec's pretraining)."""

    weight: float = Field(default=0.5, ge=0.0)
    """Factor of this task in the pretraining; 0 switches it off."""


class AapSettings(PartSettings):
    """Attributes of items that are not masked, from their states (S3-Rec's pretraining); which attributes there are."""

    weight: float = Field(default=0.2, ge=0.0)
    """Factor of this task in the pretraining; 0 switches it off."""
    fields: tuple[str, ...] = ()
    """Item texts whose values are attributes (aap, map), each of which the data set must have; none means those it has of
    brand, category, categories, subcategory, genre and genres."""
    floor: int = Field(default=5, ge=1)
    """Items that an attribute must have at least (aap, map); one that all items have is none."""

    @field_validator("fields", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return words_of(value)


class MapSettings(PartSettings):
    """Attributes of masked items, from the states in their place (S3-Rec's pretraining)."""

    weight: float = Field(default=1.0, ge=0.0)
    """Factor of this task in the pretraining; 0 switches it off."""


class PartsConfig(Section):
    """A section for each of our parts; a part of your own has its own section, checked when its method is loaded."""

    model_config = ConfigDict(extra="allow")

    rec: RecSettings = RecSettings()
    """The recommendation loss."""
    same_target: SameTargetSettings = SameTargetSettings()
    """The contrast with another prefix that has the same target."""
    augmented: AugmentedSettings = AugmentedSettings()
    """The contrast of two augmented views of a prefix."""
    meta: MetaSettings = MetaSettings()
    """The contrast with views that are learned."""
    intent: IntentSettings = IntentSettings()
    """The contrast with the intent of a sequence."""
    align: AlignSettings = AlignSettings()
    """The alignment with texts."""
    reconstruct: ReconstructSettings = ReconstructSettings()
    """The reconstruction of texts."""
    distill: DistillSettings = DistillSettings()
    """The distance from the neighbors' mean."""
    mip: MipSettings = MipSettings()
    """The pretraining, and its task of masked items."""
    sp: SpSettings = SpSettings()
    """The pretraining's task of segments."""
    aap: AapSettings = AapSettings()
    """The pretraining's task of attributes of items that are seen."""
    map: MapSettings = MapSettings()
    """The pretraining's task of attributes of masked items."""

    @model_validator(mode="after")
    def _tables(self) -> PartsConfig:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, dict):
                raise ValueError(f"parts.{name} must be a table of settings, not {value!r}")
        return self

    def given(self, name: str) -> dict[str, Any]:
        """What is set for a part that is not ours, unchecked."""
        return dict((self.model_extra or {}).get(name, {}))
