"""Findings as one file to pass on: HTML that loads nothing, or Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from store.atomic_write import atomic_write
from store.errors import StoreError
from store.queries.findings import Finding
from store.untrusted_text import shown

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --paper: #ffffff; --code: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --code: #151b23; } }
body { margin: 0 auto; max-width: 78rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .2rem; } p { margin: .4rem 0; }
.soft { color: var(--soft); } .note { white-space: pre-wrap; }
pre { font: .75rem/1.2 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--code); border: 1px solid var(--line);
  padding: .6rem; overflow-x: auto; } code { font: .8125rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media print { :root { color-scheme: light; } pre { white-space: pre-wrap; break-inside: avoid; } }
"""
_SIGNS = re.compile(r"([\\`*_\[\]<>#|~&$!])")
_BEGINS = re.compile(r"([-+=]|\d+[.)])")
"""What makes a line a list, a heading or a rule where it begins with it."""


def when(at: Any) -> str:
    """Day and time, UTC, to the minute."""
    return f"{str(at)[:16]} UTC"


def heading(finding: Finding) -> str:
    """The screen's title, else the name of the screen."""
    return finding["title"] or finding["screen"] or "Finding"


def facts(finding: Finding) -> str:
    """When, and of what."""
    parts = [finding["finding_id"], when(finding["created_at"])]
    parts += [f"run {run_id}" for run_id in finding["run_ids"]]
    parts += [
        f"{what} {finding[key]}" for what, key in (("user", "user_id"), ("item", "item_id")) if finding[key] is not None
    ]  # type: ignore[literal-required]
    return ", ".join(parts)


def html(findings: Sequence[Finding]) -> str:
    """All findings as a page."""
    body = [f"<h1>{_count(findings)}</h1>"]
    for one in findings:
        body.append(f'<h2>{_html(heading(one))}</h2>\n<p class="soft">{_html(facts(one))}</p>')
        body += [f'<p class="note">{_html(one["note"])}</p>'] if one["note"] else []
        body += [f"<p><code>{_html(one['command'])}</code></p>"] if one["command"] else []
        body += [f"<pre>{_html(one['content'])}</pre>"] if one["content"] else []
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Findings</title>\n<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(body) + "\n</body>\n</html>\n"
    )


def markdown(findings: Sequence[Finding]) -> str:
    """All findings as Markdown; what is not ours stands in blocks of code, or with its signs escaped."""
    parts = [f"# {_count(findings)}"]
    for one in findings:
        parts += [f"## {_plain(heading(one))}", _plain(facts(one))]
        parts += ["\\\n".join(map(_plain, shown(one["note"]).split("\n")))] if one["note"] else []
        parts += [_fenced(one["command"], "sh")] if one["command"] else []
        parts += [_fenced(one["content"], "text")] if one["content"] else []
    return "\n\n".join(parts) + "\n"


def _count(findings: Sequence[Finding]) -> str:
    return "1 finding" if len(findings) == 1 else f"{len(findings):,} findings"


def _html(text: str) -> str:
    return escape(shown(text))


def _plain(text: str) -> str:
    text = _SIGNS.sub(r"\\\1", " ".join(shown(text).split()))
    begins = _BEGINS.match(text)
    return text[: begins.end() - 1] + "\\" + text[begins.end() - 1 :] if begins else text


def _fenced(text: str, language: str) -> str:
    text = shown(text)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


FORMATS: dict[str, Callable[[Sequence[Finding]], str]] = {".html": html, ".md": markdown}
"""Writers by the file's ending."""


def write(findings: Sequence[Finding], path: Path) -> None:
    """Write findings to a .html or .md file.

    Raises:
        ConfigError: another ending.
        StoreError: the file cannot be written.
    """
    writer = FORMATS.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(
            f"there is no format {path.suffix or path.name!r}", where="--out", hint="Choose .html or .md."
        )
    text = writer(findings)
    try:
        with atomic_write(path) as temporary:
            temporary.write_text(text, "utf-8")
    except OSError as error:
        raise StoreError(
            f"cannot be written: {error.strerror or error}", where=str(path), hint="Name another file."
        ) from None
