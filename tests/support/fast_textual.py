"""Makes apps without a terminal cheaper, for tests: nobody sees their frames, and all have the same styles.

It leans on private parts of Textual; `tests/tui/test_textual_internals.py` fails where a version lacks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual._compositor import Compositor
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet


@contextmanager
def fast_textual() -> Iterator[None]:
    """Draws widgets as always, but joins their lines for pictures only; parses a style sheet once for all apps."""
    with pytest.MonkeyPatch.context() as patch:
        _join_no_frames(patch)
        _share_styles(patch)
        yield


def _join_no_frames(patch: pytest.MonkeyPatch) -> None:
    def render_update(self: Compositor, full: bool = False, **options: Any) -> Any:
        if full:
            return render(self, full=True, **options)
        self._render_chops = lambda crop, is_rendered_line: [{} for _ in self._get_renders(crop)]
        try:
            return render(self, **options)
        finally:
            del self._render_chops

    render = Compositor.render_update
    patch.setattr(Compositor, "render_update", render_update)


def _share_styles(patch: pytest.MonkeyPatch) -> None:
    def parse_rules(self: Stylesheet, css: str, **options: Any) -> list[RuleSet]:
        key = (frozenset(self._variables.items()), css, *options.items())
        if key not in parsed:
            parsed[key] = parse(self, css, **options)
        return parsed[key]

    parse = Stylesheet._parse_rules
    parsed: dict[tuple[Any, ...], list[RuleSet]] = {}
    patch.setattr(Stylesheet, "_parse_rules", parse_rules)
