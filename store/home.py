"""The home: one folder with the two databases, the runs, the caches and the journal of edits."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from store.errors import LookupFailed, StoreError
from store.process_state import Handle, ProcessState, Unknown

VARIABLE = "SRACL_HOME"
"""The environment variable that names the home."""
TRASH = "trash"
"""Name of the folder in the home with the folders of removed runs."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_DEVICE = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)
"""Names that no folder can have on Windows, with or without an extension: a home may be copied there."""


def _no_executors(handle: Handle) -> ProcessState:
    return Unknown()


def _default() -> Path:
    """The home that the environment names, else the platform's; raises RuntimeError for a user without a folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_data_dir("sracl", appauthor=False))


@dataclass(frozen=True)
class Home:
    """The paths of one home; none of them has to exist yet."""

    path: Path
    ask_executor: Callable[[Handle], ProcessState] = field(default=_no_executors, compare=False, repr=False)
    """What an executor other than the local one says about a run. The store knows no executor; who opens the home may pass
    this in, and without it the heartbeats of such runs decide."""
    publishes: bool = field(default=True, compare=False)
    """Whether this process writes the databases. A run on a node of a cluster does not: another process takes its journal in."""

    @classmethod
    def resolve(cls, path: Path | None = None) -> Home:
        """The home at `path`, else at $SRACL_HOME, else in the platform's folder for user data.

        Raises:
            StoreError: the user has no home folder, as in a container, or the path is one that the databases cannot open.
        """
        hint = f"Name another folder with --home or {VARIABLE}."
        try:
            path = (_default() if path is None else path).expanduser().absolute()
        except (RuntimeError, OSError) as error:
            raise StoreError(f"no folder for the home is known: {error}", where="HOME", hint=hint) from None
        name = os.fsencode(path).decode("utf-8", "replace")
        if name != str(path) or "?" in name or ("\\" in name and os.sep != "\\"):
            problem = (
                "a home's path must be UTF-8, without question marks and backslashes: no database can be opened by it"
            )
            raise StoreError(problem, where=name, hint=hint)
        return cls(path)

    def create(self) -> None:
        """Make the folders that are missing, and in a new home the mark that it has no database yet. Its owner alone can enter a new home.

        Raises:
            StoreError: the folder cannot be written.
        """
        try:
            new = not (self.runs.exists() or (self.path / "backups").exists() or any(self.path.glob("*.duckdb")))
            if not self.path.exists():
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=0o700, exist_ok=True)
            for folder in (self.path, self.runs, self.cache, self.edits):
                folder.mkdir(parents=True, exist_ok=True)
            if new:
                self.unborn.touch()
        except OSError as error:
            raise StoreError(
                f"this home cannot be made: {error.strerror}",
                where=str(self.path),
                hint=f"Name another folder with --home or {VARIABLE}.",
            ) from None

    @property
    def database(self) -> Path:
        return self.path / "sracl.duckdb"

    @property
    def vectors(self) -> Path:
        return self.path / "vectors.duckdb"

    @property
    def unborn(self) -> Path:
        """A file in a home whose first publish has not ended: without it, a database that is not there was lost."""
        return self.path / ".unborn"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def trash(self) -> Path:
        """Folders of removed runs, until the trash is emptied."""
        return self.path / TRASH

    @property
    def cache(self) -> Path:
        return self.path / "cache"

    @property
    def edits(self) -> Path:
        """Folder of the journal of no run: tags, notes and names that people edit, and calls outside runs."""
        return self.path / "edits"

    def run_folder(self, run_id: str) -> Path:
        """The folder of a run, which may not exist yet.

        Raises:
            LookupFailed: the id cannot be the name of a folder on every system.
        """
        if not _RUN_ID.fullmatch(run_id) or run_id.endswith(".") or _DEVICE.fullmatch(run_id.partition(".")[0]):
            raise LookupFailed(
                f"{run_id!r} cannot be a run id",
                hint="Use letters, digits, dots, hyphens and underscores; at most 100, and no name of a device.",
            )
        return self.runs / run_id

    def present_folder(self, run_id: str) -> Path:
        """The folder of a run whose id is known, where it lies: in the trash if the run was removed."""
        folder, removed = self.runs / run_id, self.trash / run_id
        return removed if removed.is_dir() and not folder.exists() else folder
