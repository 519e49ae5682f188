"""The report of a study as one HTML file: nothing is loaded, it follows the reader's light or dark theme, and it prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from sracl_tui.studies.forest import forest
from sracl_tui.studies.judging import Judgement
from sracl_tui.studies.report import LEAK_HEADS, RUN_HEADS, Report, leak_command
from sracl_tui.studies.show import seeds_text
from sracl_tui.studies.tables import (
    MARKS,
    NUMBER_HEADS,
    POWER_HEADS,
    SETTING_HEADS,
    interval_text,
    p_text,
    power_cells,
    signed,
    text,
)
from sracl_tui.studies.tables import (
    seeds_text as seeds_of,
)

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --paper: #ffffff; --band: #eaeef2;
  --yes: #1a7f37; --no: #b42318; --same: #0550ae; --open: #6e7781; --code: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --band: #1f2630;
  --yes: #3fb950; --no: #ff7b72; --same: #79c0ff; --open: #9198a1; --code: #151b23; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; } p { margin: .4rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .875rem; min-width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; white-space: nowrap; } .r { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.number { white-space: nowrap; font-variant-numeric: tabular-nums; }
code { font: .8125rem/1.4 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--code); padding: .1rem .25rem;
  overflow-wrap: anywhere; } .verdict { white-space: nowrap; font-weight: 600; }
.claim { border: 1px solid var(--line); border-left: .3rem solid var(--open); border-radius: .25rem; padding: .6rem .8rem; margin: .6rem 0; }
.claim p { margin: .15rem 0; } .claim.supported { border-left-color: var(--yes); } .claim.contradicted { border-left-color: var(--no); }
.claim.equivalent { border-left-color: var(--same); } .supported .verdict { color: var(--yes); } .contradicted .verdict { color: var(--no); }
.equivalent .verdict { color: var(--same); } .undecided .verdict, .not-run .verdict { color: var(--open); }
svg.forest { width: 100%; height: auto; min-width: 34rem; font: 12px system-ui, sans-serif; } svg text { fill: var(--ink); }
svg .tick, svg .head { fill: var(--soft); } svg .band { fill: var(--band); } svg .zero { stroke: var(--soft); }
svg .bar, svg .tip { stroke: var(--open); stroke-width: 2; fill: none; } svg .dot { fill: var(--open); }
svg .supported .bar, svg .supported .tip { stroke: var(--yes); } svg .supported .dot { fill: var(--yes); }
svg .contradicted .bar, svg .contradicted .tip { stroke: var(--no); } svg .contradicted .dot { fill: var(--no); }
svg .equivalent .bar, svg .equivalent .tip { stroke: var(--same); } svg .equivalent .dot { fill: var(--same); }
@media print { :root { color-scheme: light; } body { max-width: none; padding: 0; font-size: 10pt; } .wide { overflow: visible; }
  .claim, tr, svg { break-inside: avoid; } svg.forest { min-width: 0; } }
"""


def html(made: Report) -> str:
    """The whole report."""
    study = made.study
    body = [
        f"<h1>{escape(study.title)}</h1>",
        f"<p><strong>{escape(made.counts_text)}</strong> · study {escape(study.name)} on {escape(', '.join(made.plan.datasets))} · "
        f"made {escape(made.made_at)}</p>",
        f"<p>{escape(study.about)}</p>" if study.about else "",
        f'<p class="soft">{escape(seeds_text(study))} Verdicts rest on test ranks, by users and seeds; made again by '
        f"{_code(made.command)}.</p>",
        "<h2>Claims</h2>",
    ]
    for title, some in (
        (f"In {study.metric.upper()}, corrected together (Holm)", [one for one in made.judgements if one.primary]),
        ("In other measures, each by itself", [one for one in made.judgements if not one.primary]),
    ):
        if some:
            body += [f"<h3>{escape(title)}</h3>", *(_claim(one, several=made.several) for one in some)]
    plot = forest(made.judgements, several=made.several)
    if plot:
        body += [
            "<h2>Forest plot</h2>",
            '<p class="soft">Each difference with its interval, in units of the claim\'s margin. The band is where a difference does not '
            "matter; right of it is what is claimed (of a claim of equality, the band itself).</p>",
            f'<div class="wide">{plot}</div>',
        ]
    body += [
        "<h2>Numbers</h2>",
        '<p class="soft">Seconds and dollars are means of a run\'s training and calls.</p>',
        _numbers(made),
    ]
    body += ["<h2>Settings that differ</h2>", _table(SETTING_HEADS, made.settings)]
    if made.power:
        body += [
            "<h2>What so many users and seeds can show</h2>",
            '<p class="soft">The smallest difference that is shown with a probability of .8.</p>',
            _table(POWER_HEADS, [power_cells(one, study, several=made.several) for one in made.power]),
        ]
    body.append("<h2>What each candidate pool leaks</h2>")
    text_ = "Shares of neighbors or anchors." if made.leaks else "Not measured yet."
    body.append(f'<p class="soft">{text_} {_code(leak_command(made))}</p>')
    body += [_table(LEAK_HEADS, made.leaks)] if made.leaks else []
    body += ["<h2>Runs</h2>", _table(RUN_HEADS, made.runs), "<h2>Versions and hashes</h2>"]
    body.append(_table(("of", "version or hash"), [(name, value) for name, value in made.versions.items()]))
    body += ["<h2>The study's file</h2>", f'<div class="wide"><pre><code>{escape(study.text)}</code></pre></div>']
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(study.title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(filter(None, body)) + "\n</body>\n</html>\n"
    )


