"""One SVG that shows screenshots of the app one after another, by CSS alone, so that a page can show it as a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

_INNER = re.compile(r"<svg[^>]*>(.*)</svg>", re.DOTALL)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_LINES = re.compile(r'<clipPath id="[\w-]+-line-\d+">.*?</clipPath>\s*| clip-path="url\(#[\w-]+-line-\d+\)"', re.DOTALL)
_BLANKS = re.compile(r"\n\s*")


def animated(frames: Sequence[tuple[str, float]]) -> str:
    """The film of screenshots that Textual has exported, each with the seconds that it is shown; it begins again at its end.

    Where nothing moves (a viewer without animation, or whose user wants none) the first one stands.

    Raises:
        ValueError: there is no frame, or one is no SVG.
    """
    if not frames:
        raise ValueError("a film needs at least one frame")
    head = re.match(r"<svg[^>]*>", frames[0][0])
    if head is None:
        raise ValueError("a frame is no SVG")
    whole = sum(seconds for _, seconds in frames)
    rules = [
        f".f{{visibility:hidden;animation:{whole:g}s step-end infinite}}",
        ".f0{visibility:visible}",
        "@media (prefers-reduced-motion:reduce){.f{animation:none}}",
    ]
    groups, at = [], 0.0
    for number, (svg, seconds) in enumerate(frames):
        steps = {0.0: "hidden", 100 * at / whole: "visible", 100 * (at + seconds) / whole: "hidden"}
        steps.pop(100.0, None)  # the last one stands to the end
        if number == 0:
            steps[0.0] = "visible"
        moments = "".join(f"{moment:.3f}%{{visibility:{how}}}" for moment, how in steps.items())
        rules.append(f".f{number}{{animation-name:f{number}}}@keyframes f{number}{{{moments}}}")
        groups.append(f'<g class="f f{number}">{_inner(svg)}</g>')
        at += seconds
    fonts = "".join(_FONTS.findall(frames[0][0]))
    return f"{head[0]}<style>{_BLANKS.sub(' ', fonts)}{''.join(rules)}</style>{''.join(groups)}</svg>\n"


def _inner(svg: str) -> str:
    """What a screenshot draws, without its fonts, and without the clips of its lines, which are half of its size."""
    found = _INNER.search(svg)
    if found is None:
        raise ValueError("a frame is no SVG")
    return _BLANKS.sub("\n", _LINES.sub("", _FONTS.sub("", found[1])))
