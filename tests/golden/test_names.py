"""Names that others rely on: scripts, config files, key maps, queries, stored runs and journals.

Each test holds one kind of name against a file in `names/`, one name a line. A change that is meant is written down with

    SRACL_UPDATE_GOLDEN=1 python -m pytest tests/golden/test_names.py

and shows in the difference of the file.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from safetensors import safe_open
from typer.main import get_command

from engine import errors as engine_errors
from engine import events
from engine.config import Config
from engine.config_files import build_config, load_config, preset_names
from engine.setting_paths import setting_fields
from sracl_tui.__main__ import cli as tui
from sracl_tui.cli.main import app
from sracl_tui.cli.options_and_output import exit_code
from sracl_tui.tui import app as _app  # its bindings are among the keys  # noqa: F401
from sracl_tui.tui import keymap
from store import errors as store_errors
from store.database.schema import schema_page
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queries.findings import list_findings, restore
from tests.support.commands import ROOT

SETTINGS = ("max_users=20", "encoder=tfidf", "width=8", "inner=8", "layers=1", "epochs=1", "threads=1")
SMALL = ("--dataset", "goods", "--headless", *(word for setting in SETTINGS for word in ("--set", setting)))
Golden = Callable[[str, list[str]], None]
Sracl = Callable[..., str]


def test_commands_and_flags(golden: Golden) -> None:
    lines = [*_commands("sracl", get_command(app)), *_commands("sracl-tui", get_command(tui))]
    golden("commands", lines)


def _commands(path: str, command: Any) -> Iterator[str]:
    """A line for a command and for each of its parameters, and those of the commands under it."""
    yield path
    for parameter in command.params:
        names = "|".join([*parameter.opts, *parameter.secondary_opts])
        kind = "flag" if getattr(parameter, "is_flag", False) else _type(parameter.type_descriptor.annotation)
        yield f"{path} {names}: {parameter.param_type_name} {kind}{' required' if parameter.required else ''}"
    if hasattr(command, "list_commands"):
        for name in command.list_commands(None):
            yield from _commands(f"{path} {name}", command.get_command(None, name))


def test_settings(golden: Golden) -> None:
    golden(
        "settings",
        [f"{path}: {_type(field.annotation)} = {field.default!r}" for path, field in setting_fields().items()],
    )


def test_presets(golden: Golden) -> None:
    default = Config()
    lines = []
    for name in preset_names():
        changed = load_config(preset=name)[0].differences(default)
        lines += [name, *(f"{name}: {path} = {ours!r}" for path, (_, ours) in changed.items())]
    golden("presets", lines)


VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"seed": 7, "device": "cpu", "threads": 1, "budget": 1.0},
    {"backbone": "gru4rec"},
    {"backbone": "gru4rec", "mask": 0.5},
    {"backbone": "bert4rec"},
    {"backbone": "bert4rec", "mask": 0.5},
    {"mask": 0.5},
    {"alpha": 0.0},
    {"alpha": 0.0, "beta": 0.0},
    {"alpha": 0.0, "beta": 0.0, "k": 3, "drop_titles": 0.5, "swap_titles": True, "temperature": 0.5},
    {"drop_titles": 0.5, "swap_titles": True},
    {"mode": "sequence"},
    {"precision": "bfloat16"},
    {"mode": "sequence", "precision": "bfloat16", "alpha": 0.0, "beta": 0.0, "backbone": "bert4rec"},
    {"unit": "user", "pool": "users"},
    {"unit": "every-4", "ks": [5, 10], "max_users": 40},
    {"provider": "deepseek", "llm": "m", "encoder": "openai:text-embedding-3-small"},
    {"method": "plain", "parts.rec.loss": "ss"},
    {"backbone": "bsarec", "filter_mix": 0.7, "filter_bands": 5},
    {"backbone": "ligr", "mode": "sequence", "parts.rec.loss": "ss"},
    {"parts.rec.loss": "gbce", "gbce_t": 0.5, "negatives": 9},
    {"method": "plain", "backbone": "dual", "encoder": "tfidf", "k": 3},
    {"method": "llm-esr", "pool": "users"},
    {"parts.rec.chunk": 4096},
    {"parts.rec.loss": "ss-logq", "negatives": 64, "sparse_adam": True},
    {"method": "alpharec", "loss_negatives": 9, "loss_temperature": 0.2},
)
"""Settings of which each takes another branch of `Config.config_hash`."""


def test_config_hashes(golden: Golden) -> None:
    lines = [f"preset {name}: {load_config(preset=name)[0].config_hash()}" for name in preset_names()]
    lines += [f"{json.dumps(settings)}: {build_config(settings).config_hash()}" for settings in VARIANTS]
    golden("config_hashes", lines)


def test_keys(golden: Golden) -> None:
    golden("keys", [f"{name} = {pressed}" for name, (pressed, _) in keymap.bindings().items()])


def test_exit_codes(golden: Golden) -> None:
    lines = []
    for module in (engine_errors, store_errors):
        for name, cls in vars(module).items():
            if isinstance(cls, type) and issubclass(cls, Exception):
                lines.append(f"{name}: {exit_code(cls.__new__(cls))}")
    golden("exit_codes", lines)


def test_events_of_the_engine(golden: Golden) -> None:
    lines, waiting = [], [events.Event]
    while waiting:
        cls = waiting.pop()
        waiting += [sub for sub in cls.__subclasses__() if sub.__module__ == cls.__module__]
        if "name" in vars(cls):
            hints = get_type_hints(cls)
            lines.append(cls.name)
            lines += [f"{cls.name}.{f.name}: {_type(hints[f.name])}" for f in fields(cls) if f.name != "columns"]
            lines += [f"{cls.name} table"] * issubclass(cls, events.Tabular)
    golden("engine_events", lines)


def _type(hint: Any) -> str:
    """A type without the modules of its parts."""
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    return re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", text)


SELDOM = ("stopping", "api_called", "step_finished", "heartbeat", "warned", "stage_progress")
"""Events that only some runs have, or slow ones; fields of those of the engine are in `engine_events`."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, sracl: Sracl) -> Path:
    """A home with an SRA-CL run of the older backbones and a plain one of the others and of sasrec, made by the code of now."""
    home = tmp_path_factory.mktemp("fresh")
    for backbone in ("sasrec", "gru4rec", "bert4rec"):
        words = (*SMALL, "--set", f"backbone={backbone}", "--run-id", f"{backbone}-sracl", "--tag", "first")
        sracl(home, "run", *words)
    sracl(home, "run", *SMALL, "--run-id", "sasrec-plain", "--preset", "backbone")
    for backbone in ("bsarec", "ligr", "dual", "alpharec"):
        words = ("--preset", "backbone", "--set", f"backbone={backbone}", "--run-id", f"{backbone}-plain")
        sracl(home, "run", *SMALL, *words)
    sracl(home, "tag", "sasrec-sracl", "more")
    sracl(home, "note", "sasrec-sracl", "a note")
    sracl(home, "rename", "sasrec-sracl", "a name")
    sracl(home, "findings", "add", "a finding", "--run", "sasrec-sracl", "--user", "7")
    for words in (("note", "last", "another note"), ("remove", "last")):
        sracl(home, "findings", *words)
    with open_store(Home(home)) as store:
        restore(Home(home), [one["finding_id"] for one in list_findings(store, removed=True)])
    return home


