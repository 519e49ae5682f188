"""The vectors stage: each distinct text is encoded once. Legend: N texts, S size of a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.errors import Interrupted, SemanticsError
from engine.events import ApiCalled, Report, StageProgress, VectorsMade, Warned
from engine.semantics.encoders.encoder import Encoder, RemoteEncoder

CHUNK = 512
"""Texts encoded between two reports: the most that a killed run can lose."""
STAGE = "vectors"

Known = Callable[[list[str]], tuple[list[str], NDArray[np.float32]]]
"""Takes hashes; returns those in the cache and their vectors (rows, S)."""


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def make_vectors(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    known: Known,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> NDArray[np.float32]:
    """Vectors (N, S) of texts; equal texts have equal vectors, an empty text has zeros.

    Args:
        known: looks up cached vectors; called once, with the hashes of all distinct texts.
        stop: checked before each chunk.

    Raises:
        Interrupted: `stop` returned true; a second call continues from what was reported.
        SemanticsError: the encoder cannot be loaded, returns NaN or infinity, or a size other than the cached vectors'.
    """
    distinct = {text: text_sha256(text) for text in dict.fromkeys(texts) if text.strip()}
    found, vectors = known(list(distinct.values())) if distinct else ([], np.zeros((0, 0), np.float32))
    total, done = len(distinct), len(found)
    report(StageProgress(stage=STAGE, done=done, total=total))
    if guess := getattr(encoder, "guess", None):
        report(Warned(message=guess))
    cached = set(found)
    missing = sorted((text for text, sha in distinct.items() if sha not in cached), key=lambda text: (len(text), text))
    names, parts = list(found), [vectors] if len(found) else []
    if isinstance(encoder, RemoteEncoder):
        shas = [distinct[text] for text in missing]
        _encode_remotely(encoder, missing, shas, names, parts, total=total, report=report, stop=stop)
        missing = []
    for start in range(0, len(missing), CHUNK):
        if stop():
            raise Interrupted
        chunk = missing[start : start + CHUNK]
        parts.append(_checked(encoder, encoder.encode(chunk), size=parts[0].shape[1] if parts else None))
        shas = [distinct[text] for text in chunk]
        names += shas
        report(
            VectorsMade(
                encoder=encoder.name, dimension=parts[-1].shape[1], columns={"sha256": shas, "vector": parts[-1]}
            )
        )
        done += len(chunk)
        report(StageProgress(stage=STAGE, done=done, total=total))
    if not parts:
        report(Warned(message="there is no text to encode: all vectors are zero, and no neighbors can be found"))
        parts = [encoder.encode([])]
    return _place(texts, distinct, names=names, parts=parts)


def _encode_remotely(
    encoder: RemoteEncoder,
    texts: list[str],
    shas: list[str],
    names: list[str],
    parts: list[NDArray[np.float32]],
    *,
    total: int,
    report: Report,
    stop: Callable[[], bool],
) -> None:
    """Encode texts at an endpoint, and append hashes to `names` and vectors to `parts`; calls are reported first."""
    if not texts:
        return
    if stop():
        raise Interrupted
    provider, _, model = encoder.name.partition(":")
    problem: SemanticsError | None = None
    for encoded in encoder.encode_remotely(texts):
        if encoded.calls is not None:
            report(ApiCalled(provider=provider, model=model, columns=encoded.calls))
        if encoded.rows and problem is None:
            try:
                parts.append(_checked(encoder, encoded.vectors, size=parts[0].shape[1] if parts else None))
            except SemanticsError as error:  # calls in flight are paid for: they are recorded first
                problem = error
                encoder.drain()
                continue
            received = [shas[row] for row in encoded.rows]
            names += received
            columns = {"sha256": received, "vector": parts[-1]}
            report(VectorsMade(encoder=encoder.name, dimension=parts[-1].shape[1], columns=columns))
        report(StageProgress(stage=STAGE, done=len(names), total=total, detail=encoded.note))
        if stop() and len(names) < total:
            encoder.drain()
    if problem is not None:
        raise problem
    if len(names) < total:
        raise Interrupted


def _checked(
    encoder: Encoder | RemoteEncoder, vectors: NDArray[np.float32], *, size: int | None
) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if size is not None and vectors.shape[1] != size:
        raise SemanticsError(
            f"the encoder {encoder.name!r} returns {vectors.shape[1]} numbers per text, the cached vectors have {size}",
            where="semantics.encoder",
            hint="Vectors of another model are cached under this name: rename this model's folder.",
        )
    if not np.isfinite(vectors).all():
        raise SemanticsError(f"the encoder {encoder.name!r} returned a value that is not a number")
    return vectors


def _place(
    texts: Sequence[str], distinct: dict[str, str], *, names: list[str], parts: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Vectors (N, S) in the order of the texts; empty texts get the zero row after the last name."""
    row_of = {sha: row for row, sha in enumerate(names)}
    pool = np.concatenate([*parts, np.zeros((1, parts[0].shape[1]), np.float32)])
    rows = [row_of[distinct[text]] if text in distinct else len(names) for text in texts]
    return pool[np.array(rows, np.int64)]
