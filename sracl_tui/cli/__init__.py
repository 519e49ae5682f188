"""The `sracl` command. Heavy imports stay inside the commands."""

from __future__ import annotations

import sys

try:
    from sracl_tui.cli.main import app, main
except KeyboardInterrupt:  # ctrl+c in the first second: nothing has begun
    sys.stderr.write("interrupted\n")
    raise SystemExit(130) from None

__all__ = ["app", "main"]
