"""The request of a run, saved as `request.json` in its folder before any heavy import."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from store.atomic_write import atomic_write
from store.home import Home
from store.regular_file import read_regular
from store.untrusted_text import check_name

FILE = "request.json"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run: its settings, name, group, tags and note."""

    run_id: str
    config: Config
    kind: str = "train"
    preset: str = "default"
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    job: dict[str, Any] = field(default_factory=dict)
    """Arguments of the job beyond the settings, for kinds other than `train`."""
    allow_degraded: bool = False
    """Whether it may train though its data has nothing of what its method learns from, such as texts."""

    @property
    def config_hash(self) -> str:
        """Equal for runs that differ in the seed alone; models trained elsewhere are told apart by their names."""
        own = self.config.config_hash()
        return (
            own
            if self.kind != "ranks"
            else hashlib.sha256(f"{own} {self.job['model']}".encode()).hexdigest()[: len(own)]
        )

    def created(self) -> dict[str, Any]:
        """Fields of the journal's `run_created`."""
        return {
            "run_id": self.run_id,
            "kind": self.kind,
            "name": self.name or self.run_id,
            "preset": self.preset,
            "group_name": self.group,
            "config": self.config.model_dump(mode="json"),
            "config_hash": self.config_hash,
            "seed": self.config.train.seed,
            "tags": list(self.tags),
            "note": self.note,
        }

    def check_words(self) -> None:
        """Refuse names, tags and notes that a terminal would obey; a run that has them already is read all the same.

        Raises:
            NameRefused: with the first one.
        """
        check_name("the name", self.name or "")
        check_name("the group", self.group or "")
        check_name("the note", self.note, lines=True)
        for tag in self.tags:
            check_name("the tag", tag)

    def write(self, folder: Path) -> None:
        """Save the request in the folder of the run, atomically."""
        values = {name: value for name, value in asdict(self).items() if name != "config"}
        text = json.dumps(values | {"config": self.config.model_dump(mode="json")}, indent=1)
        with atomic_write(folder / FILE) as temporary:
            temporary.write_text(text, "utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunRequest:
        """Load the request of a run from its folder.

        Raises:
            ConfigError: the file is missing or invalid.
        """
        path = folder / FILE
        try:
            data = read_regular(path)
        except OSError as error:
            raise _unreadable(error, str(path)) from None
        return cls.parse(data, where=str(path))

    @classmethod
    def parse(cls, data: bytes, *, where: str) -> RunRequest:
        """The request that the content of a file is.

        Args:
            where: the file, for the message.

        Raises:
            ConfigError: it is none.
        """
        try:
            values = json.loads(data)
            return cls(**values | {"config": Config.model_validate(values["config"]), "tags": tuple(values["tags"])})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise _unreadable(error, where) from None


def _unreadable(error: Exception, where: str) -> ConfigError:
    return ConfigError(f"the request of this run cannot be read: {error}", where=where)


def new_run_id() -> str:
    """A run id that sorts by time: date, time (UTC) and four random hex digits."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)


def check_new(home: Home, run_id: str) -> None:
    """Refuse the id of a run that there is, or that is in the trash.

    Raises:
        ConfigError: it is taken.
        LookupFailed: it cannot be an id.
    """
    if (home.run_folder(run_id) / FILE).exists():
        raise _taken(run_id)
    if (home.trash / run_id).exists():
        raise ConfigError(
            f"run {run_id!r} was removed and is in the trash",
            where="--run-id",
            hint=f"`sracl restore {run_id}` brings it back, `sracl remove --empty {run_id}` deletes it for good.",
        )


def _taken(run_id: str) -> ConfigError:
    return ConfigError(
        f"there is a run {run_id!r} already",
        where="--run-id",
        hint=f"Choose another id, or resume it: sracl run --resume {run_id}",
    )
