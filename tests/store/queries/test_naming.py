"""A number and an id of the source are told apart: no text means one user silently where it may mean two."""

from __future__ import annotations

from typing import Any, cast

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.database.database import Store
from store.errors import LookupFailed
from store.queries.naming import find_named

IDS = st.lists(
    st.integers(-3, 12).map(str)
    | st.text("#id:-7 x", min_size=1, max_size=4).filter(lambda text: text == text.strip()),
    min_size=1,
    max_size=8,
    unique=True,
)


class Rows:
    """A store of two tables in memory."""

    def __init__(self, ids: list[str]) -> None:
        self.connection = duckdb.connect()
        for table, key in (("users", "user_id"), ("items", "item_id")):
            self.connection.execute(f"CREATE TABLE {table} (dataset_id VARCHAR, {key} INTEGER, raw_id VARCHAR)")
            self.connection.executemany(
                f"INSERT INTO {table} VALUES ('d', ?, ?)", [[n, id_] for n, id_ in enumerate(ids, 1)]
            )

    def rows(self, query: str, parameters: list[Any]) -> list[dict[str, Any]]:
        found = self.connection.execute(query, parameters)
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def found(rows: Rows, text: str, table: str = "users") -> str:
    return str(find_named(cast(Store, rows), table, "d", text)["raw_id"])


@settings(max_examples=60, deadline=None)
@given(IDS, st.sampled_from(["users", "items"]))
def test_every_user_is_reached_by_number_and_by_id_and_plain_text_never_means_two(ids: list[str], table: str) -> None:
    rows = Rows(ids)
    for number, id_ in enumerate(ids, 1):
        assert found(rows, f"#{number}", table) == id_
        assert found(rows, f"id:{id_}", table) == id_
        plain = id_.isascii() and id_.isdigit() and int(id_) <= len(ids) and int(id_) > 0
        if plain and ids[int(id_) - 1] != id_:
            with pytest.raises(LookupFailed, match="is the number of") as caught:
                found(rows, id_, table)
            assert f"#{id_}" in str(caught.value.hint)
            assert f"id:{id_}" in str(caught.value.hint)
    missing = str(len(ids) + 50)
    with pytest.raises(LookupFailed, match="there is no"):
        found(rows, missing, table)
    with pytest.raises(LookupFailed, match="there is no"):
        found(rows, f"#{missing}", table)


def test_a_plain_number_that_means_one_user_is_taken() -> None:
    assert found(Rows(["a", "b"]), "2") == "b"
    assert found(Rows(["900", "b"]), "900") == "900"
    assert found(Rows(["1", "2"]), "2") == "2"
    assert found(Rows(["#5", "id:7"]), "#5") == "#5"
    assert found(Rows(["#5", "id:7"]), "id:7") == "id:7"
