"""Error rates of the tests and verdicts, by simulation: python -m benchmarks.simulate_statistics [--draws N] [--only WORD] [--users N].

Legend: S seeds, U users, D draws.

A draw is a whole experiment. The logarithm of a target's rank is the sum of the user's difficulty, what the method does to this user,
the noise of a seed for this user, and the effect of a seed on all users; constants are chosen so that HR@20, NDCG@20, their
differences between two runs and their spread over seeds are those measured on Office (docs/results.md). Users are new in every draw, and the
true difference is known by integration. Every estimate, interval and verdict is made by engine/evaluation.

Printed are tables in Markdown: false alarms where there is no difference, coverage and power where there is one of the size
measured on Office. The table `scipy` compares single results with scipy.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from engine.evaluation.estimates import Estimate, estimate_measure, estimates
from engine.evaluation.significance import compare, gain_matrix
from engine.evaluation.verdicts import Claim, judge

USERS = 4_905
CUTOFF = 20
LOCATION, TOTAL = 5.58, 2.6
"""Mean and standard deviation of log rank: HR@20 .160, NDCG@20 .067."""
NOISE, OWN = 0.7, 0.5
"""Of a user from seed to seed, and from method to method: HR@20 of two runs differs with sd .27 and .30 over users."""
GAIN = 0.143
"""Shift of log rank that raises HR@20 by .0134, as SRA-CL on Office did."""
QUIET, LOUD = 0.013, 0.07
"""Effect of a seed on log rank: HR@20 varies over seeds with sd .0030 and .0071, as in the two tables of five backbones."""
LOOKS = (3, 5, 8)
CELLS = 1_500_000
"""Values that are drawn at a time."""


@dataclass(frozen=True)
class Design:
    """Seeds and spreads of an experiment."""

    name: str
    seeds: tuple[int, int]
    spreads: tuple[float, float]


ALIKE = tuple(
    Design(f"{a} v {b}", (a, b), (spread, spread)) for spread in (LOUD, QUIET) for a, b in ((1, 5), (3, 3), (5, 5))
)
UNLIKE = (
    Design("3 loud v 3 quiet", (3, 3), (LOUD, QUIET)),
    Design("5 loud v 5 quiet", (5, 5), (LOUD, QUIET)),
    Design("1 quiet v 5 loud", (1, 5), (QUIET, LOUD)),
    Design("1 loud v 5 quiet", (1, 5), (LOUD, QUIET)),
)


def true_means(shift: float, spread: float) -> NDArray[np.float64]:
    """(2,) HR@20 and NDCG@20 over all users and seeds, with log ranks lower by `shift`."""
    sd = math.sqrt(TOTAL**2 + spread**2)
    edges = stats.norm.cdf((np.log(np.arange(1, CUTOFF + 1)) - LOCATION + shift) / sd)
    return np.array([edges[-1], np.diff(edges, prepend=0) @ (1 / np.log2(np.arange(2, CUTOFF + 2)))])


def draw(
    rng: np.random.Generator, seeds: tuple[int, int], spreads: tuple[float, float], shift: float, users: int, draws: int
) -> list[NDArray[np.float32]]:
    """Values (2, S, U, D) of each side in HR@20 and NDCG@20; b is better by `shift`."""
    difficulty = LOCATION + math.sqrt(TOTAL**2 - NOISE**2 - OWN**2) * rng.standard_normal((users, draws), np.float32)
    found = []
    for count, spread, better in zip(seeds, spreads, (0.0, shift), strict=True):
        method = difficulty + np.float32(OWN) * rng.standard_normal((users, draws), np.float32) - np.float32(better)
        log_ranks = np.float32(NOISE) * rng.standard_normal((count, users, draws), np.float32)
        log_ranks += method
        log_ranks += np.float32(spread) * rng.standard_normal((count, 1, draws), np.float32)
        hit = log_ranks <= np.float32(math.log(CUTOFF))
        values = np.zeros((2, *log_ranks.shape), np.float32)
        values[0] = hit
        values[1][hit] = 1 / np.log2(1 + np.maximum(1, np.ceil(np.exp(log_ranks[hit]))))
        found.append(values)
    return found


def experiments(
    design: Design, shift: float, *, draws: int, users: int, seed: int
) -> Iterator[tuple[int, list[NDArray[np.float32]]]]:
    """Metric (0 HR, 1 NDCG) and values (S, U, D) of both sides, some draws at a time."""
    rng = np.random.default_rng(seed)
    chunk = max(1, CELLS // (sum(design.seeds) * users))
    for start in range(0, draws, chunk):
        sides = draw(rng, design.seeds, design.spreads, shift, users, min(chunk, draws - start))
        for metric in (0, 1):
            yield metric, [side[metric] for side in sides]


def _estimates(sides: list[NDArray[np.float32]], upto: int | None = None) -> list[Estimate]:
    return estimates(*(side[:upto] for side in sides))


def fixed(design: Design, *, draws: int, users: int) -> list[dict[str, object]]:
    """Type-I error, coverage and power of one comparison at 5 %, a row per metric."""
    alarms, covered, shown = np.zeros(2), np.zeros(2), np.zeros(2)
    spread = np.zeros(2)
    truth = true_means(GAIN, design.spreads[1]) - true_means(0, design.spreads[0])
    none = true_means(0, design.spreads[1]) - true_means(0, design.spreads[0])
    assert np.abs(none).max() < 1e-4  # unequal spreads move the means a little, less than a tenth of a standard error
    for metric, sides in experiments(design, 0.0, draws=draws, users=users, seed=1):
        for one in _estimates(sides):
            alarms[metric] += one.p_value() <= 0.05
            spread[metric] += np.nanmean(one.seed_variances)
    for metric, sides in experiments(design, GAIN, draws=draws, users=users, seed=2):
        for one in _estimates(sides):
            low, high = one.interval()
            covered[metric] += low <= truth[metric] <= high
            shown[metric] += low > 0
    return [
        {
            "design": design.name,
            "metric": name,
            "seed sd": f"{math.sqrt(spread[n] / draws):.4f}",
            "false alarms": f"{alarms[n] / draws:.3f}",
            "coverage": f"{covered[n] / draws:.3f}",
            "difference": f"{truth[n]:+.4f}",
            "power": f"{shown[n] / draws:.2f}",
        }
        for n, name in enumerate(("HR@20", "NDCG@20"))
    ]


def models(*, draws: int, users: int) -> list[dict[str, object]]:
    """One seed each: randomization test and bootstrap over users, about two trained models that are equally good for users at large."""
    pair = Design("1 v 1, these two models", (1, 1), (0.0, 0.0))
    rng, alarms, covered = np.random.default_rng(3), np.zeros(2), np.zeros(2)
    for number in range(draws):
        sides = draw(rng, pair.seeds, pair.spreads, 0.0, users, 1)
        ranks = [_ranks(side[1, 0, :, 0]) for side in sides]
        for n, one in enumerate(
            compare([ranks[0]], [ranks[1]], ks=(CUTOFF,), names=("hr", "ndcg"), resamples=499, seed=number)
        ):
            alarms[n] += one.p_value <= 0.05
            covered[n] += one.ci_low <= 0 <= one.ci_high
    return [
        {
            "design": pair.name,
            "metric": name,
            "false alarms": f"{alarms[n] / draws:.3f}",
            "coverage": f"{covered[n] / draws:.3f}",
        }
        for n, name in enumerate(("HR@20", "NDCG@20"))
    ]


def _ranks(ndcg: NDArray[np.floating]) -> NDArray[np.int64]:
    return np.where(ndcg > 0, np.rint(2 ** (1 / np.maximum(ndcg, 0.1)) - 1), CUTOFF + 1).astype(np.int64)


def added(spread: float, *, draws: int, users: int) -> list[dict[str, object]]:
    """Seeds added at the declared looks until the claim is decided: verdicts with the correction for looks, and without."""
    rows: list[dict[str, object]] = []
    design = Design(" then ".join(map(str, LOOKS)), (LOOKS[-1],) * 2, (spread, spread))
    truth = true_means(GAIN, spread) - true_means(0, spread)
    counts = {name: np.zeros(2) for name in ("alarms", "naive", "covered", "shown", "seeds")}
    claim = Claim("gain")
    for shift, seed in ((0.0, 4), (GAIN, 5)):
        for metric, sides in experiments(design, shift, draws=draws, users=users, seed=seed):
            for found in zip(*(_estimates(sides, look) for look in LOOKS), strict=True):
                verdicts = [judge([claim], [one], looks=len(LOOKS), cap=0)[0] for one in found]
                stop = next((n for n, one in enumerate(verdicts) if one.outcome != "undecided"), len(LOOKS) - 1)
                last = verdicts[stop]
                if shift == 0:
                    counts["alarms"][metric] += last.outcome != "undecided"
                    counts["naive"][metric] += any(one.p_value() <= 0.05 for one in found)
                else:
                    counts["covered"][metric] += last.ci_low <= truth[metric] <= last.ci_high
                    counts["shown"][metric] += last.outcome == "supported"
                    counts["seeds"][metric] += LOOKS[stop]
    for n, name in enumerate(("HR@20", "NDCG@20")):
        share = {key: value[n] / draws for key, value in counts.items()}
        rows.append(
            {
                "seeds": design.name,
                "metric": name,
                "seed effect": spread,
                "false alarms": f"{share['alarms']:.3f}",
                "without the correction": f"{share['naive']:.3f}",
                "coverage": f"{share['covered']:.3f}",
                "power": f"{share['shown']:.2f}",
                "mean seeds": f"{share['seeds']:.1f}",
            }
        )
    return rows


def equivalence(*, draws: int, users: int) -> list[dict[str, object]]:
    """Two sides that differ by exactly the margin: how often they are called equivalent; and by nothing."""
    rows: list[dict[str, object]] = []
    for design in (
        Design("3 v 3", (3, 3), (QUIET, QUIET)),
        Design("5 v 5", (5, 5), (QUIET, QUIET)),
        Design("5 v 5", (5, 5), (LOUD, LOUD)),
    ):
        margins = true_means(GAIN, design.spreads[0]) - true_means(0, design.spreads[0])
        called = {0.0: np.zeros(2), GAIN: np.zeros(2)}
        for shift in called:
            for metric, sides in experiments(design, shift, draws=draws, users=users, seed=6):
                for one in _estimates(sides):
                    called[shift][metric] += one.equivalence_p(float(margins[metric])) <= 0.05
        for n, name in enumerate(("HR@20", "NDCG@20")):
            rows.append(
                {
                    "design": design.name,
                    "metric": name,
                    "seed effect": design.spreads[0],
                    "margin": f"{margins[n]:.4f}",
                    "called equivalent at the margin": f"{called[GAIN][n] / draws:.3f}",
                    "where equal": f"{called[0.0][n] / draws:.2f}",
                }
            )
    return rows


def families(*, draws: int, users: int) -> list[dict[str, object]]:
    """Studies of five claims, of which none, or all but one, are true: how often any false one is called shown."""
    rows: list[dict[str, object]] = []
    design = Design("5 v 5", (5, 5), (LOUD, LOUD))
    claims = [Claim(str(n)) for n in range(5)]
    for true in (0, 4):
        pools = []
        for shift, count, seed in ((GAIN * 3, true, 7), (0.0, 5 - true, 8)):
            each = [
                _estimates(s)
                for m, s in experiments(design, shift, draws=draws * count, users=users, seed=seed)
                if m == 1
            ]
            flat = [one for part in each for one in part]
            pools.append([flat[n * draws : (n + 1) * draws] for n in range(count)])
        false = 0
        for study in zip(*pools[0], *pools[1], strict=True):
            verdicts = judge(claims, study, cap=0)
            false += any(one.outcome in ("supported", "contradicted") for one in verdicts[true:])
        rows.append(
            {
                "claims": 5,
                "true": true,
                "users": users,
                "studies": draws,
                "any false claim shown": f"{false / draws:.3f}",
            }
        )
    return rows


def beside_scipy(seed: int = 1) -> list[dict[str, object]]:
    """Largest relative differences between our numbers and scipy's, over random cases."""
    rng = np.random.default_rng(seed)
    worst = dict.fromkeys(
        ("Welch's t, p", "Welch's t, 95 % interval", "two one-sided tests, p", "one sample, p", "sign test, p"), 0.0
    )

    def note(name: str, ours: float, theirs: float) -> None:
        worst[name] = max(worst[name], abs(ours - theirs) / max(abs(theirs), 1e-300))

    for number in range(1_000):
        a, b = rng.normal(0, rng.uniform(0.5, 2), rng.integers(2, 9)), rng.normal(0.5, 1, rng.integers(2, 9))
        found, welch = estimate_measure(a, b), stats.ttest_ind(b, a, equal_var=False)
        note("Welch's t, p", found.p_value(), welch.pvalue)
        note("Welch's t, 95 % interval", found.interval()[1], welch.confidence_interval(0.95).high)
        above = stats.ttest_ind(b + 1, a, equal_var=False, alternative="greater").pvalue
        below = stats.ttest_ind(b - 1, a, equal_var=False, alternative="less").pvalue
        note("two one-sided tests, p", found.equivalence_p(1.0), max(above, below))
        note("one sample, p", estimate_measure(0.3, b).p_value(), stats.ttest_1samp(b, 0.3).pvalue)
        if number % 10:
            continue
        ranks = [rng.integers(1, 60, 2_000), rng.integers(1, 50, 2_000)]
        up, down = (int(((x <= 20) & (y > 20)).sum()) for x, y in (ranks[::-1], ranks))
        exact = stats.binomtest(up, up + down).pvalue
        if exact < 0.0005:
            note(
                "sign test, p",
                compare([ranks[0]], [ranks[1]], ks=(20,), names=("hr",), resamples=999)[0].p_value,
                exact,
            )
    rows: list[dict[str, object]] = [
        {"what": name, "largest relative difference": f"{value:.1e}"} for name, value in worst.items()
    ]
    rows.append({"what": "randomization over users, p", "largest relative difference": f"{_permutation(rng):.1e}"})
    return rows


