"""Importing a dataset, for the command and for the screen: options in words, the import itself, and one in a process of its own.

A large source takes a while and a lot of memory, and reading it holds Python's lock; so the screen imports in a child, which
reports its steps as JSON lines and can be stopped at any moment: a dataset is stored whole or not at all.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.data.readers import endings
from engine.errors import ConfigError, DataError, EngineError, ScratchFull
from engine.events import Event, Report, StageProgress, ignore
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.untrusted_text import check_name

if TYPE_CHECKING:
    from engine.data.dataset import Dataset
    from engine.data.importing import ImportOptions, ImportReport


@dataclass(frozen=True)
class Field:
    """An option of an import, for a form and for the command."""

    key: str
    """The option's name in the engine; `name` is the dataset's own."""
    help: str
    choices: tuple[str, ...] = ()
    least: int | None = None
    """For numbers: the smallest one."""
    none: bool = False
    """Whether it may be none."""
    real: bool = False
    """For numbers: whether any number will do."""
    several: bool = False
    """Whether it holds several values: on the command line the option is repeated, in a form they stand between semicolons."""

    @property
    def flag(self) -> str:
        """The option's name on the command line."""
        return "--" + self.key.replace("_", "-")


FIELDS = (
    Field("name", "Name of the data set."),
    Field("k_core", "k-core: minimum interactions of every user and item, applied repeatedly.", least=0),
    Field("min_length", "Minimum interactions of a user, applied once.", least=0),
    Field("max_length", "Keep a user's newest interactions.", least=1, none=True),
    Field("duplicates", "Repeated interactions of a user with an item.", ("keep", "first", "last")),
    Field("ties", "Order of a user's interactions at the same time.", ("source", "item", "random")),
    Field("tie_seed", "Seed of --ties random.", least=0),
    Field("user_column", "Column of the users, for tables.", none=True),
    Field("item_column", "Column of the items.", none=True),
    Field("time_column", "Column of the times.", none=True),
    Field("title_column", "Column of the items' titles.", none=True),
    Field("items", "File with the items' texts, for tables.", none=True),
    Field("only", "Only rows with COLUMN=VALUE; repeatable: values of one column are alternatives.", several=True),
    Field("min_rating", "Lowest rating that counts as an interaction.", none=True, real=True),
    Field(
        "bad_rows",
        "Bad rows, such as those without a time: refuse the source, or drop and count them.",
        ("refuse", "drop"),
    ),
    Field("time_format", "Form of the times, such as %d/%m/%Y %H:%M; or s, ms, us, ns for Unix times.", none=True),
    Field("delimiter", "Character between the cells of a text table, or tab.", none=True),
    Field("format", "Format of the file, if it is not recognized.", none=True),
)
ROWS = 5
"""Rows that are shown as they were read."""
BY_KEY = {field.key: field for field in FIELDS}
_KINDS: dict[str, type[DataError] | type[StoreError]] = {
    "LookupFailed": LookupFailed,
    "StoreError": StoreError,
    "DataError": DataError,
}
_FLAG = re.compile(r"--([a-z]+(?:-[a-z]+)*)")
_ODD = re.compile(r"[^\w.-]+")


def parse(key: str, text: str) -> Any:
    """What a person typed for a field.

    Raises:
        ConfigError: it cannot be that.
    """
    field, text = BY_KEY[key], text if key == "delimiter" and text.isspace() else text.strip()
    if field.several:
        return tuple(part.strip() for part in text.split(";") if part.strip())
    if field.real and text.lower() not in ("", "none"):
        return _real(key, text)
    if field.none and text.lower() in ("", "none"):
        return None
    if not text:
        raise ConfigError("is empty", where=key)
    if field.choices and text not in field.choices:
        raise ConfigError(f"must be one of {', '.join(field.choices)}, not {text!r}", where=key)
    if field.least is None:
        return Path(text).expanduser() if key == "items" else text
    if not text.isascii() or not text.isdigit() or int(text) < field.least:
        raise ConfigError(f"must be a whole number of at least {field.least}, not {text!r}", where=key)
    return int(text)


