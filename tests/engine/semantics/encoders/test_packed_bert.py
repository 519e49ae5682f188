"""Texts are encoded without padding to the vectors that sentence-transformers gives."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

from engine.models.kernel_library import SWITCH
from engine.models.kernels import missing
from engine.semantics.encoders import packed_bert
from engine.semantics.encoders.local import SentenceEncoder
from engine.semantics.encoders.packed_bert import PackedBert

WORDS = ("pen", "Druckerpatrone", "ink,", "A4", "—", "skillet", "日本語", "3-ring", "(black)", "\t")


@pytest.fixture(autouse=True)
def _needs_kernels() -> None:
    if missing():
        pytest.skip(missing())


@pytest.fixture(scope="module")
def model() -> Any:
    return SentenceEncoder("minilm", source=None)._load()


def _texts(count: int, longest: int) -> list[str]:
    chance = random.Random(1)
    return [" ".join(chance.choices(WORDS, k=chance.randint(0, longest))) for _ in range(count)]


@pytest.mark.parametrize(("count", "longest"), [(1, 3), (40, 12), (300, 5), (12, 400)])
def test_vectors_are_those_of_the_library(
    model: Any, count: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_bert, "TOKENS", 700)
    texts = _texts(count, longest)
    packed = PackedBert.of(model)
    assert packed is not None
    np.testing.assert_allclose(packed.encode(texts), model.encode(texts), atol=2e-6)


def test_the_first_token_without_normalizing(model: Any) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    other = SentenceTransformer(modules=[model[0], Pooling(384, "cls")])
    packed = PackedBert.of(other)
    assert packed is not None
    texts = _texts(30, 12)
    theirs = other.encode(texts)
    np.testing.assert_allclose(packed.encode(texts), theirs, atol=1e-5 * np.abs(theirs).max())


def test_the_encoder_uses_it_where_there_are_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, found = _texts(20, 9), []
    for switch in ("on", "off"):
        monkeypatch.setenv(SWITCH, switch)
        encoder = SentenceEncoder("minilm", source=None)
        found.append(encoder.encode(texts))
        assert (encoder._packed is None) == (switch == "off")
    np.testing.assert_allclose(*found, atol=2e-6)


def test_other_models_are_left_to_the_library(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    assert PackedBert.of(SentenceTransformer(modules=[model[0], Pooling(384, "max")])) is None
    for name, value in (("hidden_act", "relu"), ("position_embedding_type", "relative_key")):
        with monkeypatch.context() as patch:
            patch.setattr(model[0].auto_model.config, name, value, raising=False)
            assert PackedBert.of(model) is None
    with monkeypatch.context() as patch:
        patch.setattr(model, "default_prompt_name", "query")
        assert PackedBert.of(model) is None
    assert PackedBert.of(object()) is None


def test_a_model_that_is_built_otherwise_is_left_to_the_library(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = PackedBert._pooled
    monkeypatch.setattr(PackedBert, "_pooled", lambda self, states, lengths: right(self, states * 1.01 + 0.01, lengths))
    assert PackedBert.of(model) is None
    monkeypatch.setattr(PackedBert, "_pooled", lambda self, states, lengths: torch.zeros(len(lengths), 7))
    assert PackedBert.of(model) is None
