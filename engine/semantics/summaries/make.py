"""The summaries stage: cached texts are reused, missing ones are requested and reported as they arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.errors import Interrupted, SemanticsError
from engine.events import ApiCalled, Report, StageProgress, SummariesLinked, SummariesMade, SummarySetMade
from engine.semantics.kinds import Kind
from engine.semantics.summaries.provider import PaidProvider, Provider
from engine.semantics.summaries.shard import WHOLE, Shard

ROWS_AT_ONCE = 5000
"""Maximum summaries per event."""
KEYS_AT_ONCE = 10_000
"""Cache keys computed between two reports of progress."""
STAGE = "summaries"

Known = Callable[[list[str]], dict[str, str]]
"""Takes keys; returns the texts of those in the cache."""


@dataclass(frozen=True)
class SummarySet:
    """Owners and their summaries, as linked in the store under one id."""

    set_id: str
    kind: str
    owner_ids: NDArray[np.int64]
    """(B,) anchor or item ids."""
    keys: list[str]
    """B keys; owners with equal requests have equal keys."""
    texts: list[str]
    """B texts."""


def set_id_of(provider: Provider, dataset: Dataset, kind: Kind, *, unit: str, owner_ids: NDArray[np.int64]) -> str:
    """Id of a set: a hash of dataset, kind, provider, model, prompt, parameters, unit and owners."""
    owners = np.asarray(owner_ids, "<i8").tobytes().hex()
    return content_hash(
        [
            dataset.dataset_id,
            kind,
            provider.name,
            provider.model,
            provider.prompt_version,
            provider.parameters,
            unit,
            content_hash(owners, length=64),
        ]
    )


def make_summaries(
    provider: Provider,
    dataset: Dataset,
    kind: Kind,
    owner_ids: NDArray[np.int64],
    *,
    unit: str,
    known: Known,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
    source_owners: NDArray[np.int64] | None = None,
) -> SummarySet:
    """The summaries of anchors or items (B,); each distinct request is answered once.

    Reports the set, every new answer as soon as the provider yields it, and the links once all texts are known.

    Args:
        unit: `prefix`, `user` or `every-m`; part of the set's id only: the caller chooses the owners.
        stop: checked after each batch of answers.
        source_owners: (B,) the owner whose summary each owner uses; None means its own.

    Raises:
        Interrupted: `stop` returned true; a second call continues from what was reported.
        SemanticsError: the provider left requests without an answer.
    """
    owner_ids = np.asarray(owner_ids, np.int64)
    set_id = set_id_of(provider, dataset, kind, unit=unit, owner_ids=owner_ids)
    report(
        SummarySetMade(
            set_id=set_id,
            dataset_id=dataset.dataset_id,
            kind=kind,
            provider=provider.name,
            model=provider.model,
            prompt_version=provider.prompt_version,
            template=provider.template,
            unit=unit,
            parameters=provider.parameters,
        )
    )
    source_owners = owner_ids if source_owners is None else source_owners
    keys, texts = _texts(provider, kind, source_owners, WHOLE, known, report, stop)
    report(SummariesLinked(set_id=set_id, columns={"owner_id": owner_ids, "key": keys}))
    return SummarySet(set_id=set_id, kind=kind, owner_ids=owner_ids, keys=keys, texts=[texts[key] for key in keys])


def make_part(
    provider: Provider,
    kind: Kind,
    owner_ids: NDArray[np.int64],
    *,
    shard: Shard,
    known: Known,
    report: Report,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """The summaries that are a shard's to ask, of the anchors or items (B,) that `make_summaries` is later called for, or their sources.

    Raises:
        Interrupted, SemanticsError: as `make_summaries`.
    """
    _texts(provider, kind, np.asarray(owner_ids, np.int64), shard, known, report, stop)


def _texts(
    provider: Provider,
    kind: Kind,
    owner_ids: NDArray[np.int64],
    shard: Shard,
    known: Known,
    report: Report,
    stop: Callable[[], bool],
) -> tuple[list[str], dict[str, str]]:
    """The keys of all owners, and the texts by key of those that are the shard's."""
    keys = _keys(provider, kind, owner_ids, report, stop)
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if shard.has(key):
            first.setdefault(key, row)
    texts = known(list(first)) if first else {}
    _answer(provider, kind, owner_ids, first=first, texts=texts, report=report, stop=stop)
    return keys, texts


def _keys(
    provider: Provider, kind: Kind, source_owners: NDArray[np.int64], report: Report, stop: Callable[[], bool]
) -> list[str]:
    """The keys of all owners; reports progress, since hundreds of thousands take a while."""
    keys: list[str] = []
    for start in range(0, len(source_owners), KEYS_AT_ONCE):
        if start:
            report(StageProgress(stage=STAGE, done=0, total=len(source_owners), detail=f"{start:,} prompts written"))
            if stop():
                raise Interrupted
        keys += provider.request_keys(kind, source_owners[start : start + KEYS_AT_ONCE])
    return keys


def _answer(
    provider: Provider,
    kind: Kind,
    owner_ids: NDArray[np.int64],
    *,
    first: dict[str, int],
    texts: dict[str, str],
    report: Report,
    stop: Callable[[], bool],
) -> None:
    """Request the answers of missing keys and add their texts to `texts`."""
    missing = [key for key in first if key not in texts]
    total, done = len(first), len(first) - len(missing)
    report(StageProgress(stage=STAGE, done=done, total=total))
    if not missing:
        return
    if stop():
        raise Interrupted
    rows = np.array([first[key] for key in missing], np.int64)
    if isinstance(provider, PaidProvider):
        provider.count_known(done)
    for answers in provider.answer(kind, owner_ids[rows], missing):
        if answers.calls is not None:
            report(
                ApiCalled(provider=provider.name, model=provider.model, run_id=answers.run_id, columns=answers.calls)
            )
        for start in range(0, len(answers), ROWS_AT_ONCE):
            report(SummariesMade(columns=answers.columns(start, start + ROWS_AT_ONCE)))
        texts.update(zip(answers.keys, answers.texts, strict=True))
        done += sum(key in first for key in answers.keys)  # a batch may contain answers for other jobs too
        if len(answers) or answers.note:
            report(StageProgress(stage=STAGE, done=done, total=total, detail=answers.note))
        if stop() and done < total:
            if not isinstance(provider, PaidProvider):
                raise Interrupted
            provider.drain()
    if stop() and done < total:
        raise Interrupted
    unanswered = [key for key in missing if key not in texts]
    if unanswered:
        raise SemanticsError(
            f"{len(unanswered):,} of {len(missing):,} {kind} summaries have no answer",
            where=f"semantics.provider = {provider.name}",
            hint="Run it again: the answers received so far are stored.",
        )