def _permutation(rng: np.random.Generator) -> float:
    """Against scipy's permutation test, both with 20,000 swaps, so a few percent are the noise of both."""
    worst = 0.0
    for number in range(5):
        a, b = 1 + rng.exponential(30, 300).astype(int), 1 + rng.exponential(26, 300).astype(int)
        ours = compare([a], [b], ks=(20,), names=("ndcg",), resamples=20_000, seed=number)[0].p_value
        pair = [gain_matrix(one, (20,), ("ndcg",))[:, 0] for one in (a, b)]
        theirs = stats.permutation_test(
            pair,
            lambda x, y, axis: (y - x).mean(axis),
            permutation_type="samples",
            n_resamples=20_000,
            vectorized=True,
            rng=rng,
        ).pvalue
        worst = max(worst, abs(ours - theirs) / theirs)
    return worst


def tables(draws: int, users: int) -> dict[str, Callable[[], list[dict[str, object]]]]:
    """Every table by name."""
    return {
        "alike": lambda: [row for design in ALIKE for row in fixed(design, draws=draws, users=users)],
        "unlike": lambda: [row for design in UNLIKE for row in fixed(design, draws=draws, users=users)],
        "models": lambda: models(draws=draws, users=users),
        "added": lambda: [row for spread in (LOUD, QUIET) for row in added(spread, draws=draws, users=users)],
        "equivalence": lambda: equivalence(draws=draws, users=users),
        "families": lambda: families(draws=draws, users=users // 5),
        "scipy": beside_scipy,
    }


def markdown(rows: list[dict[str, object]]) -> str:
    """Rows as a table."""
    heads = list(rows[0])
    lines = [heads, ["---"] * len(heads), *([str(row.get(head, "")) for head in heads] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """Print the tables; as JSON with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=5_000, help="experiments behind every number (default 5,000)")
    parser.add_argument("--users", type=int, default=USERS, help="users of an experiment (default 4,905, as on Office)")
    parser.add_argument("--only", choices=list(tables(1, 1)), help="this table alone")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args()
    found = {}
    for name, make in tables(options.draws, options.users).items():
        if options.only in (None, name):
            started = time.perf_counter()
            found[name] = make()
            if not options.json:
                sys.stdout.write(f"\n{name}, {time.perf_counter() - started:.0f} s\n\n{markdown(found[name])}\n")
                sys.stdout.flush()
    if options.json:
        sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
