"""Which executor a run was given to: a file in the run's folder, as the journal has one writer and a submitted run none yet.

A folder without the file is of the local executor, as are all folders of earlier versions.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from store.atomic_write import atomic_write
from store.process_state import LOCAL, Handle
from store.regular_file import read_regular

FILE = "executor.json"
SUBMITTED = "SRACL_SUBMITTED"
"""Environment variable with the id of the run that an executor was given, in the process that executes it."""


def read_handle(folder: Path) -> Handle:
    """The handle of a run by its folder; a file that cannot be read counts as none."""
    try:
        values = json.loads(read_regular(folder / FILE))
        return Handle(
            run_id=folder.name,
            executor=str(values["executor"]),
            id=None if values["handle"] is None else str(values["handle"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Handle(run_id=folder.name)


def write_handle(folder: Path, handle: Handle) -> None:
    """Record who executes the run of a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    if handle.executor == LOCAL:
        (folder / FILE).unlink(missing_ok=True)
        return
    with atomic_write(folder / FILE) as temporary:
        temporary.write_text(json.dumps({"executor": handle.executor, "handle": handle.id}), "utf-8")


def executing_handle(folder: Path, own_id: str) -> Handle:
    """The handle of the run that this process executes; a run that no executor was given is one of this machine from now on.

    Args:
        own_id: what the local executor calls this process.

    Raises:
        OSError: the folder cannot be written.
    """
    given = read_handle(folder) if os.environ.get(SUBMITTED) == folder.name else Handle(run_id=folder.name)
    if given.executor != LOCAL:
        return given
    handle = Handle(run_id=folder.name, id=own_id)
    write_handle(folder, handle)
    return handle
