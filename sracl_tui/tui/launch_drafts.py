"""Drafts of the launch form: what was changed in it is kept, also over restarts, until the run is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.config_files import preset_names

MOST = 8
"""Drafts that are kept: of a new run, and of clones."""


@dataclass(frozen=True)
class LaunchDraft:
    """The form as it was left."""

    preset: str
    changes: dict[str, Any]
    labels: dict[str, str]


def restore(drafts: Mapping[str, Any], name: str) -> LaunchDraft | None:
    """The draft of a name, which is the run that is cloned or empty; none where there is none, or not a whole one."""
    found = drafts.get(name)
    if not isinstance(found, Mapping) or found.get("preset") not in preset_names():
        return None
    changes, labels = found.get("changes"), found.get("labels")
    if not isinstance(changes, Mapping) or not isinstance(labels, Mapping):
        return None
    return LaunchDraft(found["preset"], dict(changes), {key: str(text) for key, text in labels.items()})


def keep(drafts: dict[str, Any], name: str, draft: LaunchDraft) -> None:
    """Keep a draft as the newest one; one without changes and labels is dropped."""
    drafts.pop(name, None)
    if draft.changes or any(draft.labels.values()):
        drafts[name] = asdict(draft)
        for oldest in list(drafts)[:-MOST]:
            del drafts[oldest]
