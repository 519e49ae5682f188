"""Text encoders: shapes, sense, names, and what happens without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.errors import SemanticsError
from engine.semantics.encoders import local
from engine.semantics.encoders.registry import build_encoder
from tests.support.commands import ROOT

CORPUS = [
    f"{color} {thing} number{n}"
    for n, color in enumerate(("red", "blue", "green"))
    for thing in ("pen", "desk", "lamp")
]


def test_tfidf_is_deterministic_and_sensible() -> None:
    one, other = build_encoder("tfidf", CORPUS), build_encoder("tfidf", CORPUS[::-1])
    assert one.dimension is None
    texts = ["red pen", "red pen and desk", "green lamp", "unheard", ""]
    got = one.encode(texts)
    assert got.dtype == np.float32
    assert got.shape == (5, one.dimension)
    assert (got == other.encode(texts)).all(), "the order of the corpus is nothing"
    assert one.name == other.name
    assert one.name != build_encoder("tfidf", CORPUS[1:]).name
    assert got[0] @ got[1] > got[0] @ got[2]
    np.testing.assert_allclose(np.linalg.norm(got[:3], axis=1), 1, rtol=1e-6)
    assert not got[3:].any()
    assert one.encode([]).shape == (0, one.dimension)


@pytest.mark.parametrize("corpus", [[], ["", "  "], ["a"]])
def test_tfidf_of_nothing_is_zero(corpus: list[str]) -> None:
    assert build_encoder("tfidf", corpus).encode(["some text"]).tolist() == [[0.0]]


def test_minilm_puts_similar_texts_together(capfd: pytest.CaptureFixture[str]) -> None:
    encoder = build_encoder("minilm", [])
    assert (encoder.name, encoder.dimension) == ("minilm", None)
    got = encoder.encode(["Ballpoint pens, black ink", "Gel pens with blue ink", "Organic shampoo for dry hair"])
    assert got.shape == (3, 384)
    assert got.dtype == np.float32
    assert encoder.dimension == 384
    assert got[0] @ got[1] > got[0] @ got[2] + 0.2
    assert encoder.encode([]).shape == (0, 384)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "it/s" not in captured.err, "no progress bar of the libraries"


def test_building_an_encoder_loads_nothing() -> None:
    code = (
        "import sys; from engine.semantics.encoders.registry import build_encoder; "
        "[build_encoder(name, ['a text']) for name in ('minilm', 'tfidf', 'some/model')]; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sentence_transformers', 'sklearn')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_model_that_cannot_be_fetched_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*args: object, **more: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    encoder = build_encoder("nobody/no-such-model", [])
    with pytest.raises(SemanticsError, match="cannot be downloaded: Name or service not known") as caught:
        encoder.encode(["a"])
    assert caught.value.where == "semantics.encoder"
    assert caught.value.hint is not None


def test_a_folder_that_holds_no_model_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model")
    with pytest.raises(SemanticsError, match="cannot be loaded"):
        build_encoder(str(tmp_path), []).encode(["a"])


def test_a_folder_is_named_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"1")
    name = build_encoder(str(tmp_path), []).name
    assert name.startswith(f"{tmp_path.name}@")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert build_encoder(str(tmp_path), []).name == name
    (tmp_path / "model.bin").write_bytes(b"2")
    assert build_encoder(str(tmp_path), []).name != name


def test_a_model_folder_works_by_its_path() -> None:
    folder = local._minilm_folder()
    got = build_encoder(folder, []).encode(["pen"])
    np.testing.assert_allclose(got, build_encoder("minilm", []).encode(["pen"]), atol=1e-6)
