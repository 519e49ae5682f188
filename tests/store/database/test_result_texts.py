"""Values of a result are written as DuckDB itself writes them: CAST to VARCHAR, COPY to CSV and JSON."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database.result_files import save
from store.database.result_texts import batches, kind_of

DATABASE = duckdb.connect()
CASES = [
    "true", "'-128'::TINYINT", "18446744073709551615::UBIGINT", "'-170141183460469231731687303715884105728'::HUGEINT",
    "340282366920938463463374607431768211455::UHUGEINT", "'123456789012345678901234567890123456789012'::BIGNUM",
    "1.10::DECIMAL(4, 2)", "-0.05::DECIMAL(38, 10)", "0.1::FLOAT", "3.4e38::FLOAT", "1e15::DOUBLE", "1e16::DOUBLE", "1e-300::DOUBLE",
    "-0.0::DOUBLE", "'nan'::DOUBLE", "'inf'::FLOAT", "'-inf'::DOUBLE", "NULL", "''", "' a '", "'a,b'", "'say \"hi\"'", "'#a'", "'a#'", "'NULL'",
    "'a' || chr(10) || 'b'", "'grün 🦆'", "'NaN'", "'\\\\ \"Infinity\"'", "'\\xAA\\x00a'::BLOB", "'0101'::BIT",
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "INTERVAL '-1 year 2 days -00:00:00.5'", "'0044-03-15 (BC)'::DATE", "'-infinity'::DATE",
    "'24:00:00'::TIME", "'12:00:00+05:30'::TIMETZ", "'1969-12-31 23:59:59.999999'::TIMESTAMP", "'2020-02-29 12:00:00+02'::TIMESTAMPTZ",
    "'2020-01-01'::TIMESTAMP_S", "'2020-01-01 00:00:00.100'::TIMESTAMP_MS", "'2020-01-01 00:00:00.123456789'::TIMESTAMP_NS",
    "'b'::ENUM ('a', 'b')", "'{\"a\": [1, 2.50, \"x\"]}'::JSON", "[]", "[1, NULL, 3]", "['a,b', NULL, '', 'it''s']", "[['nan'::DOUBLE], []]",
    "{'a': 1, 'b': {'c': [true]}}", "MAP {'k': 1.5, 'l': NULL}", "MAP {DATE '2020-01-01': [1]}", "union_value(n := 1)", "array_value(1, 2)",
    "[INTERVAL 1 DAY]", "{'when': TIMESTAMP '2020-01-01', 'bytes': '\\xFF'::BLOB}",
]  # fmt: skip

_OURS = {"NaN": None, "Infinity": "1e999", "-Infinity": "-1e999"}
"""What stands for words that COPY writes although they are no JSON."""


def written(query: str, path: Path, form: str) -> str:
    """What COPY writes."""
    DATABASE.execute(f"COPY ({query}) TO '{path}' (FORMAT {form})")
    return path.read_bytes().decode()


def check(query: str, folder: Path) -> None:
    """Compare every way out with the database's own."""
    relation = DATABASE.sql(query)
    schema, parts = batches(relation, 100, "texts")
    cells = [tuple(row.values()) for part in parts for row in part.to_pylist()]
    casts = ", ".join(f'CAST("{name}" AS VARCHAR)' for name in relation.columns)
    assert cells == DATABASE.sql(f"SELECT {casts} FROM ({query})").fetchall()
    save(DATABASE.sql(query), folder / "ours.csv")
    assert (folder / "ours.csv").read_bytes().decode() == written(query, folder / "copy.csv", "csv")
    save(DATABASE.sql(query), folder / "ours.json")
    copied = written(query, folder / "copy.json", "json").splitlines()
    for ours, theirs in zip((folder / "ours.json").read_text("utf-8").splitlines(), copied, strict=True):
        assert json.loads(ours, parse_float=str, parse_constant=_refuse) == json.loads(
            theirs, parse_float=str, parse_constant=_OURS.get
        )
    assert [field.name for field in schema] == list(relation.columns)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@pytest.mark.parametrize("expression", CASES)
def test_each_type_is_written_as_the_database_writes_it(expression: str, tmp_path: Path) -> None:
    check(f"SELECT {expression} AS x", tmp_path)


def _texts(first: str) -> st.SearchStrategy[str]:
    letters = st.characters(min_codepoint=32, max_codepoint=0x24F, exclude_categories=("Cc", "Cf", "Cs"))
    return st.text(letters | st.sampled_from(",\"\n#'{}[]\\"), max_size=8).map(lambda text: first + text)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


