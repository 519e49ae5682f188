"""An estimate of LLM costs as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


def kind_line(part: dict[str, Any]) -> str:
    """One kind of prompts in a dry run."""
    from sracl_tui.runs.stages.cost_estimate import cost_line

    sent = f", {part['in_batches']:,} in batches" if part.get("in_batches") else ""
    return (
        f"{part['to_write']:,} to ask of {part['prompts']:,} ({part['cached']:,} cached, {part['identical']:,} identical{sent}), "
        f"about {part['tokens']:,} tokens, {cost_line(part['usd'])}, {part['minutes']:.1f} minutes ({part['basis']})"
    )


def vectors_line(part: dict[str, Any]) -> str:
    """What encoding by an endpoint takes, in a dry run."""
    from sracl_tui.runs.stages.cost_estimate import cost_line

    return (
        f"{part['to_encode']:,} to encode of {part['texts']:,} texts ({part['cached']:,} cached), about {part['tokens']:,} "
        f"tokens, {cost_line(part['usd'])}, {part['minutes']:.1f} minutes ({part['basis']})"
    )