def _real(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"must be a number, not {text!r}", where=key)
    return value


def text_of(key: str, value: Any) -> str:
    """A value as it is typed for `parse`."""
    return "" if value is None else "; ".join(value) if BY_KEY[key].several else str(value)


def place_of(error: EngineError | StoreError) -> str | None:
    """The field that an error is about; none where it is about the source."""
    if isinstance(error, LookupFailed):
        return "name"
    for text in (error.where, error.message, error.hint):
        for flag in _FLAG.findall(text or ""):
            if (key := flag.replace("-", "_")) in BY_KEY:
                return key
    return None


def name_for(path: Path, taken: set[str]) -> str:
    """A name after the file or folder, that no dataset has yet."""
    stem = re.sub(r"\.gz$", "", path.name, flags=re.IGNORECASE)
    ending = Path(stem).suffix
    stem = stem.removesuffix(ending) if ending.lower() in endings() else stem
    name = _ODD.sub("-", stem).strip("-.") or "data"
    numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, len(taken) + 2))
    return next(one for one in numbered if one not in taken)


def command_of(path: Path, name: str, options: ImportOptions) -> str:
    """The command line that makes the same import."""
    words = ["sracl", "data", "import", str(path), "--name", name]
    standard = type(options)()
    for field in FIELDS[1:]:
        value = getattr(options, field.key)
        if value != getattr(standard, field.key):
            for one in value if field.several else (value,):
                words += [field.flag, str(one)]
    return shlex.join(words)


def import_into(
    home: Home | None, path: Path, *, name: str, options: ImportOptions, report: Report = ignore
) -> tuple[Dataset, ImportReport]:
    """Read a dataset into the store: all of it or, by an error, nothing.

    Args:
        home: none reads it only, to see what would be kept.

    Raises:
        DataError: what is wrong with a file or an option, and where.
        StoreError: the name is taken, the same content is there, or the store cannot be written.
    """
    from engine.data.importing import STAGE, STEPS, Teller, import_dataset

    check_name("the name", name)
    try:
        dataset, text = import_dataset(
            path, name=name, options=options, report=report, scratch=lambda: _scratch_of(home)
        )
    except ScratchFull as error:
        raise StoreError(error.message, where=error.where, hint=error.hint) from None
    if home is not None:
        from engine.data.scratch import give_back
        from sracl_tui.runs.dataset_access import to_record
        from store.queries import datasets

        report(StageProgress(stage=STAGE, done=STEPS - 1, total=STEPS, detail="storing"))
        teller = Teller(report, STEPS - 1)

        def told(detail: str) -> None:
            give_back(dataset.sequence, dataset.timestamps, dataset.microseconds)
            teller(detail)

        datasets.add(home, to_record(dataset, text), told=told)
    return dataset, text


def _scratch_of(home: Home | None) -> Path | None:
    """Folder for what an import cannot hold in memory: that of the home, whose database needs as much room."""
    if home is None:
        return None
    home.create()
    return home.cache


def first_rows(dataset: Dataset, count: int) -> list[dict[str, str | None]]:
    """The first interactions as they were read: user, item, time in UTC, title; None for a time that nobody knows."""
    from datetime import UTC, datetime, timedelta

    rows: list[dict[str, str | None]] = []
    lengths = dataset.offsets[1:] - dataset.offsets[:-1]
    owners = [user for user, length in enumerate(lengths[:count].tolist()) for _ in range(length)]
    for place, user in enumerate(owners[:count]):
        item, time = int(dataset.sequence[place]) - 1, None
        if dataset.timestamps is not None:
            beyond = 0 if dataset.microseconds is None else int(dataset.microseconds[place])
            moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(
                seconds=int(dataset.timestamps[place]), microseconds=beyond
            )
            time = moment.replace(tzinfo=None).isoformat(" ")
        title = dataset.items.titles[item]
        rows.append(
            {"user": dataset.user_raw_ids[user], "item": dataset.items.raw_ids[item], "time": time, "title": title}
        )
    return rows


