"""The keys of a screen or dialog: its own first, then those that work everywhere, those of tables last."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen

from sracl_tui.tui.bindings import NamedBindings
from sracl_tui.tui.widgets.dialogs import HelpDialog, HelpKey

LATER = {"app": "Everywhere", "table": "In a table"}
"""Headings of the keys that many screens share, in order."""


def help_of(screen: Screen[Any]) -> HelpDialog:
    """The dialog for a screen, with the reason why a key does nothing now."""
    name, about = getattr(screen, "NAME", ""), getattr(screen, "ABOUT", "")
    reason = getattr(screen, "disabled_reason", lambda action: "")
    groups: dict[str, dict[str, HelpKey]] = {"": {}, **{heading: {} for heading in LATER.values()}}
    for node, binding, enabled, _ in screen.active_bindings.values():
        if not binding.description or binding.system or not binding.id or not isinstance(node, NamedBindings):
            continue
        group = groups[LATER.get(binding.id.partition(".")[0], "")]
        keys = screen.app.get_key_display(binding)
        why = "" if enabled or node is not screen else reason(binding.action.partition("(")[0])
        known = group.get(binding.id)
        every = dict.fromkeys(
            [*(known.keys.split() if known else ()), keys]
        )  # a terminal may send one key by two names
        group[binding.id] = HelpKey(" ".join(every), binding.description, why)
    shown = {heading or f"On {name or 'this dialog'}": list(keys.values()) for heading, keys in groups.items() if keys}
    return HelpDialog(f"{name}: keys" if name else "Keys", about, shown)
