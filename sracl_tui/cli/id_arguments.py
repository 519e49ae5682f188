"""Arguments that are ids of a source: one that begins with a dash is no option."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_SHORT = re.compile(r"-[^-\s].*", re.DOTALL)


class WithIds(TyperCommand):
    """A command whose words that begin with one dash, and are no option of it, are ids: `-1xuC5` is read as `id:-1xuC5`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of a command line."""
        known = {name for option in self.params for name in (*option.opts, *option.secondary_opts)}
        known |= set(ctx.help_option_names)
        words = list(args)
        for place, word in enumerate(words):
            if word == "--":
                break
            if _SHORT.fullmatch(word) and word[:2] not in known:
                words[place] = f"id:{word}"
        return super().parse_args(ctx, words)
