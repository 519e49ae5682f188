"""The table of data sets, whose letter `l` is free for the screen around it."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType

from sracl_tui.tui.widgets.table import Table


class DatasetTable(Table, inherit_bindings=False):
    """A table that scrolls sideways with the arrows alone: `l` opens the launch form."""

    SECTION = "datasets"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(binding for binding in Table.BINDINGS if isinstance(binding, Binding) and "slide" not in binding.action),
        Binding("left", "slide(-8)", "Scroll left", show=False),
        Binding("right", "slide(8)", "Scroll right", show=False),
    ]
