"""A dataset in words: the same facts for `sracl data show` and for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sracl_tui import formatting


def kind_of(row: dict[str, Any]) -> str:
    """The origin of a data set: synthetic, or the format of its source."""
    return "synthetic: generated, no real people" if row["synthetic"] else f"{row['source']} ({row['format']})"


def facts_of(row: dict[str, Any], found: dict[str, Any] | None, runs: Sequence[str] = ()) -> dict[str, str]:
    """What is known of a dataset, as names and texts.

    Args:
        row: as `store.queries.datasets` gives it.
        found: its statistics; none where they are not counted yet.
        runs: names of the runs that use it.
    """
    facts = {
        "dataset": f"{row['name']} ({row['dataset_id']})",
        "source": kind_of(row),
        "users": f"{row['users']:,}, {_share(row['tied_users'], row['users'])} with validation and test at the same time",
        "items": f"{row['items']:,}, {_share(row['items_with_text'], row['items'])} with text",
        "interactions": f"{row['interactions']:,}; density {_percent(row['interactions'] / row['users'] / row['items'])}",
        "prefixes": f"{row['train_prefixes']:,} to train on",
        "time": _span(row),
    }
    if found is not None:
        facts |= _counted(row, found)
    facts |= {
        "imported": formatting.moment(row["imported_at"]),
        "options": _options(row["options"]),
        "read": f"{row['rows_read']:,} rows",
        "dropped": ", ".join(f"{count:,} {reason}" for reason, count in row["dropped"].items()) or "nothing",
        "warnings": "; ".join(row["warnings"]) or "none",
    }
    if runs:
        more = f" and {len(runs) - 6} more" if len(runs) > 6 else ""
        facts["used by"] = f"{len(runs)} run{'s' * (len(runs) > 1)}: {', '.join(runs[:6])}{more}"
    return facts


def _options(options: dict[str, Any]) -> str:
    """Import options that differ from doing nothing."""
    at_work = {key: value for key, value in options.items() if value not in (0, None, "keep")}
    return ", ".join(f"{key} {value}" for key, value in at_work.items()) or "none"


def _counted(row: dict[str, Any], found: dict[str, Any]) -> dict[str, str]:
    """What the statistics add, in the order in which one asks."""
    facts = {
        "length": f"{_middle(found['lengths'])} interactions per user",
        "popularity": f"{_middle(found['popularity'])} interactions per item",
    }
    if found["untrained"]:
        facts["cold items"] = f"{found['untrained']:,} items have no training interaction"
    if found["repeated"]:
        facts["repeated"] = (
            f"{_share(found['repeated'], row['interactions'])} are with an item that the user had before"
        )
    if found["ties"]:
        tied = sum(part["value"] * part["count"] for part in found["ties"] if part["value"] > 1)
        days = "; the source has days, no time of day" if not found["timed"] else ""
        facts["ties"] = f"{_share(tied, row['interactions'])} share their time with another of their user{days}"
    fields = ", ".join(f"{name} {_percent(count / row['items'])}" for name, count in found["fields"].items())
    characters = f", texts of {found['characters']:.0f} characters (median)" if found["characters"] else ""
    facts["texts"] = f"{found['titles']:,} titles{characters}{f'; {fields}' if fields else ''}"
    return facts


def _span(row: dict[str, Any]) -> str:
    if row["first_ts"] is None:
        return "the source has none: the order of its rows counts"
    first, last = (
        f"{at:%Y-%m-%d}" if f"{at:%H:%M:%S}" == "00:00:00" else str(at) for at in (row["first_ts"], row["last_ts"])
    )
    days = (row["last_ts"] - row["first_ts"]).days
    return f"{first} to {last} (UTC), {f'{days:,} days' if days < 800 else f'{days / 365.25:.1f} years'}"


def _middle(spread: Sequence[dict[str, Any]]) -> str:
    """Median, mean, least and greatest value of a distribution."""
    count = sum(part["count"] for part in spread)
    mean = sum(part["value"] * part["count"] for part in spread) / count
    ends = [_at(spread, (count - 1) // 2), _at(spread, count // 2)]
    return f"median {sum(ends) / 2:g}, mean {mean:.1f}, {spread[0]['value']:,} to {spread[-1]['value']:,}"


def _at(spread: Sequence[dict[str, Any]], place: int) -> int:
    """The value at a place in the order of all."""
    for part in spread:
        place -= part["count"]
        if place < 0:
            return part["value"]
    return spread[-1]["value"]


def _share(count: int, of: int) -> str:
    return f"{count:,} ({_percent(count / of)})" if of and count else "none"


def _percent(share: float) -> str:
    """A share with as many digits as it needs to be no zero."""
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"
