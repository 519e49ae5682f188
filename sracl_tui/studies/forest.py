"""The forest plot of a study as inline SVG: each claim's difference and interval, in units of its margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from sracl_tui.studies.judging import Judgement
from sracl_tui.studies.tables import interval_text, signed

ROW, TOP, LABELS, PLOT, VERDICTS = 26, 34, 160, 360, 215
WIDTH = LABELS + PLOT + VERDICTS
MOST_MARGINS = 1e6
"""Differences of more margins than this are not drawn to scale."""


def forest(judgements: Sequence[Judgement], *, several: bool) -> str:
    """The plot of all claims with a difference; an empty text without any.

    Claims differ in unit, so a row is scaled by its claim's margin: the band in the middle is where a difference does not matter,
    and what a claim says lies to the right (of a claim of equality, in the band).
    """
    rows = [one for one in judgements if one.verdict is not None and one.verdict.difference is not None and one.margin]
    if not rows:
        return ""
    reach = reach_of(rows)
    height = TOP + ROW * len(rows) + 30
    parts = [
        f'<svg class="forest" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Forest plot of the claims">',
        "<title>Difference of each claim in units of its margin, with its interval</title>",
        f'<rect class="band" x="{_x(-1, reach):.1f}" y="{TOP - 8}" width="{_x(1, reach) - _x(-1, reach):.1f}" '
        f'height="{ROW * len(rows) + 8}"/>',
        f'<line class="zero" x1="{_x(0, reach):.1f}" x2="{_x(0, reach):.1f}" y1="{TOP - 8}" y2="{TOP + ROW * len(rows)}"/>',
        f'<text class="head" x="{LABELS + PLOT / 2}" y="14" text-anchor="middle">not as claimed  |  as claimed</text>',
    ]
    for place, one in enumerate(rows):
        parts += _row(one, TOP + ROW * place + ROW / 2, reach, several=several)
    for tick in _ticks(reach):
        x = _x(tick, reach)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{height - 10}" text-anchor="middle">{_tick(tick)}</text>')
    parts.append(f'<text class="tick" x="{LABELS + PLOT + 28}" y="{height - 10}">margins</text></svg>')
    return "\n".join(parts)


def scaled(one: Judgement) -> tuple[float, float, float]:
    """Difference and ends of the interval in margins, positive as claimed."""
    found = one.verdict
    assert found is not None
    assert found.difference is not None
    sign = -1.0 if one.claim.direction == "lower" else 1.0
    ends = (found.ci_low, found.ci_high)
    if one.claim.direction == "equal":
        ends = (found.equivalence_low, found.equivalence_high)
    margin = one.margin or 1.0
    low, high = (
        value if value is not None else math.copysign(math.inf, place)
        for place, value in zip((-1, 1), ends, strict=True)
    )
    ends_scaled = sorted((sign * low / margin, sign * high / margin))
    return sign * found.difference / margin, ends_scaled[0], ends_scaled[1]


def reach_of(rows: Sequence[Judgement]) -> float:
    """Margins at the right end of the axis: all intervals fit where no row is far wider than the median one."""
    widths = sorted(max(abs(value) for value in scaled(one) if math.isfinite(value)) for one in rows)
    usual = widths[len(widths) // 2]
    return min(MOST_MARGINS, max(2.0, min(widths[-1], 4 * usual) * 1.05))


def _x(value: float, reach: float) -> float:
    return LABELS + PLOT * (min(max(value, -reach), reach) + reach) / (2 * reach)


def _row(one: Judgement, y: float, reach: float, *, several: bool) -> list[str]:
    middle, low, high = scaled(one)
    name = one.planned.name if several else one.claim.name
    x, left, right = (_x(value, reach) for value in (middle, low, high))
    kind = one.outcome.replace(" ", "-")
    verdict = one.verdict
    assert verdict is not None
    title = f"{one.claim.sentence} {signed(one.claim.metric, verdict.difference)}, {interval_text(one)}"
    parts = [
        f'<g class="{kind}"><title>{escape(title)}</title>',
        f'<text class="label" x="{LABELS - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(_short(name))}</text>',
        f'<line class="bar" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
    ]
    for end, value in ((left, low), (right, high)):
        if abs(value) > reach:  # it goes on beyond the axis
            tip = 6 if value > 0 else -6
            parts.append(
                f'<path class="tip" d="M {end - tip:.1f} {y - 4:.1f} L {end:.1f} {y:.1f} L {end - tip:.1f} {y + 4:.1f}"/>'
            )
        else:
            parts.append(f'<line class="bar" x1="{end:.1f}" x2="{end:.1f}" y1="{y - 4:.1f}" y2="{y + 4:.1f}"/>')
    if abs(middle) <= reach:
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>')
    parts.append(f'<text class="word" x="{LABELS + PLOT + 12}" y="{y + 4:.1f}">{escape(one.text)}</text></g>')
    return parts


def _short(name: str) -> str:
    return name if len(name) <= 23 else f"{name[:22]}…"


def _tick(value: float) -> str:
    return f"{value:+g}" if value else "0"


def _ticks(reach: float) -> list[float]:
    step = 10 ** math.floor(math.log10(reach))
    step = next(size for size in (step / 5, step / 2, step, 2 * step, 5 * step) if reach / size <= 4)
    count = int(reach / step)
    return [step * place for place in range(-count, count + 1)]
