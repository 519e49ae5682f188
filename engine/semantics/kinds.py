"""The kinds of summaries, and the length of their cache keys."""

from __future__ import annotations

from typing import Literal

Kind = Literal["user", "item"]
"""`user`: of an anchor's prefix; `item`: of an item."""
KEY_LENGTH = 32
"""Hex digits of a summary's key."""
