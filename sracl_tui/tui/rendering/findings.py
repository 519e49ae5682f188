"""Findings as a table, and one of them in full."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from sracl_tui import formatting
from sracl_tui.services.findings.export import facts, heading, when
from sracl_tui.tui.widgets.table import Column, Row, TableData, lay_out
from store.queries.findings import Finding

COLUMNS = (
    Column("pinned", "pinned"),
    Column("screen", "screen", most=10),
    Column("note", "note", flex=True, least=20),
)


def findings_table(findings: Sequence[Finding]) -> TableData:
    """A row for each finding."""
    rows = [
        Row(
            one["finding_id"],
            (
                when(one["created_at"]).removesuffix(" UTC"),
                formatting.line(one["screen"]),
                formatting.line(one["note"] or heading(one)),
            ),
            ("dim", "accent", "strong" if one["note"] else "dim"),
        )
        for one in findings
    ]
    return lay_out(COLUMNS, rows)


def finding_text(finding: Finding) -> Text:
    """What a finding is of, its note and its command."""
    text = Text(formatting.line(heading(finding)), "bold")
    text.append(f"\n{formatting.line(facts(finding))}\n", "dim")
    if finding["note"]:
        text.append(f"{formatting.text(finding['note'])}\n")
    if finding["command"]:
        text.append("y copies: ", "dim").append(formatting.line(finding["command"]))
    return text
