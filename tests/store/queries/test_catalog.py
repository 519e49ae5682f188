"""The catalog of tables: names, types and descriptions as the databases have them, names that need quotation marks quoted."""

from __future__ import annotations

from store.home import Home
from store.opening import open_store
from store.publishing.publish import write_sql
from store.queries.catalog import CatalogColumn, catalog
from store.queries.sql_words import SqlWords


def test_every_table_and_view_is_there_with_columns_types_and_descriptions(tmp_path):
    with open_store(Home(tmp_path)) as store:
        found = {table.name: table for table in catalog(store)}
        names = {row["name"] for row in store.rows("SELECT table_name AS name FROM duckdb_tables()")}
        views = {row["name"] for row in store.rows("SELECT view_name AS name FROM duckdb_views() WHERE NOT internal")}
        assert {name.removeprefix("vectors.") for name in found} == names | views
        assert {table.name for table in found.values() if table.is_view} == views
        assert list(found)[-1].startswith("vectors."), "those of the other database come last"
        for table in found.values():
            assert table.comment, table.name
            columns = {row["column_name"]: row["column_type"] for row in store.rows(f"DESCRIBE {table.sql}")}
            assert {column.name: column.kind for column in table.columns} == columns
        assert found["anchors"].columns[2] == CatalogColumn("user_id", "user_id", "INTEGER", "The user.")


def test_a_table_of_a_person_is_named_so_that_a_query_can_use_it(tmp_path):
    home = Home(tmp_path)
    with open_store(home):
        pass
    write_sql(
        home,
        'CREATE SCHEMA own; CREATE TABLE own."my ""table" ("order" INTEGER, plain TEXT); CREATE TABLE "Tag" AS SELECT 1 n',
    )
    with open_store(home) as store:
        found = {table.name: table for table in catalog(store)}
        mine = found['own.my "table']
        assert [column.sql for column in mine.columns] == ['"order"', "plain"]
        assert store.rows(f"SELECT {mine.columns[0].sql} FROM {mine.sql}") == []
        assert store.rows(f"FROM {found['Tag'].sql}") == [{"n": 1}]
        assert not mine.is_view
        assert not mine.comment


def test_only_names_that_are_no_plain_words_are_quoted():
    words = SqlWords(("ORDER",), ("NAME",))
    plain = ("run_results", "_a1", "Name")
    assert tuple(map(words.quoted, plain)) == plain
    assert [words.quoted(name) for name in ("order", "1a", "a b", 'a"b', "", "ä", "a.b")] == [
        '"order"', '"1a"', '"a b"', '"a""b"', '""', '"ä"', '"a.b"',
    ]  # fmt: skip
