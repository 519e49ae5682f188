"""What is typed for an import, and the import in a process of its own."""

from __future__ import annotations

import shlex
import threading
import time
from pathlib import Path

import pytest

from engine.data.importing import ImportOptions
from engine.data.preview import preview
from engine.errors import ConfigError, DataError
from sracl_tui.services.dataset_import import (
    FIELDS,
    Imported,
    ImportProcess,
    Step,
    command_of,
    import_into,
    name_for,
    parse,
    place_of,
)
from sracl_tui.services.import_form import Draft
from store.errors import LookupFailed, StoreError
from store.home import Home
from store.opening import open_store
from store.publishing.publish import publish
from store.queries import datasets


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text("user,item\n" + "".join(f"u{n % 50},i{n % 7}\n" for n in range(600)))
    return path


def test_every_option_of_the_engine_can_be_set():
    assert {field.key for field in FIELDS} - {"name"} == set(ImportOptions.__dataclass_fields__)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("k_core", " 5 ", 5),
        ("max_length", "none", None),
        ("max_length", "", None),
        ("ties", "item", "item"),
        ("items", "x/y.csv", Path("x/y.csv")),
        ("user_column", "who", "who"),
        ("name", "日本 [red]", "日本 [red]"),
        ("only", "event=buy; kind = 1;", ("event=buy", "kind = 1")),
        ("only", "", ()),
        ("min_rating", "3.5", 3.5),
        ("min_rating", "none", None),
        ("delimiter", " ", " "),
        ("bad_rows", "drop", "drop"),
    ],
)
def test_what_is_typed_is_read(key, text, value):
    assert parse(key, text) == value


@pytest.mark.parametrize(
    ("key", "text"),
    [("k_core", "-1"), ("k_core", "x"), ("max_length", "0"), ("ties", "by name"), ("name", " "), ("tie_seed", "²")],
)
def test_what_cannot_be_is_refused(key, text):
    with pytest.raises(ConfigError):
        parse(key, text)


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (DataError("must be at least 0", where="--k-core"), "k_core"),
        (DataError("nothing is left of 3 interactions after --min-length 9", where="x.csv"), "min_length"),
        (DataError("no such column", where="x.csv:1", hint="Correct --time-column."), "time_column"),
        (DataError("an empty id", where="x.csv:17"), None),
        (LookupFailed("there is another dataset named 'x'"), "name"),
        (StoreError("the disk is full"), None),
    ],
)
def test_an_error_stands_at_its_field(error, place):
    assert place_of(error) == place


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("data/office", "office"),
        ("ratings.csv.gz", "ratings-2"),
        ("a b/My [red] File.PARQUET", "My-red-File"),
        ("日本.txt", "日本"),
        ("...", "data"),
    ],
)
def test_a_name_after_the_file(path, name):
    assert name_for(Path(path), {"ratings"}) == name


def test_the_command_does_the_same(tmp_path):
    options = ImportOptions(k_core=5, ties="random", tie_seed=3, items=tmp_path / "my items.csv", user_column="who [x]")
    words = shlex.split(command_of(tmp_path / "a b.csv", "my set", options))
    assert words[:6] == ["sracl", "data", "import", str(tmp_path / "a b.csv"), "--name", "my set"]
    given = dict(zip(words[6::2], words[7::2], strict=True))
    assert given == {
        "--k-core": "5",
        "--ties": "random",
        "--tie-seed": "3",
        "--user-column": "who [x]",
        "--items": str(tmp_path / "my items.csv"),
    }


def test_a_draft_keeps_what_is_wrong_apart(source):
    draft = Draft({"abc": "log"})
    assert draft.set_source(source)
    assert not draft.set_source(source)
    assert draft.name == "log-2"
    draft.set("k_core", "many")
    assert draft.values["k_core"] == 0
    draft.set("name", "log")
    draft.blame(DataError("nothing is left after --min-length 3", where=str(source)))
    assert set(draft.errors) == {"k_core", "name", "min_length"}
    draft.set("min_length", "2")
    draft.reset("name")
    assert set(draft.errors) == {"k_core"}
    assert (draft.name, draft.changed) == ("log-2", {"min_length"})
    draft.set("k_core", "3")
    assert draft.errors == {}
    draft.found = preview(source, options=draft.options)
    assert draft.choices("user_column") == ["", "user", "item"]
    assert draft.choices("k_core") == []
    draft.blame(OSError("no more processes"))
    assert draft.errors == {"path": "no more processes"}


def test_a_child_tells_its_steps_and_stores(tmp_path, source):
    home = Home(tmp_path / "home")
    told = list(ImportProcess(home, source, "日本", ImportOptions(k_core=3)).messages())
    steps, end = told[:-1], told[-1]
    assert list(dict.fromkeys(step.done for step in steps if isinstance(step, Step))) == [0, 1, 2, 3, 4]
    assert isinstance(end, Imported)
    assert (end.users, end.items, end.interactions, end.rows_read) == (50, 7, 600, 600)
    with open_store(home) as store:
        assert datasets.get(store, "日本")["dataset_id"] == end.dataset_id
    with pytest.raises(LookupFailed, match="stored already, as '日本'"):
        list(ImportProcess(home, source, "other", ImportOptions(k_core=3)).messages())


def test_a_child_that_only_counts_and_one_that_fails(tmp_path, source):
    counted = list(ImportProcess(None, source, "x", ImportOptions(max_length=4)).messages())[-1]
    assert isinstance(counted, Imported)
    assert counted.dropped == {"interactions beyond the maximum length": 400}
    with pytest.raises(DataError, match="nothing is left") as caught:
        list(ImportProcess(None, source, "x", ImportOptions(k_core=9_999)).messages())
    assert (caught.value.where, caught.value.hint) == (str(source), "Lower it.")


def test_one_that_was_canceled_before_it_began(tmp_path, source):
    process = ImportProcess(Home(tmp_path / "home"), source, "x", ImportOptions())
    process.cancel()
    assert list(process.messages()) == []
    assert not (tmp_path / "home").exists()


def test_publishing_goes_on_while_an_import_reads(tmp_path):
    """A run publishes as often as it likes; an import holds the store for its last step alone."""
    home, path = Home(tmp_path / "home"), tmp_path / "big.csv"
    path.write_text("user,item\n" + "".join(f"u{n % 7001},i{n % 997}\n" for n in range(300_000)))
    publish(home)
    ended = threading.Event()
    waits: list[float] = []

    def keep_publishing() -> None:
        while not ended.is_set():
            began = time.monotonic()
            publish(home, wait=20)
            waits.append(time.monotonic() - began)
            ended.wait(0.02)

    thread = threading.Thread(target=keep_publishing)
    thread.start()
    try:
        import_into(home, path, name="big", options=ImportOptions())
    finally:
        ended.set()
        thread.join()
    assert len(waits) >= 2
    with open_store(home) as store:
        assert datasets.get(store, "big")["interactions"] == 300_000
