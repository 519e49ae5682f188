"""What is asked of a run, kept as `request.json` in its folder before anything heavy is imported."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.config import Config
from engine.errors import ConfigError
from store.atomic_write import atomic_write

FILE = "request.json"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """One run: its settings and the words that a person gave it."""

    run_id: str
    config: Config
    kind: str = "train"
    preset: str = "default"
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    note: str = ""
    job: dict[str, Any] = field(default_factory=dict)
    """What a run of another kind than `train` works on, beside the settings."""

    def created(self) -> dict[str, Any]:
        """Fields of the journal's `run_created`."""
        return {
            "run_id": self.run_id,
            "kind": self.kind,
            "name": self.name or self.run_id,
            "preset": self.preset,
            "group_name": self.group,
            "config": self.config.model_dump(mode="json"),
            "config_hash": self.config.config_hash(),
            "seed": self.config.train.seed,
            "tags": list(self.tags),
            "note": self.note,
        }

    def write(self, folder: Path) -> None:
        """Keep the request in the run's folder."""
        values = {name: value for name, value in asdict(self).items() if name != "config"}
        text = json.dumps(values | {"config": self.config.model_dump(mode="json")}, indent=1)
        with atomic_write(folder / FILE) as temporary:
            temporary.write_text(text, "utf-8")

    @classmethod
    def read(cls, folder: Path) -> RunRequest:
        """The request that made a run's folder.

        Raises:
            ConfigError: there is none, or it cannot be read.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text("utf-8"))
            return cls(**values | {"config": Config.model_validate(values["config"]), "tags": tuple(values["tags"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ConfigError(f"this run cannot be read back: {error}", where=str(path)) from None


def new_run_id() -> str:
    """A run id that sorts by time: date, time (UTC) and four random hex digits."""
    return time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2)
