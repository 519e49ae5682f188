"""SQL that a person wrote reaches no file, takes no more than its share, and leaves the program what it needs."""

from __future__ import annotations

import itertools
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.database.migrate import own_names
from store.database.person_sql import BATCH_ROWS, canceler, python_values
from store.errors import QueryFailed
from store.home import Home
from store.opening import open_store
from store.publishing.publish import write_sql
from store.queries.catalog import catalog

READERS = (
    "read_text", "read_blob", "read_csv", "read_csv_auto", "read_json", "read_ndjson", "read_parquet", "sniff_csv",
    "parquet_metadata", "parquet_schema", "parquet_file_metadata", "parquet_kv_metadata", "glob",
)  # fmt: skip
REFUSED = (
    *(f"FROM {name}('{{file}}')" for name in READERS),
    "FROM '{file}'",
    "FROM '{folder}/any.parquet'",
    "FROM '/dev/stdin'",
    "FROM query('FROM read_text(''{file}'')')",
    "FROM query_table('secret_rows')",
    "CREATE TEMP MACRO taken() AS TABLE FROM read_blob('{file}')",
    "COPY (SELECT 42) TO '{folder}/out.csv'",
    "COPY (SELECT 42) TO '{folder}/out.parquet' (FORMAT parquet)",
    "COPY runs TO '/dev/stderr'",
    "COPY runs FROM '{file}'",
    "EXPORT DATABASE '{folder}/all'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{folder}/other.duckdb' AS other",
    "INSTALL spatial",
    "INSTALL '{folder}/x.duckdb_extension'",
    "LOAD '{folder}/x.duckdb_extension'",
    "LOAD azure",
    "UPDATE EXTENSIONS",
    "CREATE SECRET mine (TYPE http, BEARER_TOKEN 'abc')",
    "CREATE PERSISTENT SECRET mine (TYPE http, BEARER_TOKEN 'abc')",
    "FROM duckdb_secrets()",
    "SELECT getenv('HOME')",
    "SELECT read_text('{file}')",
    "SELECT file_exists('{file}')",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "PRAGMA enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET memory_limit = '1TB'",
    "SET max_temp_directory_size = '1TB'",
    "SET temp_directory = '{folder}'",
    "SET threads = 64",
    "SET profiling_output = '{folder}/profile'",
    "PRAGMA profiling_output = '{folder}/profile'",
    "PRAGMA log_query_path = '{folder}/log'",
    "PRAGMA enable_profiling = 'json'",
    "CALL enable_logging()",
    "DETACH vectors",
    "COMMIT",
    "BEGIN TRANSACTION",
    "FROM secret_rows",
    "FROM batches",
    "FROM self",
)
HARMLESS = (
    "CREATE TEMP TABLE mine AS SELECT 1",
    "CREATE OR REPLACE TEMP VIEW runs AS SELECT 'x' AS run_id",
    "SET VARIABLE a = 1",
    "USE vectors",
    "SET search_path = 'vectors'",
    "PREPARE p AS SELECT 1",
    "CHECKPOINT",
    "VACUUM",
    "FROM test_all_types()",
    "EXPLAIN ANALYZE SELECT 1",
    "PRAGMA database_list",
    "SELECT write_log('x')",
)
"""These may succeed; they stay without effect on the next query."""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.csv").write_text("a,b\n1,hidden\n")
    return folder


@pytest.mark.parametrize("query", REFUSED)
def test_a_reader_is_refused(home: Home, outside: Path, query: str) -> None:
    secret_rows = self = batches = [1]  # names of this program are no tables
    with open_store(home) as store, pytest.raises(QueryFailed):
        store.user_sql(query.format(file=outside / "secret.csv", folder=outside))
    assert [path.name for path in outside.iterdir()] == ["secret.csv"]
    assert secret_rows is self is batches


def test_what_is_allowed_is_forgotten(home: Home) -> None:
    with open_store(home) as store:
        before = catalog(store)
        for query in HARMLESS:
            store.user_sql(query)
            assert catalog(store) == before, query
            assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 0}], query


WRITING = tuple(query for query in REFUSED if "{" in query)


