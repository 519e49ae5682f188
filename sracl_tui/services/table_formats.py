"""Renders tables for papers and spreadsheets as CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Literal

from sracl_tui.formatting import line
from store.untrusted_text import csv_cell

Format = Literal["csv", "md", "latex"]
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "‰": r"\textperthousand{}",
}  # fmt: skip


def render(heads: Sequence[str], rows: Sequence[Sequence[str]], *, format_: Format) -> str:
    """The table as text that ends with a line break; in Markdown and LaTeX all columns but the first are right-aligned."""
    if format_ == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(map(csv_cell, heads))
        writer.writerows([*map(csv_cell, row)] for row in rows)
        return buffer.getvalue()
    if format_ == "md":
        lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
        return "".join("| " + " | ".join(line(cell).replace("|", r"\|") for cell in row) + " |\n" for row in lines)
    body = "".join(" & ".join(map(escape_latex, row)) + r" \\" + "\n" for row in rows)
    head = " & ".join(map(escape_latex, heads)) + r" \\"
    columns = "l" + "r" * (len(heads) - 1)
    return f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head}\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"


def escape_latex(text: str) -> str:
    """Text with the characters replaced that LaTeX would read as commands."""
    return "".join(_LATEX.get(character, character) for character in line(text))
