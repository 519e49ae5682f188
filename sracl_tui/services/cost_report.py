"""What calls have cost, as rows of text: for `sracl costs` and for the screen."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sracl_tui import formatting
from sracl_tui.runs.stages.cost_estimate import dollars

COUNTS = {
    "calls": "calls",
    "failed": "failed",
    "unpriced": "unpriced",
    "fallbacks": "rule-based",
    "tokens_in": "tokens in",
    "tokens_out": "out",
}
DAYS = 60
"""Days that a plot shows at most."""
GAIN_HEADS = ("run", "data", "unit", "test NDCG@20:r", "backbone:r", "gain:r", "summaries cost:r", "$ per 0.01:r")
GAIN_NOTE = (
    "NDCG@20 on test against the mean of the data set's finished runs without a contrast; the cost is that of the run's "
    "summaries, whichever run paid for them."
)


def heads(by: str) -> tuple[str, ...]:
    """Titles of the columns; `:r` marks those that are aligned right."""
    if by == "gain":
        return GAIN_HEADS
    first = {"run": ("run", "name", "kind", "state"), "model": ("provider", "model")}.get(by, (by,))
    left = ("left of cap:r",) if by == "run" else ()
    return (*first, "cost:r", *left, *(f"{title}:r" for title in COUNTS.values()), "cached:r", "saved:r")


def cells(by: str, row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `store.queries.costs.spending` or `gains` as text."""
    if by == "gain":
        figures = ("-" if row[name] is None else f"{row[name]:.4f}" for name in ("ndcg", "backbone"))
        gain = "-" if row["gain"] is None else f"{row['gain']:+.4f}"
        more = f" + {row['unpriced']:,} calls" if row["unpriced"] else ""
        per = "no gain" if row["gain"] is not None and row["gain"] <= 0 else None
        per = per or ("no backbone" if row["gain"] is None else dollars(row["usd_per_gain"]))
        return (row["name"], row["dataset"], row["unit"], *figures, gain, f"{dollars(row['usd'])}{more}", per)
    if by == "run":
        first = (
            row["run_id"],
            row["name"] if row["name"] and row["name"] != row["run_id"] else "-",
            row["kind"] or "-",
            formatting.state(row["state"] or "-"),
        )
    else:
        first = tuple(row[name] or "-" for name in (("provider", "model") if by == "model" else (by,)))
    counts = (f"{row[name]:,}" for name in COUNTS)
    left = (left_text(row),) if by == "run" else ()
    return (*first, cost_text(row), *left, *counts, cached_text(row), dollars(row["usd_saved"]))


def cost_text(row: dict[str, Any]) -> str:
    """Known dollars; where only refused calls have a price, none, the rest is unknown and not $0."""
    return dollars(None if row["unpriced"] and not row["usd"] else row["usd"])


def cached_text(row: dict[str, Any]) -> str:
    """Cached prompt tokens and their share of all."""
    share = f" ({row['tokens_cached'] / row['tokens_in']:.0%})" if row["tokens_cached"] else ""
    return f"{row['tokens_cached']:,}{share}"


def left_text(row: dict[str, Any]) -> str:
    """The rest of a run's budget, of its cap."""
    return (
        "no cap"
        if row["cap"] is None
        else f"{dollars(max(0.0, row['cap'] - (row['usd'] or 0.0)))} of {dollars(row['cap'])}"
    )


def sum_line(total: dict[str, Any]) -> str:
    """All calls in a line, and what hides behind the dollars."""
    if not total["calls"]:
        return "no call was made yet"
    parts = [f"{total['calls']:,} calls", f"{total['failed']:,} failed", f"{total['fallbacks']:,} rule-based texts"]
    parts += [f"{total['unpriced']:,} of unknown price"] if total["unpriced"] else []
    parts += [f"caches saved {dollars(total['usd_saved'])}"] if total["usd_saved"] else []
    return ", ".join(parts)


def by_day(rows: list[dict[str, Any]]) -> tuple[list[str], list[float]]:
    """Days (ISO) and known dollars, oldest first, with the days between that had no call; at most the last `DAYS`."""
    spent = {date.fromisoformat(row["day"]): row["usd"] or 0.0 for row in rows}
    if not spent:
        return [], []
    last = max(spent)
    first = max(min(spent), last - timedelta(days=DAYS - 1))
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [day.isoformat() for day in days], [spent.get(day, 0.0) for day in days]
