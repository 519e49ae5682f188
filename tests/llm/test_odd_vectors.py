"""Answers to embedding requests of a form that nobody documents: read where they are clear, else told in the server's words."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.semantics.encoders.remote import _Client
from engine.semantics.llm.attempts import AttemptResult, RequestState
from engine.semantics.llm.budget import Budget
from engine.semantics.llm.endpoints import Endpoint

from .test_odd_answers import JUNK
from .test_replies import events

VECTORS = [[0.25, 0.5], [0.75, 1.0], [0.0, 0.125]]


def vectors_read(tree: Any) -> tuple[AttemptResult, Any]:
    endpoint = Endpoint(base_url="http://127.0.0.1:1/v1", model="m")
    client = _Client("x", endpoint, None, Budget(endpoint, "m"), spans={"k": (0, 3)}, key_of=str)
    result = AttemptResult(200, headers={})
    client._parse((tree if isinstance(tree, str) else json.dumps(tree)).encode(), result)
    return result, client._judge(RequestState("k", "text"), result)


def rows(**change: Any) -> list[dict[str, Any]]:
    made = [{"index": place, "embedding": vector} for place, vector in enumerate(VECTORS)]
    return [row | {name: make(row) for name, make in change.items()} for row in made]


def data(some: Any, **more: Any) -> dict[str, Any]:
    return {"data": some, "usage": {"prompt_tokens": 9, "total_tokens": 9}} | more


VECTORS_READ: dict[str, Any] = {
    "another order": data(rows()[::-1]), "places as text": data(rows(index=lambda row: str(row["index"]))[::-1]),
    "places as decimals": data(rows(index=lambda row: float(row["index"]))), "numbers as text": data(rows(embedding=lambda row: list(map(str, row["embedding"])))),
    "a list of the list": data(rows(embedding=lambda row: [row["embedding"]])), "inside data": {"code": 0, "data": data(rows())},
    "an event": events(data(rows()), "[DONE]"), "total alone": data(rows(), usage={"prompt_tokens": None, "total_tokens": 9}),
    "other names": data(rows(), usage={"input_tokens": 9}),
}  # fmt: skip
NO_VECTORS: dict[str, tuple[Any, str]] = {
    "one place for all": (data(rows(index=lambda row: 0)), "missing or repeated: [0, 0, 0]"), "one without a place": (data([*rows()[:2], {"embedding": [1.0, 1.0]}]), "missing or repeated"),
    "a place twice": (data([*rows()[:2], rows()[1]]), "missing or repeated"), "no numbers": (data(rows(embedding=lambda row: ["a", "b"])), "cannot be read"),
    "NaN": (data(rows(embedding=lambda row: [float("nan"), 1.0])), "not a number"), "beyond 32 bits": (data(rows(embedding=lambda row: [1e39, 1.0])), "not a number"),
    "other lengths": (data([*rows()[:2], {"index": 2, "embedding": [1.0]}]), "vectors of 1 and of 2 numbers"), "empty": (data(rows(embedding=lambda row: [])), "no list of numbers"),
    "null": (data(rows(embedding=lambda row: None)), "no list of numbers"), "a matrix": (data(rows(embedding=lambda row: [[1.0], [2.0]])), "no list of numbers"),
    "base64 that is none": (data(rows(embedding=lambda row: "!!")), "cannot be read"), "half a number": (data(rows(embedding=lambda row: "AAAA")), "cannot be read"),
    "no data": ({"detail": "Not Found"}, "holds no vectors: Not Found"), "null data": (data(None), "holds no vectors"), "data that is text": (data(["x"]), "holds no vectors"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS_READ)
def test_vectors_of_odd_form_are_read(name: str) -> None:
    result, validation = vectors_read(VECTORS_READ[name])
    assert validation is not None, result.message
    assert np.array_equal(cast(Any, result.vectors), np.asarray(VECTORS, np.float32))
    assert result.usage is not None
    assert result.usage.tokens_in == 9


@pytest.mark.parametrize("name", NO_VECTORS)
def test_vectors_that_are_none_are_told(name: str) -> None:
    result, validation = vectors_read(NO_VECTORS[name][0])
    assert validation is None
    assert NO_VECTORS[name][1] in result.message
    assert (result.usage is not None) == (name != "no data"), "what was paid for is recorded"


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([("data",), ("data", 0), ("data", 0, "embedding"), ("data", 0, "index"), ("usage",), ("error",)]),
    JUNK,
)
def test_junk_among_vectors_is_told_in_the_servers_words(place: Any, junk: Any) -> None:
    tree: Any = data(rows())
    inside = tree
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = junk
    result, validation = vectors_read(tree)
    assert result.error is not None or validation is not None
    assert not any(word in result.message for word in ("object has no", "indices must be", "subscriptable"))
