"""Verdicts and numbers of a study for other programs: JSON with everything, or one table as CSV."""

from __future__ import annotations

import json
import math
from typing import Any

from sracl_tui.services.table_formats import render
from sracl_tui.studies.report import Report

VERDICT_COLUMNS = (
    "claim", "dataset", "sentence", "verdict", "outcome", "reason", "primary", "metric", "users", "users_counted", "direction",
    "margin", "difference", "level", "ci_low", "ci_high", "equivalence_low", "equivalence_high", "p_value", "p_holm", "seeds_needed",
    "changed", "declaration", "command",
)  # fmt: skip
NUMBER_COLUMNS = (
    "variant", "about", "dataset", "measure", "n", "mean", "sd", "ci_low", "ci_high", "seconds", "usd", "values", "seeds", "runs",
    "command",
)  # fmt: skip


def as_json(made: Report) -> str:
    """Everything in one document."""
    document = {
        "study": made.study.name,
        "title": made.study.title,
        "sha256": made.study.sha256,
        "made_at": made.made_at,
        "datasets": list(made.plan.datasets),
        "metric": made.study.metric,
        "verdicts": [one.document() for one in made.judgements],
        "numbers": [row.document() for row in made.numbers],
        "versions": made.versions,
    }
    return json.dumps(_finite(document), indent=1, ensure_ascii=False) + "\n"


def as_csv(made: Report, *, numbers: bool) -> str:
    """Verdicts, or numbers, a row each; lists are joined by spaces."""
    columns = NUMBER_COLUMNS if numbers else VERDICT_COLUMNS
    documents = [row.document() for row in made.numbers] if numbers else [one.document() for one in made.judgements]
    return render(columns, [[_cell(document[name]) for name in columns] for document in documents], format_="csv")


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _finite(value: Any) -> Any:
    """The same value with null in place of numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