SCALARS: dict[str, st.SearchStrategy[str]] = {
    "BOOLEAN": st.sampled_from(["true", "false"]),
    "SMALLINT": st.integers(-(2**15), 2**15 - 1).map(str),
    "UBIGINT": st.integers(0, 2**64 - 1).map(str),
    "HUGEINT": st.integers(-(2**127) + 1, 2**127 - 1).map(str),
    "DECIMAL(18, 3)": st.decimals(-(10**14), 10**14, places=3).map(lambda number: f"{number:f}"),
    "FLOAT": st.floats(width=32, allow_subnormal=False).map(str),
    "DOUBLE": st.floats(allow_subnormal=False).map(str),
    "VARCHAR": _texts("x") | st.just(""),
    "DATE": st.dates().map(str) | st.sampled_from(["infinity", "0044-03-15 (BC)"]),
    "TIME": st.times().map(str),
    "TIMESTAMP": st.datetimes().map(str),
    "TIMESTAMPTZ": st.datetimes().map(lambda when: f"{when}+02"),
    "TIMESTAMP_NS": st.tuples(st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)), st.integers(0, 999)).map(
        lambda when: f"{when[0]:%Y-%m-%d %H:%M:%S.%f}{when[1]:03d}"
    ),
    "INTERVAL": st.tuples(*[st.integers(-999, 999)] * 3).map(
        lambda n: f"{n[0]} months {n[1]} days {n[2]} microseconds"
    ),
    "BLOB": st.binary(max_size=6).map(lambda data: "".join(f"\\x{byte:02X}" for byte in data)),
    "BIT": st.text("01", min_size=1, max_size=20),
    "UUID": st.uuids().map(str),
}
SCALAR = st.sampled_from(sorted(SCALARS)).flatmap(
    lambda kind: st.lists(SCALARS[kind], min_size=1, max_size=3).map(
        lambda values: [f"CAST({_quoted(value)} AS {kind})" for value in values] + [f"CAST(NULL AS {kind})"]
    )
)
"""Some expressions of one type."""


def _nested(inner: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.one_of(
        inner.map(lambda values: [f"[{', '.join(values)}]", "[]", f"[{values[0]}]"]),
        inner.map(lambda values: [f"{{'a': {value}, 'b c': 1}}" for value in values]),
        inner.map(lambda values: [f"MAP {{'k': {value}}}" for value in values]),
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=st.lists(st.recursive(SCALAR, _nested, max_leaves=3), min_size=1, max_size=4))
def test_rows_of_any_type_are_written_as_the_database_writes_them(columns: list[list[str]], tmp_path: Path) -> None:
    rows = [
        ", ".join(f"{values[place % len(values)]} AS c{column}" for column, values in enumerate(columns))
        for place in range(max(map(len, columns)))
    ]
    check(" UNION ALL ".join(f"SELECT {row}" for row in rows), tmp_path)


@given(number=st.floats(max_value=-1e-9) | st.decimals(max_value=-1, places=2, allow_nan=False), text=_texts("="))
@settings(max_examples=12, deadline=None)
def test_text_is_kept_from_being_computed_and_numbers_never(tmp_path_factory: Any, number: Any, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "guard.csv"
    kind = "DOUBLE" if isinstance(number, float) else "DECIMAL(38, 2)"
    if kind != "DOUBLE" and abs(number) >= 10**30:
        return
    values = [
        f"CAST('{number}' AS {kind})",
        _quoted(text),
        f"{_quoted(text)}::ENUM ({_quoted(text)})",
        "INTERVAL '-1 day'",
    ]
    names = ("number", "text", "enum", "interval")
    relation = DATABASE.sql(
        "SELECT " + ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
    )
    assert [kind_of(field) for field in batches(relation, 10, "texts")[0]] == ["number", "text", "text", "fixed"]
    save(relation, path)
    with path.open(newline="", encoding="utf-8") as file:
        _, cells = csv.reader(file)
    assert cells[0].startswith("-")
    assert cells[1:] == [f"'{text}", f"'{text}", "-1 day"]


@pytest.mark.parametrize(
    "value",
    [
        f"{2**128 - 1}::UHUGEINT",
        "INTERVAL 1 DAY",
        "'0101'::BIT",
        "'12:00:00+05'::TIMETZ",
        "[INTERVAL 1 DAY]",
        "{'size': '01'::BIT}",
    ],
)
def test_what_parquet_lacks_is_saved_as_text(value: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    save(DATABASE.sql(f"SELECT {value} AS x, 7::HUGEINT AS n, ['a'] AS l"), path)
    read = DATABASE.sql(f"FROM '{path}'")
    assert [str(kind) for kind in read.types] == ["VARCHAR", "DECIMAL(38,0)", "VARCHAR[]"]
    assert read.fetchall()[0][0] == DATABASE.sql(f"SELECT CAST({value} AS VARCHAR)").fetchall()[0][0]


def test_an_integer_beyond_parquet_is_an_error_and_not_another_number(tmp_path: Path) -> None:
    with pytest.raises(duckdb.ConversionException):
        save(DATABASE.sql(f"SELECT {2**127 - 1}::HUGEINT AS x"), tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
