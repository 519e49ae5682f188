"""Nothing listens beyond loopback, and no name climbs out of the home."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.config_files import load_config
from engine.data.download import known
from engine.errors import ConfigError
from sracl_tui.cli.main import app
from sracl_tui.runs.execute import execute
from sracl_tui.runs.execution import queue
from sracl_tui.runs.execution.launch import launched_request
from sracl_tui.runs.request import RunRequest
from sracl_tui.services import local_llm
from sracl_tui.tui.app import SraclApp
from store.errors import LookupFailed
from store.home import Home
from store.opening import open_store
from store.queue import Queue
from tests.support.steady_pilot import drive

EVIL = [
    "../x", "../../etc/passwd", "/etc/passwd", "a/../../x", "..", ".", ".hidden", "a/b", "a\\b", "C:\\x", "nul\0byte", "\0",
    "line\nbreak", "x" * 101, "x" * 70_000, "", " ", "CON", "con", "aux.txt", "NUL", "LPT1.log", "com9", "trailing.", "~root",
    "$HOME", "-rf", "\u202egpj", "e\u0301", "\ud800",
]  # fmt: skip
NAMES = [
    "../x",
    "/etc/passwd",
    "x" * 500,
    "CON",
    "~root",
    "$HOME",
    "[red]x[/red]",
    "' OR 1=1 --",
    "\u05d9\u05e1 right to left",
]
"""Of data sets, groups and runs: they may be any text, and stand in no path."""
CONTROLLING = ["line\nbreak", "\u202egpj", "\x1b[31mred"]
"""Refused as names."""


@pytest.mark.parametrize("name", EVIL, ids=lambda name: repr(name)[:20])
def test_no_run_id_is_a_path(name: str) -> None:
    with pytest.raises(LookupFailed, match="cannot be a run id"):
        Home(Path("/home/of/runs")).run_folder(name)


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Home]:
    """A home in the middle of a tree in which nothing else may change."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    home = Home(tmp_path / "a" / "b" / "home")
    home.create()
    yield home
    assert {path.split("/")[0] for path in everything(tmp_path)} == {"a", "ratings.csv"}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["home"]