def test_events_and_fields_of_journals(golden: Golden, fresh: Path, recorded_home: Path) -> None:
    """Of the runs of now, which have at least those that older code wrote."""
    found, before = (
        {event: told for event, told in _fields(home).items() if event not in SELDOM} for home in (fresh, recorded_home)
    )
    golden("journal_events", [line for event in found for line in (event, *(f"{event}.{f}" for f in found[event]))])
    assert {event: gone for event in before if (gone := before[event] - found.get(event, set()))} == {}


def _fields(home: Path) -> dict[str, set[str]]:
    """Payload fields of every event in a home's journals, and the columns of its table."""
    import pyarrow.parquet as pq

    found: dict[str, set[str]] = defaultdict(set)
    for folder in [*sorted((home / "runs").iterdir()), home / "edits"]:
        for _, line in read_events(folder):
            found[line.event] |= {name for name in line.fields if name != "columns"}
            columns = pq.read_schema(line.table).names if line.table else line.fields.get("columns", ())
            found[line.event] |= {f"columns.{column}" for column in columns}
    return dict(found)


def test_tensors_of_checkpoints(golden: Golden, fresh: Path) -> None:
    lines = []
    for folder in sorted((fresh / "runs").iterdir()):
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                lines += [f"{folder.name} {path.name} metadata {name}" for name in metadata]
                lines += [f"{folder.name} {path.name} state {name}" for name in json.loads(metadata["state"])]
                for name in file.keys():  # noqa: SIM118
                    part = file.get_slice(name)
                    lines.append(f"{folder.name} {path.name} {name}: {part.get_dtype()} {part.get_shape()}")
    golden("tensors", lines)


def test_tables_and_views(golden: Golden, tmp_path: Path) -> None:
    with open_store(Home(tmp_path / "home")) as store:
        columns = store.rows(
            "SELECT database_name AS file, table_name AS relation, column_name AS name, data_type AS kind, column_index AS place "
            "FROM duckdb_columns() WHERE NOT internal"
        )
        views = {row["name"] for row in store.rows("SELECT view_name AS name FROM duckdb_views() WHERE NOT internal")}
    lines = []
    for row in columns:
        kind = "view" if row["relation"] in views else "table"
        file = "vectors" if row["file"] == "vectors" else "main"
        lines.append(f"{file} {kind} {row['relation']} {row['place']:02d} {row['name']}: {row['kind']}")
    golden("tables", lines)


def test_the_page_about_tables_is_what_the_migrations_make() -> None:
    assert (ROOT / "docs" / "schema.md").read_text("utf-8") == schema_page(), "run `make docs`"
