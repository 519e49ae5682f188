"""How a person names one user or item: `#7` is a number, `id:7` an id of the source, and 7 either where both mean one."""

from __future__ import annotations

import re
from typing import Any

from store.database.database import Store
from store.errors import LookupFailed

_NUMBER = re.compile(r"#(\d{1,9})", re.ASCII)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_ID = "id:"


def number_of(text: str) -> int | None:
    """The number in `#7`; none for anything else."""
    match = _NUMBER.fullmatch(text.strip())
    return int(match[1]) if match else None


def id_of(text: str) -> str | None:
    """The id in `id:7`; none for anything else."""
    return text.removeprefix(_ID) if text.startswith(_ID) else None


def find_named(store: Store, table: str, dataset_id: str, text: str) -> dict[str, Any]:
    """The row of `users` or `items` that a text names.

    Args:
        text: `#7`, `id:7`, or plain text that is a number or an id.

    Raises:
        LookupFailed: there is none, or a plain number is that of one and the id of another.
    """
    key, kind = {"users": ("user_id", "user"), "items": ("item_id", "item")}[table]
    number, id_, plain = number_of(text), id_of(text), text.strip()
    if number is None and id_ is None and _DIGITS.fullmatch(plain):
        number = int(plain)
    ids = [text, plain] if id_ is None else [id_, text]
    wanted = [] if number_of(text) is not None else ids
    rows = store.rows(
        f"SELECT * FROM {table} WHERE dataset_id = $1 AND ({key} = $2 OR list_contains($3, raw_id)) "
        "ORDER BY list_position($3, raw_id)",
        [dataset_id, number, wanted],
    )
    if number_of(text) is not None and not rows:  # an id may begin with #
        rows = store.rows(f"SELECT * FROM {table} WHERE dataset_id = $1 AND raw_id = $2", [dataset_id, text])
    by_number = [row for row in rows if row[key] == number]
    by_id = [row for row in rows if row["raw_id"] in ids]
    if by_number and by_id and by_number[0][key] != by_id[0][key]:
        raise LookupFailed(
            f"{plain!r} is the number of the {kind} with the id {by_number[0]['raw_id']!r}, and the id of {kind} number {by_id[0][key]}",
            hint=f"#{plain} is the number, id:{plain} the id.",
        )
    found = by_number or by_id
    if not found:
        count = store.rows(f"SELECT count(*) AS n FROM {table} WHERE dataset_id = ?", [dataset_id])[0]["n"]
        hint = f"{kind.capitalize()}s are numbered 1 to {count}, as in #1; ids of the source work too, as in id:{plain.removeprefix(_ID)}."
        raise LookupFailed(f"there is no {kind} {text!r}", hint=hint)
    return found[0]
