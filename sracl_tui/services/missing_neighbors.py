"""Why a run has no neighbors of users, or no substitutes of items, in a sentence. Loads no method of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.method_table import METHODS, name_of

_CONTRASTS = {"inter": ("inter-user", "alpha"), "intra": ("intra-user", "beta")}


def why_none(config: Mapping[str, Any], part: str, *, without: str, found: bool) -> str:
    """A sentence where the part `inter` or `intra` of a run is off or not in its method; empty where it is on.

    Args:
        config: the run's settings as they are stored; runs of earlier versions name no method, which means SRA-CL.
        without: what the run does not do, such as `weighs no neighbors`.
        found: whether it has neighbors all the same, as a method of one's own may.
    """
    contrast, weight = _CONTRASTS[part]
    method = config.get("method") or {}
    name, combined = method.get("name", "sracl"), method.get("parts")
    called = f"The method {name}" if combined is None else f"The combination {' + '.join(combined)}"
    if combined is None and name in METHODS.ours:
        combined = [name_of(part) for part in METHODS.load(name).all_parts]
    if combined is None or part not in combined:
        return "" if found else f"{called} {without}."
    return (
        f"This run has no {contrast} contrast ({weight} = 0): it {without}."
        if config.get("loss", {}).get(weight) == 0
        else ""
    )
