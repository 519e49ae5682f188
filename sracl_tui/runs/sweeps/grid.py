"""Several settings over several values: every combination, or a number of random draws."""

from __future__ import annotations

import itertools
import math
import random
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import content_hash
from engine.config_files import parse_assignment
from engine.errors import ConfigError
from sracl_tui.runs.sweeps.variants import Variant

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
MOST = 10_000
"""Upper bound of the runs of one command."""


@dataclass(frozen=True)
class _Axis:
    """A setting with its values, or with the ends of its range."""

    key: str
    values: tuple[Any, ...]
    range: tuple[float, float] | None = None
    whole: bool = False
    log: bool = False

    def draw(self, rng: random.Random) -> Any:
        if self.range is None:
            return rng.choice(self.values)
        low, high = self.range
        if self.whole and not self.log:
            return rng.randint(int(low), int(high))
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else rng.uniform(low, high)
        return round(value) if self.whole else float(f"{value:.4g}")


def grid(assignments: Sequence[str], trials: int | None = None) -> list[Variant]:
    """`alpha=0.05,0.1` and `k=5,10` as four variants; with `trials`, as so many draws, also from `lr=1e-4..1e-2:log`.

    The same assignments draw the same values, so that a repeated command finds its runs.

    Raises:
        ConfigError: an assignment is malformed, a setting comes twice, or a range has no `trials`.
    """
    axes = [_axis(assignment) for assignment in assignments]
    keys = [axis.key for axis in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"{key!r} comes twice", where="--grid")
    if trials is None:
        open_ = [axis.key for axis in axes if axis.range is not None]
        if open_:
            raise ConfigError(f"{open_[0]!r} is a range", where="--grid", hint="Draw from it with --trials N.")
        count = math.prod(len(axis.values) for axis in axes)
        if count > MOST:
            raise ConfigError(
                f"that would be {count:,} runs", where="--grid", hint="Draw some of them with --trials N."
            )
        return [_variant(keys, values) for values in itertools.product(*(axis.values for axis in axes))]
    rng = random.Random(content_hash([*assignments], length=16))
    drawn: dict[str, Variant] = {}
    for _ in range(20 * trials):  # a small grid has fewer combinations than trials
        made = _variant(keys, [axis.draw(rng) for axis in axes])
        drawn.setdefault(made.name, made)
        if len(drawn) == trials:
            break
    return list(drawn.values())


def _axis(assignment: str) -> _Axis:
    key, _, text = (part.strip() for part in assignment.partition("="))
    if not key or not text:
        raise ConfigError(
            f"{assignment!r} is not KEY=VALUE,VALUE", where="--grid", hint="Examples: k=5,10,20 or lr=1e-4..1e-2:log"
        )
    if match := _RANGE.fullmatch(text):
        low, high, log = float(match[1]), float(match[2]), bool(match[3])
        if low >= high or (log and low <= 0):
            raise ConfigError(f"{text!r} is no range: LOW..HIGH, and above 0 for :log", where=f"--grid {key}")
        whole = all(part.lstrip("+-").isdigit() for part in (match[1], match[2]))
        return _Axis(key, (), (low, high), whole, log)
    try:
        values = tomllib.loads(f"values = [{text}]")["values"]
    except (ValueError, RecursionError):
        values = [part.strip() for part in text.split(",")]
    return _Axis(key, tuple(values))


def _variant(keys: Sequence[str], values: Sequence[Any]) -> Variant:
    settings: dict[str, Any] = {}
    for key, value in zip(keys, values, strict=True):
        settings |= parse_assignment(f"{key}={value}") if isinstance(value, str) else {key: value}
    return Variant(",".join(f"{key}={_text(value)}" for key, value in zip(keys, values, strict=True)), None, settings)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
