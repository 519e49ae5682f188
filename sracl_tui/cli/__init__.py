"""The `sracl` command. Heavy imports stay inside the commands."""

from __future__ import annotations

from sracl_tui.cli.main import app, main

__all__ = ["app", "main"]