def _code(command: str) -> str:
    return f"<code>{escape(command)}</code>"


def _claim(one: Judgement, *, several: bool) -> str:
    claim, found = one.claim, one.verdict
    name = one.planned.name if several else claim.name
    kind = one.outcome.replace(" ", "-")
    lines = [
        f'<p><span class="verdict">{MARKS[one.outcome]} {escape(one.text.capitalize())}</span> · <strong>{escape(claim.sentence)}</strong></p>'
    ]
    if claim.question:
        lines.append(f'<p class="soft">Question: {escape(claim.question)}</p>')
    if found is not None and found.difference is not None:
        facts = [f"{_side(one, 0)} against {_side(one, 1)}", f"difference {signed(claim.metric, found.difference)}"]
        facts += [f"interval {interval_text(one)}"] if interval_text(one) else []
        facts += [f"p {p_text(found.p_holm)} after Holm"] if one.primary and found.p_holm is not None else []
        facts += [f"{one.users:,} users"] if one.users else []
        facts += [f"seeds {seeds_of(one)}", f"margin {text(claim.metric, one.margin)}"]
        lines.append(f"<p>{escape('; '.join(facts))}.</p>")
    more = [part for part in (one.reason, *one.notes, one.declaration) if part]
    expects = f"expects {claim.expectation}" if claim.expectation else ""
    lines.append(f'<p class="soft">{escape("; ".join(filter(None, [name, expects, *more])))}.</p>')
    if one.command:
        lines.append(f"<p>{_code(one.command)}</p>")
    return f'<div class="claim {kind}">{"".join(lines)}</div>'


def _side(one: Judgement, place: int) -> str:
    side = (one.side, one.other)[place]
    if not side.run_ids:
        return side.name
    spread = f" ± {text(one.claim.metric, side.sd)}" if side.sd is not None else ""
    return f"{side.name} {text(one.claim.metric, side.mean)}{spread}"


def _numbers(made: Report) -> str:
    """Numbers with the command of each below it, as it is longer than a column."""
    rows: list[str] = []
    for row in made.numbers:
        cells = row.cells()
        rows.append(
            _cells(NUMBER_HEADS, cells) + f'<tr><td colspan="{len(NUMBER_HEADS)}">{_code(row.command)}</td></tr>'
        )
    return f'<div class="wide"><table><thead>{_heads(NUMBER_HEADS)}</thead><tbody>{"".join(rows)}</tbody></table></div>'


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(_cells(heads, row) for row in rows)
    return f'<div class="wide"><table><thead>{_heads(heads)}</thead><tbody>{body}</tbody></table></div>'


def _heads(heads: Sequence[str]) -> str:
    cells = (f"<th{_side_class(head)}>{escape(head.partition(':')[0])}</th>" for head in heads)
    return f"<tr>{''.join(cells)}</tr>"


def _cells(heads: Sequence[str], row: Sequence[str]) -> str:
    cells = (f"<td{_side_class(head)}>{escape(cell)}</td>" for head, cell in zip(heads, row, strict=True))
    return f"<tr>{''.join(cells)}</tr>"


def _side_class(head: str) -> str:
    return ' class="r"' if head.endswith(":r") else ""