def sracl(home: Home, *words: str) -> Any:
    done = CliRunner().invoke(app, [*words, "--home", str(home.path)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "bug of sracl" not in done.stderr
    return done


def test_names_of_data_sets_groups_and_runs_stand_in_no_path(house: Home, tmp_path: Path) -> None:
    rows = "\n".join(f"u{user},i{item % 7},{100 + item}" for user in range(5) for item in range(user, user + 6))
    (tmp_path / "ratings.csv").write_text(f"user_id,item_id,timestamp\n{rows}\n")
    for number, name in enumerate(NAMES):
        (tmp_path / "ratings.csv").write_text(f"user_id,item_id,timestamp\n{rows.replace('u0', f'v{number}')}\n")
        done = sracl(house, "data", "import", str(tmp_path / "ratings.csv"), "--name", name)
        assert done.exit_code == 0, done.stderr
        config, preset = load_config(preset="backbone", settings={"dataset": name, "epochs": 1})
        request = RunRequest(run_id=f"run-{number}", config=config, preset=preset, name=name, group=name, tags=(name,))
        queue.enqueue(house, [request])
    for name in CONTROLLING:
        done = sracl(house, "data", "import", str(tmp_path / "ratings.csv"), "--name", name)
        assert done.exit_code == 2
        assert "controls a terminal or the order of a line" in done.stderr
        assert name not in done.stderr
    assert len(Queue(house).active()) == len(NAMES)
    assert sracl(house, "queue", "list").exit_code == 0
    with open_store(house) as store:
        assert {row["name"] for row in store.rows("SELECT name FROM datasets")} == set(NAMES)
        assert {row["group_name"] for row in store.rows("SELECT group_name FROM runs")} == set(NAMES)
    assert sorted(path.name for path in house.runs.iterdir()) == sorted(f"run-{number}" for number in range(len(NAMES)))
    assert sracl(house, "data", "remove", "../x", "--yes").exit_code == 0
    assert sracl(house, "run", "--run-id", "../../x", "--dataset", "demo", "--headless").exit_code == 2
    assert sracl(house, "show", "../../x").exit_code == 2
    assert sracl(house, "stop", "/etc/shadow").exit_code == 2
    assert sracl(house, "data", "fetch", "../../x").exit_code == 2


def test_a_name_with_a_zero_byte_is_refused_or_kept_whole(house: Home, tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text("")
    folder = house.run_folder("launched")
    folder.mkdir(parents=True)
    request = RunRequest(run_id="launched", config=load_config(settings={"dataset": "a\0b"})[0])
    request.write(folder)
    assert "\0" not in (folder / "request.json").read_text()
    assert launched_request(folder) == request
    done = sracl(house, "run", "--resume", "launched", "--headless")
    assert done.exit_code == 2
    assert "there is no dataset 'a\\x00b'" in done.stderr


@pytest.mark.parametrize(
    "text",
    [
        '["../../x"]\nfiles = [{url = "http://127.0.0.1/a.csv"}]',
        '["/x"]\nfiles = [{url = "http://127.0.0.1/a.csv"}]',
        '[x]\nfiles = [{url = "http://127.0.0.1/a/.."}]',
        '[x]\nfiles = [{url = "http://127.0.0.1/"}]',
    ],
)
def test_data_sets_of_ones_own_do_not_climb_out_either(text: str, tmp_path: Path) -> None:
    (tmp_path / "datasets.toml").write_text(text)
    with pytest.raises(ConfigError):
        known(tmp_path / "datasets.toml")


class Sockets:
    """Every address that this process binds to, told by the interpreter itself."""

    def __init__(self) -> None:
        self.bound: list[Any] = []
        self.on = True
        sys.addaudithook(self._hear)  # it stays for the life of the process, and hears nothing when off

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event == "socket.bind":
            self.bound.append(arguments[1])

    def beyond_loopback(self) -> list[Any]:
        return [to for to in self.bound if isinstance(to, tuple) and not ipaddress.ip_address(to[0]).is_loopback]


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    found = Sockets()
    yield found
    found.on = False


async def test_a_run_and_the_app_open_no_port(house: Home, tmp_path: Path, sockets: Sockets) -> None:
    (tmp_path / "ratings.csv").write_text("")
    small = {"dataset": "demo", "max_users": 30, "epochs": 1, "threads": 1}
    config, preset = load_config(preset="backbone", settings=small)
    assert execute(house, RunRequest(run_id="one", config=config, preset=preset)).state == "finished"
    made = SraclApp(house)
    async with drive(made, size=(80, 24)) as pilot:
        await pilot.quiet()
    assert sockets.bound == []


def test_the_server_of_the_local_model_is_on_loopback(monkeypatch, sockets: Sockets, tmp_path: Path) -> None:
    """Whatever xllamacpp does with it: what it is told. The real one is asked in tests/llm/test_local_model.py."""

    class Free:
        def __getattr__(self, name: str) -> Any:
            made = Free()
            setattr(self, name, made)
            return made

    told = Free()
    fake = type(sys)("xllamacpp")
    fake.CommonParams, fake.Server = lambda: told, lambda params: params  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "xllamacpp", fake)
    monkeypatch.setattr(local_llm, "wait_until_up", lambda url: None)
    _, url = local_llm.serve(tmp_path / "x.gguf", port=0, parallel=1, context=512)
    assert told.hostnames == ["127.0.0.1"]
    assert url.startswith("http://127.0.0.1:")
    assert sockets.bound == [("127.0.0.1", 0)]
    assert sockets.beyond_loopback() == []


def test_no_source_binds_to_every_address() -> None:
    root = Path(__file__).resolve().parents[1]
    for package in ("engine", "store", "sracl_tui", "tests", "benchmarks"):
        for path in (root / package).rglob("*.py"):
            text = path.read_text("utf-8")
            for sign in ("0.0.0." + "0", "INADDR_" + "ANY", 'bind(("' + '"'):
                assert sign not in text, path
