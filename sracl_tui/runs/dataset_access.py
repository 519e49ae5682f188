"""Converts datasets between the engine's objects and the store's records, and opens stored ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.data.synthetic import GENERATED, generate
from engine.errors import DataError
from store.database.database import Store
from store.errors import StoreError
from store.queries import datasets as stored
from store.queries.datasets import DatasetRecord

if TYPE_CHECKING:
    from engine.data.dataset import Anchors, Dataset
    from engine.data.importing import ImportReport


def to_record(
    dataset: Dataset, report: ImportReport | None = None, *, source: str = "", synthetic: bool = False
) -> DatasetRecord:
    """Convert a dataset to the record that the store saves; `report` adds source and counts of an import."""
    from engine.data.dataset import TRAIN

    return DatasetRecord(
        dataset_id=dataset.dataset_id,
        name=dataset.name,
        sha256=dataset.sha256,
        source=report.source if report else source,
        format=report.format if report else str(dataset.options.get("format", "")),
        synthetic=synthetic,
        options=dict(dataset.options),
        rows_read=report.rows_read if report else len(dataset.sequence),
        dropped=report.dropped if report else {},
        warnings=report.warnings if report else [],
        user_raw_ids=dataset.user_raw_ids,
        tied=dataset.tied,
        item_raw_ids=dataset.items.raw_ids,
        titles=dataset.items.titles,
        texts=dataset.items.each_text,
        attributes=dataset.items.attributes,
        sequence=dataset.sequence,
        offsets=dataset.offsets,
        timestamps=dataset.timestamps,
        microseconds=dataset.microseconds,
        train_prefixes=sum(int((part.roles == TRAIN).sum()) for part in dataset.anchor_parts()),
        anchors=lambda: map(_columns_of, dataset.anchor_parts()),
    )


def _columns_of(anchors: Anchors) -> dict[str, Any]:
    """The columns of some users' anchors as the store saves them."""
    import numpy as np

    from engine.data.dataset import ROLES

    represents = np.zeros(len(anchors), bool)
    represents[anchors.representing - 1] = True
    return {
        "user_id": anchors.user_ids,
        "position": anchors.positions,
        "item_id": anchors.targets,
        "role": np.array(ROLES)[anchors.roles],
        "represents": represents,
    }


def from_record(record: DatasetRecord) -> Dataset:
    """Convert a stored record to a dataset.

    Raises:
        DataError: the content hash differs from that of the imported data.
    """
    from engine.data.dataset import Dataset, Items

    options: dict[str, Any] = record.options
    dataset = Dataset(
        name=record.name,
        user_raw_ids=record.user_raw_ids,
        items=Items(raw_ids=record.item_raw_ids, titles=record.titles, attributes=record.attributes),
        sequence=record.sequence,
        offsets=record.offsets,
        timestamps=record.timestamps,
        options=options,
        microseconds=record.microseconds,
    )
    if dataset.sha256 != record.sha256:
        raise DataError(
            "its rows in the database differ from the imported ones",
            where=f"dataset {record.name}",
            hint="Import it again under another name.",
        )
    return dataset


def open_dataset(store: Store, name: str, *, max_users: int | None = None) -> Dataset:
    """Open a stored dataset; a subset of the first `max_users` is stored as its own dataset.

    A missing one that can be generated (`demo`, `goods`) is. A home of an earlier version has what is `goods` today as `demo`,
    and its runs go on with it: a name means what is stored under it.

    Raises:
        LookupFailed: there is no such dataset.
        StoreError: it is to be stored, and this process does not write the database.
    """
    if is_generated(store, name):
        made = generate(name)
        same = stored.find(store, made.dataset_id)
        if same is None:
            _add(store, to_record(made, source="generated", synthetic=True))
        name = name if same is None else same["name"]
    record = stored.load(store, name)
    dataset = from_record(record)
    subset = dataset.first_users(max_users)
    if subset is dataset:
        return dataset
    subset = replace(subset, name=_part(name, max_users), options={**subset.options, "max_users": max_users})
    if stored.find(store, subset.dataset_id) is None:
        source = f"the first {max_users} users of {name}"
        _add(store, to_record(subset, source=source, synthetic=record.synthetic))
    return subset


def _part(name: str, max_users: int | None) -> str:
    return f"{name}[:{max_users}]"


def _add(store: Store, record: DatasetRecord) -> None:
    if not store.home.publishes:
        raise StoreError(
            f"dataset {record.name} is not stored yet, and this process does not write the database",
            where=str(store.home.database),
            hint="A queue on a cluster stores it before it gives a run to a node, as does any run on the machine that publishes.",
        )
    stored.add(store.home, record)


def is_stored(store: Store, name: str, *, max_users: int | None = None) -> bool:
    """Whether `open_dataset` would only read; False also where `max_users` are all users of a dataset, or more."""
    return stored.find(store, name if max_users is None else _part(name, max_users)) is not None


def is_generated(store: Store, name: str) -> bool:
    """Whether a dataset is not stored and is generated when a run names it."""
    return name in GENERATED and stored.find(store, name) is None


def is_known(store: Store, name: str) -> bool:
    """Whether a run may name a dataset."""
    return name in GENERATED or stored.find(store, name) is not None


def preview_dataset(store: Store, name: str, *, max_users: int | None = None) -> Dataset:
    """A dataset as `open_dataset` gives it; one that is generated is not stored.

    Raises:
        LookupFailed: there is no such dataset.
    """
    if is_generated(store, name):
        return generate(name).first_users(max_users)
    return open_dataset(store, name, max_users=max_users)