@dataclass(frozen=True)
class Step:
    """Progress of an import."""

    done: int
    total: int
    detail: str


@dataclass(frozen=True)
class Imported:
    """Counts of an import that was stored or, without a home, of what would be stored."""

    dataset_id: str
    name: str
    users: int
    items: int
    interactions: int
    tied: int
    with_text: int
    rows_read: int
    dropped: dict[str, int]
    warnings: list[str]
    seconds: float
    first: list[dict[str, str | None]]
    """The first interactions as they were read, see `first_rows`."""


class ImportProcess:
    """An import in a process of its own. `messages` blocks: iterate over it in a worker."""

    def __init__(self, home: Home | None, path: Path, name: str, options: ImportOptions) -> None:
        values = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()}
        self._request = {"home": str(home.path) if home else None, "path": str(path), "name": name, "options": values}
        self._process: subprocess.Popen[str] | None = None
        self.canceled = False

    def messages(self) -> Iterator[Step | Imported]:
        """Start the process; yields its steps and, at last, the counts. A canceled import yields nothing more.

        Raises:
            DataError: what is wrong with a file or an option, and where.
            StoreError: it cannot be stored.
            OSError: the process cannot be started.
        """
        command = [sys.executable, "-P", "-m", "sracl_tui.services.dataset_import"]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        ) as process:
            self._process = process
            if self.canceled:
                process.kill()
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(self._request))
                process.stdin.close()
            ended = False
            for line in process.stdout:
                message = json.loads(line)
                ended = "step" not in message
                yield _read(message)
            trouble = process.stderr.read()
        if not ended and not self.canceled:
            last = (trouble.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise DataError(f"the import ended early: {last}", where=self._request["path"])

    def cancel(self) -> None:
        """Ask the process to end; what it has not stored is dropped."""
        self.canceled = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def kill(self) -> None:
        """End a process that does not react to `cancel`, such as during a long library call."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()


def _read(message: dict[str, Any]) -> Step | Imported:
    if "step" in message:
        return Step(**message["step"])
    if "imported" in message:
        return Imported(**message["imported"])
    error = message["error"]
    raise _KINDS[error["kind"]](error["message"], where=error["where"], hint=error["hint"])


def main() -> None:
    """The child: a request on stdin, JSON lines on stdout."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # an exit in good order leaves no half copy of the database
    from engine.data.importing import ImportOptions

    request = json.load(sys.stdin)
    items, only = request["options"]["items"], tuple(request["options"]["only"])
    options = request["options"] | {"items": Path(items) if items else None, "only": only}
    home = Home(Path(request["home"])) if request["home"] else None
    try:
        dataset, text = import_into(
            home, Path(request["path"]), name=request["name"], options=ImportOptions(**options), report=_report
        )
    except (EngineError, StoreError) as error:
        kind = next((name for name, kind in _KINDS.items() if isinstance(error, kind)), "DataError")
        _write_line({"error": {"kind": kind, "message": error.message, "where": error.where, "hint": error.hint}})
        return
    kept = Imported(
        dataset_id=dataset.dataset_id,
        name=dataset.name,
        users=dataset.users,
        items=len(dataset.items),
        interactions=len(dataset.sequence),
        tied=int(dataset.tied.sum()),
        with_text=sum(map(bool, dataset.items.each_text())),
        rows_read=text.rows_read,
        dropped=text.dropped,
        warnings=text.warnings,
        seconds=text.seconds,
        first=first_rows(dataset, ROWS),
    )
    _write_line({"imported": asdict(kept)})


def _report(event: Event) -> None:
    if isinstance(event, StageProgress):
        _write_line({"step": {"done": event.done, "total": event.total, "detail": event.detail}})


def _write_line(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
