"""The kinds of files that a report is written to."""

from __future__ import annotations

from collections.abc import Callable

from sracl_tui.studies.report import Report
from sracl_tui.studies.report_html import html
from sracl_tui.studies.report_text import latex, markdown

FORMATS: dict[str, Callable[[Report], str]] = {".html": html, ".md": markdown, ".tex": latex}
"""Writers of a report by the file's ending."""
