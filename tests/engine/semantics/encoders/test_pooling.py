"""Which vector a model's token vectors become, against transformers itself, on a tiny BERT with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import Config, SemanticsConfig
from engine.errors import ConfigError, SemanticsError
from engine.events import Warned
from engine.extension_points import own_pooling
from engine.semantics.encoders.registry import build_encoder
from engine.semantics.encoders.text_vectors import make_vectors

WORDS = ["a", "pen", "in", "the", "blue", "red", "ink", "desk", "lamp", "##s", "chair", "green", "of", "and", "for"]
TEXTS = ["a red pen", "the blue lamps and chairs for the desk in the green ink of a pen", "lamp", "ink " * 40]
"""The last one is longer than the model's window."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT as transformers saves it, without a word on pooling."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    folder.mkdir()
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt"), model_max_length=24).save_pretrained(folder)
    return folder


def by_transformers(folder: Path) -> dict[str, np.ndarray]:
    """Vectors (N, S) by pooling, one text at a time, so that there is no padding."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    rows: dict[str, list[np.ndarray]] = {"mean": [], "cls": [], "pooler": []}
    for text in TEXTS:
        with torch.inference_mode():
            found = model(**tokenizer(text, truncation=True, max_length=24, return_tensors="pt"))
        states = found.last_hidden_state[0]
        for name, row in (("mean", states.mean(0)), ("cls", states[0]), ("pooler", found.pooler_output[0])):
            rows[name].append(row.numpy())
    return {name: np.stack(found) for name, found in rows.items()}


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_each_pooling_is_that_of_transformers(tiny: Path, pooling: str) -> None:
    encoder = build_encoder(str(tiny), [], pooling=pooling)
    got = encoder.encode(TEXTS)
    np.testing.assert_allclose(got, by_transformers(tiny)[pooling], atol=1e-6)
    assert encoder.dimension == got.shape[1] == 16
    assert encoder.encode([]).shape == (0, 16)
    assert encoder.name.endswith(f"+{pooling}")
    assert encoder.guess is None  # type: ignore[attr-defined]


def test_the_mean_of_a_model_whose_files_say_nothing_is_a_guess_that_is_told(tiny: Path) -> None:
    events: list[object] = []
    encoder = build_encoder(str(tiny), [])
    got = make_vectors(encoder, TEXTS, known=lambda shas: ([], np.zeros((0, 0), np.float32)), report=events.append)
    np.testing.assert_allclose(got, by_transformers(tiny)["mean"], atol=1e-6)
    assert "+" not in encoder.name
    (warned,) = [event.message for event in events if isinstance(event, Warned)]
    assert encoder.name in warned
    assert "guess" in warned
    assert "pooling=mean, cls or pooler" in warned


def test_what_the_files_of_a_model_say_is_no_guess(tiny: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    transformer = SentenceTransformer(str(tiny))[0]
    SentenceTransformer(modules=[transformer, Pooling(16, "cls")]).save(str(tmp_path / "with-config"))
    encoder = build_encoder(str(tmp_path / "with-config"), [])
    np.testing.assert_allclose(encoder.encode(TEXTS), by_transformers(tiny)["cls"], atol=1e-6)
    assert encoder.guess is None  # type: ignore[attr-defined]
    assert build_encoder("minilm", []).guess is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "pooling"),
    [
        ("sup-simcse-bert-tiny", "pooler"),
        ("unsup-simcse-bert-tiny", "cls"),
        ("SimCSE", "pooler"),
    ],
)
def test_auto_takes_what_the_authors_of_simcse_take(tiny: Path, tmp_path: Path, name: str, pooling: str) -> None:
    folder = shutil.copytree(tiny, tmp_path / name)
    encoder = build_encoder(str(folder), [])
    np.testing.assert_allclose(encoder.encode(TEXTS), by_transformers(tiny)[pooling], atol=1e-6)
    assert encoder.name == build_encoder(str(folder), [], pooling=pooling).name
    assert encoder.guess is None  # type: ignore[attr-defined]
    mean = build_encoder(str(folder), [], pooling="mean")
    np.testing.assert_allclose(mean.encode(TEXTS), by_transformers(tiny)["mean"], atol=1e-6)


def test_names() -> None:
    name = "princeton-nlp/sup-simcse-roberta-large"
    assert own_pooling(name) == "pooler"
    assert own_pooling("simcse-lab/e5-small") is None, "the owner's name says nothing"
    assert build_encoder(name, []).name == f"{name}+pooler"
    assert build_encoder(name, [], pooling="mean").name == f"{name}+mean"
    assert build_encoder("some/model", []).name == "some/model", "stored vectors keep their name"


def test_a_model_without_a_trained_pooler_is_refused(tiny: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    folder = shutil.copytree(tiny, tmp_path / "no-pooler")
    BertModel.from_pretrained(folder, add_pooling_layer=False).save_pretrained(folder)
    with pytest.raises(SemanticsError, match="no trained pooler") as caught:
        build_encoder(str(folder), [], pooling="pooler").encode(["a pen"])
    assert caught.value.where == "semantics.pooling"


@pytest.mark.parametrize("name", ["minilm", "tfidf", "openai:text-embedding-3-small"])
def test_pooling_is_refused_where_it_would_do_nothing(name: str) -> None:
    with pytest.raises(ConfigError, match="would do nothing"):
        build_encoder(name, [], pooling="cls")


def test_the_hash_tells_poolings_apart_and_keeps_that_of_earlier_runs() -> None:
    def hashed(**settings: str) -> str:
        return Config(semantics=SemanticsConfig.model_validate(settings)).config_hash()

    assert hashed() == Config().config_hash() == hashed(pooling="auto")
    poolings = {hashed(encoder="some/model", pooling=pooling) for pooling in ("auto", "mean", "cls", "pooler")}
    assert len(poolings) == 4


def test_auto_of_simcse_is_another_result_than_the_mean_that_earlier_versions_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from engine import extension_points

    config = Config(semantics=SemanticsConfig(encoder="princeton-nlp/sup-simcse-roberta-large"))
    now = config.config_hash()
    monkeypatch.setattr(extension_points, "own_pooling", lambda name: None)
    assert config.config_hash() != now
