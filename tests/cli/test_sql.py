"""`sracl sql`: ends when it is told to, streams its rows, and changes only what may be changed."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from sracl_tui.cli import interruptible as module
from sracl_tui.cli.interruptible import interruptible
from store.home import Home
from store.opening import open_store
from tests.support.commands import start

DEAF = (
    "WITH RECURSIVE more(n) AS (SELECT 0::BIGINT UNION ALL SELECT n + 1 FROM more) SELECT max(n) FROM more",
    "SELECT sum(x) FROM (SELECT unnest(range(100000000)) AS x FROM range(1000000))",
)
"""These do not notice for a long time that they were canceled."""
ENDLESS = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE hash(a.range) = hash(b.range + 1)"


def test_ctrl_c_ends_a_query_within_a_second(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def leave(code: int) -> None:
        raise typer.Exit(code)

    monkeypatch.setattr(module.os, "_exit", leave)
    sent: list[float] = []
    with open_store(Home(home)) as store:
        ended = threading.Event()

        def work(started: Callable[[Any], None]) -> None:
            def begun(cancel: Any) -> None:
                started(cancel)
                threading.Timer(0.3, press).start()

            try:
                store.user_sql(ENDLESS, started=begun)
            finally:
                ended.set()

        def press() -> None:
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(typer.Exit) as caught:
            interruptible(work)
        took = time.monotonic() - sent[0]
        assert ended.wait(20)
    assert caught.value.exit_code == 130
    assert took < 1.0
    assert capfd.readouterr().err.strip() == "interrupted"


def test_work_that_does_not_listen_is_left(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    monkeypatch.setattr(module.os, "_exit", codes.append)
    deaf, began = threading.Event(), time.monotonic()

    def work(started: object) -> None:
        deaf.wait(20)

    with pytest.raises(typer.Exit):
        interruptible(work, timeout=0.1)
    deaf.set()
    assert (codes, time.monotonic() - began < 2) == ([2], True)
    assert "longer than 0.1 seconds" in capfd.readouterr().err


@pytest.mark.parametrize("query", DEAF)
def test_a_query_that_ignores_its_cancellation_ends_with_the_process(home: Path, query: str) -> None:
    process = start(home, "sql", query, "--timeout", "1", stderr=subprocess.PIPE)
    assert process.stderr is not None
    assert process.stderr.read().decode().strip() == "canceled: it took longer than 1 seconds"
    assert process.wait(20) == 2


def test_a_process_that_prints_rows_ends_by_ctrl_c(home: Path) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(home, "sql", "FROM range(1000000000000)", "--format", "csv", **pipes)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().strip() == b"range"
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    process.stdout.close()
    said = process.stderr.read().decode()
    assert process.wait(20) == 130
    assert said.strip() in {"interrupted", ""}
    assert time.monotonic() - began < 5, "on a busy machine; the work itself is given 0.6 s"


def test_a_query_that_takes_longer_than_it_may_is_ended(sracl: Any, home: Path) -> None:
    done = sracl("sql", ENDLESS, "--timeout", "0.5", home=home, code=2)
    assert "longer than 0.5 seconds" in done.stderr
    assert sracl("sql", "SELECT 7 AS n", "--timeout", "60", "--json", home=home).stdout == '[{"n":7}]\n'


def test_many_rows_are_one_document(sracl: Any, home: Path) -> None:
    query = "SELECT range AS n, if(range % 2 = 0, 'NaN', '1')::DOUBLE AS x FROM range(11000)"
    rows = json.loads(sracl("sql", query, "--json", home=home).stdout)
    assert [row["n"] for row in rows] == list(range(11_000))
    assert [rows[0]["x"], rows[1]["x"]] == [None, 1.0]
    written = list(csv.reader(io.StringIO(sracl("sql", query, "--format", "csv", home=home).stdout)))
    assert len(written) == 11_001
    assert written[0] == ["n", "x"]
    assert "11,000 rows" in sracl("sql", query, home=home).stderr
    for words, expected in ((("--json",), "[]\n"), (("--format", "csv"), "n\r\n")):
        assert sracl("sql", "SELECT range AS n FROM range(0)", *words, home=home).stdout.replace(
            "\r\n", "\n"
        ) == expected.replace("\r\n", "\n")
    assert sracl("sql", "-- nothing", "--json", home=home).stdout == "[]\n"


SHOWN = {
    "INTERVAL '1 month -2 days 3 hours'": ("1 month -2 days 03:00:00", "1 month -2 days 03:00:00"),
    "'\\xAAb'::BLOB": ("\\xAAb", "\\xAAb"),
    "true": ("true", True),
    "1.10::DECIMAL(5, 2)": ("1.10", 1.1),
    "sum(1::BIGINT) OVER () * 170141183460469231731687303715884105727": (str(2**127 - 1), 2**127 - 1),
    "'2020-01-01 00:00:00.123456789'::TIMESTAMP_NS": ("2020-01-01 00:00:00.123456789",) * 2,
    "'0044-03-15 (BC)'::DATE": ("0044-03-15 (BC)",) * 2,
    "'infinity'::TIMESTAMP": ("infinity", "infinity"),
    "'24:00:00'::TIME": ("24:00:00", "24:00:00"),
    "'0101'::BIT": ("0101", "0101"),
    "[1, NULL]": ("[1, NULL]", [1, None]),
    "{'a': true, 'b': [0.5::DOUBLE]}": ("{'a': true, 'b': [0.5]}", {"a": True, "b": [0.5]}),
    "MAP {'k': 1}": ("{k=1}", {"k": 1}),
    "'x'::ENUM ('x', 'y')": ("x", "x"),
    "0.1::DOUBLE + 0.2": ("0.30000000000000004", 0.1 + 0.2),
    "1e-300::DOUBLE": ("1e-300", 1e-300),
    "1e100::DOUBLE": ("1e+100", 1e100),
    "-0.0::DOUBLE": ("-0.0", -0.0),
    "123456789.123::DOUBLE": ("123456789.123", 123456789.123),
    "16777217::FLOAT": ("16777216.0", 16777216.0),
    "'NaN'::DOUBLE": ("nan", None),
    "'-Infinity'::FLOAT": ("-inf", float("-inf")),
    "['NaN'::DOUBLE, 'inf']": ("[nan, inf]", [None, float("inf")]),
    "'NaN, Infinity'": ("NaN, Infinity", "NaN, Infinity"),
    "NULL": ("NULL", None),
}


def test_values_are_printed_as_by_the_databases_own_shell(sracl: Any, home: Path) -> None:
    query = "SELECT " + ", ".join(f"{expression} AS c{place}" for place, expression in enumerate(SHOWN))
    texts, values = zip(*SHOWN.values(), strict=True)
    assert json.loads(sracl("sql", query, "--json", home=home).stdout) == [
        {f"c{place}": value for place, value in enumerate(values)}
    ]
    (_, row) = csv.reader(io.StringIO(sracl("sql", query, "--format", "csv", home=home).stdout))
    assert row == ["" if text == "NULL" else text for text in texts]
    line = sracl("sql", query, home=home).stdout.splitlines()[1]
    for text in texts:
        assert text in line


def test_a_colon_in_a_columns_name_is_no_alignment(sracl: Any, home: Path) -> None:
    assert sracl("sql", 'SELECT 1 AS "a:b", 2 AS "c:r"', home=home).stdout.splitlines()[0].split() == ["a:b", "c:r"]


def test_writing_reaches_files_only_where_that_is_said(sracl: Any, home: Path, tmp_path: Path) -> None:
    copy = f"COPY (SELECT 1 AS a) TO '{tmp_path}/x.csv'"
    assert "--allow-files" in sracl("sql", "--write", copy, home=home, code=2).stderr
    assert not (tmp_path / "x.csv").exists()
    sracl("sql", "--write", "--allow-files", copy, home=home)
    assert (tmp_path / "x.csv").read_text() == "a\n1\n"
    sracl("sql", "--allow-files", "SELECT 1", home=home, code=2)
    refused = sracl("sql", "--write", "INSERT INTO schema_version VALUES (99, 'x', now())", home=home, code=2)
    assert "schema_version" in refused.stderr
    assert json.loads(sracl("runs", "--json", home=home).stdout)