@pytest.mark.parametrize("number", range(0, len(WRITING), 6))
def test_a_writer_reaches_no_file_either(home: Home, outside: Path, number: int) -> None:
    for query in WRITING[number : number + 6 : 2]:  # a publish takes a while, so half of them
        with pytest.raises(QueryFailed):
            write_sql(home, query.format(file=outside / "secret.csv", folder=outside))
        assert [path.name for path in outside.iterdir()] == ["secret.csv"]


def test_a_writer_reaches_files_where_that_is_allowed(home: Home, outside: Path) -> None:
    write_sql(home, f"CREATE TABLE mine AS FROM '{outside}/secret.csv'; COPY mine TO '{outside}/copy.csv'", files=True)
    assert (outside / "copy.csv").read_text() == "a,b\n1,hidden\n"
    with pytest.raises(QueryFailed):
        write_sql(home, "SET threads = 64", files=True)
    write_sql(home, "DROP TABLE mine; CREATE VIEW two AS SELECT 2 AS n")
    with open_store(home) as store:
        assert store.rows("FROM two") == [{"n": 2}]


LOCKED_OUT = (
    "INSERT INTO schema_version VALUES (9999, 'later', now())",
    "DELETE FROM schema_version",
    "INSERT INTO journal_offsets BY NAME SELECT 'x' AS source, 1 AS segment, 10 AS position",
    "CREATE OR REPLACE VIEW run_results AS SELECT 1 AS run_id",
    "ALTER TABLE runs RENAME TO walks",
    "ALTER TABLE runs DROP COLUMN note",
    "ALTER TABLE datasets ADD COLUMN more INTEGER",
    "DROP VIEW run_results",
    "DROP TABLE journal_offsets",
)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.sampled_from(LOCKED_OUT),
        st.tuples(
            st.sampled_from(["DROP TABLE {}", "ALTER TABLE {} RENAME TO gone"]),
            st.sampled_from(sorted(own_names("main"))),
        ).map(lambda pair: pair[0].format(pair[1])),
    )
)
def test_nothing_that_the_program_needs_is_changed(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    home = Home(tmp_path_factory.getbasetemp() / "needed")
    with open_store(home) as store:
        before = catalog(store)
        with pytest.raises(QueryFailed):
            write_sql(home, query)
        assert catalog(store) == before
        assert store.rows("SELECT count(*) > 0 AS here FROM schema_version") == [{"here": True}]


@pytest.mark.parametrize("query", LOCKED_OUT[:2])
def test_the_record_of_migrations_locks_nobody_out(home: Home, query: str) -> None:
    with pytest.raises(QueryFailed):
        write_sql(home, query)
    with open_store(home) as store:
        assert store.rows("SELECT count(*) AS n FROM runs") == [{"n": 0}]


def test_rows_are_streamed(home: Home) -> None:
    with open_store(home) as store:
        first = list(itertools.islice(store.stream_sql("SELECT 1; FROM range(1000000000000)"), 3))
        assert all(BATCH_ROWS <= table.num_rows <= 4 * BATCH_ROWS for table in first)
        assert pa.concat_tables(first).column(0).to_pylist()[:3] == [0, 1, 2]
        assert [table.num_rows for table in store.stream_sql("FROM runs")] == [0]
        assert list(store.stream_sql("-- nothing")) == []
        with pytest.raises(QueryFailed, match="nowhere"):
            list(store.stream_sql("FROM nowhere"))


def test_memory_and_disk_are_limited(home: Home) -> None:
    with open_store(home) as store:
        rows = store.rows("SELECT name, value FROM duckdb_settings() WHERE name LIKE 'max\\_%' ESCAPE '\\'")
        found = {row["name"]: row["value"] for row in rows}
        assert found["max_temp_directory_size"] == "14.9 GiB"
        free = store.rows("SELECT current_setting('memory_limit') AS now")[0]["now"]
        assert free.endswith("iB")
        assert found["max_memory"] == free


def test_values_that_python_cannot_hold_are_told(home: Home) -> None:
    with open_store(home) as store:
        table = store.user_sql("FROM test_all_types()")
        assert table is not None
        for column in table.columns:
            assert len(python_values(column)) == 3
        assert any("cannot be shown" in str(python_values(column)) for column in table.columns)


def test_a_query_that_has_ended_is_canceled_without_harm(home: Home) -> None:
    kept = []
    with open_store(home) as store:
        store.user_sql("SELECT 1", started=kept.append)
    kept[0]()
    import duckdb

    connection = duckdb.connect()
    connection.close()
    canceler(connection)()
