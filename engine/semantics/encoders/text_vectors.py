"""Vectors of texts, each distinct text encoded once, and means of items' vectors.

Legend: N texts, S size of a vector, B anchors, V items.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Dataset
from engine.data.histories import window_items
from engine.errors import Interrupted, SemanticsError
from engine.events import ApiCalled, Report, StageProgress, VectorsMade, Warned
from engine.semantics.encoders.encoder import Encoder, RemoteEncoder

CHUNK = 512
"""Texts encoded between two reports: what a killed run loses at most."""
MEANS_AT_ONCE = 16_384
"""Anchors whose sums are held in double precision at once."""
STAGE = "vectors"

Known = Callable[[list[str]], tuple[list[str], NDArray[np.float32]]]
"""Takes hashes, gives those that are already there and their vectors."""


def text_sha256(text: str) -> str:
    """Hex SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


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
        known: looked at once, with the hashes of all distinct texts.
        stop: asked before each chunk.

    Raises:
        Interrupted: `stop` said so; a second call goes on from what was reported.
        SemanticsError: the encoder cannot be loaded, gives no numbers, or does not fit the cached vectors.
    """
    distinct = {text: text_sha256(text) for text in dict.fromkeys(texts) if text.strip()}
    found, vectors = known(list(distinct.values())) if distinct else ([], np.zeros((0, 0), np.float32))
    total, done = len(distinct), len(found)
    report(StageProgress(stage=STAGE, done=done, total=total))
    there = set(found)
    missing = sorted((text for text, sha in distinct.items() if sha not in there), key=lambda text: (len(text), text))
    names, parts = list(found), [vectors] if len(found) else []
    if isinstance(encoder, RemoteEncoder):
        shas = [distinct[text] for text in missing]
        _ask(encoder, missing, shas, names, parts, total=total, report=report, stop=stop)
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
        report(Warned(message="there is no text to encode: every vector is zero, and nothing can be retrieved"))
        parts = [encoder.encode([])]
    return _place(texts, distinct, names=names, parts=parts)


def _ask(
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
    """Have an endpoint encode texts, and put hashes and vectors behind those that are there; calls are told first."""
    if not texts:
        return
    if stop():
        raise Interrupted
    provider, _, model = encoder.name.partition(":")
    for some in encoder.encode_remotely(texts):
        if some.calls is not None:
            report(ApiCalled(provider=provider, model=model, columns=some.calls))
        if some.rows:
            parts.append(_checked(encoder, some.vectors, size=parts[0].shape[1] if parts else None))
            got = [shas[row] for row in some.rows]
            names += got
            columns = {"sha256": got, "vector": parts[-1]}
            report(VectorsMade(encoder=encoder.name, dimension=parts[-1].shape[1], columns=columns))
        report(StageProgress(stage=STAGE, done=len(names), total=total, detail=some.note))
        if stop() and len(names) < total:
            encoder.wind_down()
    if len(names) < total:
        raise Interrupted


def _checked(
    encoder: Encoder | RemoteEncoder, vectors: NDArray[np.float32], *, size: int | None
) -> NDArray[np.float32]:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if size is not None and vectors.shape[1] != size:
        raise SemanticsError(
            f"the encoder {encoder.name!r} gives {vectors.shape[1]} numbers per text, the cached vectors have {size}",
            where="semantics.encoder",
            hint="Another model was cached under this name: give this one's folder another name.",
        )
    if not np.isfinite(vectors).all():
        raise SemanticsError(f"the encoder {encoder.name!r} gives something that is not a number")
    return vectors


def _place(
    texts: Sequence[str], distinct: dict[str, str], *, names: list[str], parts: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Rows in order of the texts; the row behind the last name is the zeros of empty texts."""
    row_of = {sha: row for row, sha in enumerate(names)}
    pool = np.concatenate([*parts, np.zeros((1, parts[0].shape[1]), np.float32)])
    rows = [row_of[distinct[text]] if text in distinct else len(names) for text in texts]
    return pool[np.array(rows, np.int64)]


def item_mean(
    item_vectors: NDArray[np.float32], dataset: Dataset, anchor_ids: NDArray[np.int64], max_length: int
) -> NDArray[np.float32]:
    """Means (B, S) of the vectors of each anchor's last `max_length` items; zeros where none of them has a text.

    Items without a text have zeros in `item_vectors` (V + 1, S) and count for nothing. Prefixes with the same items have
    the same vector to the last bit, in whatever order they stand: sums run in order of item id, in double precision.
    """
    from scipy.sparse import csr_array

    filled = np.any(item_vectors != 0, axis=1)
    wide = item_vectors.astype(np.float64)
    means = np.zeros((len(anchor_ids), item_vectors.shape[1]), np.float32)
    for start in range(0, len(anchor_ids), MEANS_AT_ONCE):
        window = window_items(dataset, anchor_ids[start : start + MEANS_AT_ONCE], max_length)
        shape = (len(window), len(item_vectors))
        counts = csr_array((filled[window.items].astype(np.float64), window.items, window.starts), shape=shape)
        counts.sum_duplicates()  # sorts by item too
        sizes = np.asarray(counts.sum(axis=1), np.float64)[:, None]  # (B, 1)
        sums = np.asarray(counts @ wide)  # (B, S)
        means[start : start + len(window)] = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    return means
