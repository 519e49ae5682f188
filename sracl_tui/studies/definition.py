"""What a study is: data sets, seeds, variants and claims, as its file declares them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.config import Config, content_hash
from engine.config_files import load_config
from engine.metric_registry import definition_of, title
from sracl_tui.runs.sweeps.variants import with_seed

Direction = Literal["higher", "lower", "equal"]


@dataclass(frozen=True)
class Measure:
    """A number of each run that is not a mean over users, so that only seeds tell how far it varies."""

    name: str
    label: str
    meaning: str
    format: str = ".4f"

    def text(self, value: float) -> str:
        """A value as it is displayed."""
        return format(value, self.format)


MEASURES = {
    measure.name: measure
    for measure in (
        Measure("seconds_per_step", "Seconds per step", "Median over epochs of training seconds, over steps", ".4f"),
        Measure(
            "seconds_to_best", "Seconds to the best epoch", "Training seconds up to the epoch that was kept", ".1f"
        ),
        Measure("seconds_train", "Training seconds", "Training seconds of all epochs", ".1f"),
        Measure(
            "seconds_inference", "Seconds to rank all users", "Median over epochs of the validation's seconds", ".3f"
        ),
        Measure("peak_memory", "Peak memory (MiB)", "Largest resident size of the run's process", ",.0f"),
        Measure("usd", "US dollars", "What calls to models cost", ".4f"),
        Measure("effective_rank", "Effective rank", "Of the users' vectors h; more is more dispersed", ".2f"),
        Measure("uniformity", "Uniformity", "Of the users' vectors h; lower is more dispersed", ".3f"),
        Measure("mean_cosine", "Mean cosine", "Of pairs of users' vectors h; lower is more dispersed", ".3f"),
        Measure("weight_spearman", "Spearman of weight and similarity", "Mean over users, rank correlation", ".3f"),
        Measure("weight_entropy", "Entropy of weights", "Mean over users, 1 for equal weights", ".4f"),
        Measure(
            "rankings_differ",
            "Users ranked differently",
            "Share whose neighbors stand in another order by weight than by similarity",
        ),
        Measure("rankings_differ_untrained", "The same, untrained", "Of the synthesizer before its training"),
        Measure("rankings_differ_by_chance", "The same, by chance", "Of weights in an order drawn at random"),
    )
}


@dataclass(frozen=True, kw_only=True)
class SeedRule:
    """How many seeds each variant has, and how many more may be added while claims are undecided."""

    first: int
    """Seeds 1 to `first` are run."""
    add: int = 0
    """Seeds that are added at a time."""
    cap: int = 0
    """No variant gets more."""

    @property
    def looks(self) -> int:
        """How often claims may be judged, each time with more seeds: 1 without a rule that adds seeds."""
        return 1 + math.ceil((self.cap - self.first) / self.add) if self.add else 1

    def steps(self) -> list[int]:
        """Numbers of seeds at which the claims are judged."""
        return [min(self.first + self.add * look, max(self.cap, self.first)) for look in range(self.looks)]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One configuration: a preset with settings, or runs that exist already."""

    name: str
    about: str = ""
    preset: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    runs: str | None = None
    """Name of a group or run that stands for this variant, such as ranks of a model trained elsewhere."""

    @property
    def label(self) -> str:
        """What it is, in words; its name where nothing else is said."""
        return self.about or self.name


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence that runs can support or contradict: a variant compared with another one, or with a value."""

    name: str
    sentence: str
    variant: str = ""
    against: str | None = None
    value: float | None = None
    """What it is compared with: a variant, or a value."""
    metric: str = ""
    direction: Direction = "higher"
    """Of `variant` beside `against`."""
    margin: float = 0.0
    """Differences up to this do not matter; in units of the metric, or a share of the other's mean where `relative`."""
    relative: bool = False
    users: str = "all"
    """Subgroup of users, as in `sracl compare --subgroup`."""
    datasets: tuple[str, ...] | None = None
    """None means all of the study's."""
    question: str = ""
    """The reviewers' question that it answers."""
    source: str = ""
    not_run: str = ""
    """Why it cannot be run by this version; empty where it can."""

    @property
    def of_ranks(self) -> bool:
        """Whether its metric has a value for each user, so that users and seeds are both sources of variance."""
        metric = definition_of(self.metric)
        return metric is not None and metric.per_user

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the variants that it compares."""
        return tuple(name for name in (self.variant, self.against) if name)

    @property
    def metric_title(self) -> str:
        """The metric as tables write it."""
        return MEASURES[self.metric].label if self.metric in MEASURES else title(self.metric)

    @property
    def margin_text(self) -> str:
        """`0.002` or `5 %`."""
        return f"{100 * self.margin:g} %" if self.relative else f"{self.margin:g}"

    @property
    def expectation(self) -> str:
        """`sracl > backbone in NDCG@20, untied users (margin 0.002)`."""
        if self.not_run:
            return ""
        sign = {"higher": ">", "lower": "<", "equal": "="}[self.direction]
        other = self.against if self.against is not None else f"{self.value:g}"
        which = "" if self.users == "all" else f", {self.users} users"
        return f"{self.variant} {sign} {other} in {self.metric_title}{which} (margin {self.margin_text})"


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study as its file declares it."""

    name: str
    path: Path
    text: str
    sha256: str
    title: str
    about: str
    datasets: tuple[str, ...]
    metric: str
    """The primary metric: claims in it are corrected together (Holm)."""
    seeds: SeedRule
    settings: dict[str, Any]
    """Of all variants."""
    variants: dict[str, Variant]
    claims: dict[str, Claim]
    also: tuple[str, ...] = ()
    """Variants that are run and shown although no claim compares them."""
    reference: str = ""
    """What a command calls it: its name, or its path where the file lies elsewhere."""
    lines: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    """Line of each key in the file, by its path."""

    def place(self, path: str) -> str:
        """`FILE:LINE` of a key, or of the nearest table around it."""
        return place(self.path, self.lines, path)

    def is_primary(self, claim: Claim) -> bool:
        """Whether a claim is about the study's primary metric."""
        return claim.metric == self.metric

    def config(self, variant: str, dataset: str, seed: int = 1) -> tuple[Config, str]:
        """Settings and preset of a variant's run.

        Raises:
            ConfigError: they are not valid.
        """
        found = self.variants[variant]
        config, preset = load_config(
            preset=found.preset, settings={**self.settings, **found.settings, "dataset": dataset}
        )
        return with_seed(config, seed), preset

    def fingerprint(self, claim: Claim) -> str:
        """Hash of all that decides a claim: its fields, the settings of its variants, the rule of seeds and the primary metric."""
        variants = {
            name: [variant.preset, self.settings | variant.settings, variant.runs]
            for name in claim.variants
            for variant in [self.variants[name]]
        }
        fields = [
            claim.variant, claim.against, claim.value, claim.metric, claim.direction, claim.margin, claim.relative, claim.users,
            claim.sentence,
        ]  # fmt: skip
        rule = [self.seeds.first, self.seeds.add, self.seeds.cap, self.metric]
        return content_hash([fields, variants, rule, len(self.claims)])


def place(path: Path, lines: dict[str, int], key: str) -> str:
    """`FILE:LINE` of a key of a file, or of the nearest table around it; the file alone where no line is known."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}:{lines[key]}" if key else str(path)
