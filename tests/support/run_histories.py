"""Random histories of a run, as its recorder may write them: starts, epochs, evaluations, resumed segments, ends."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from store.journal.journal import Journal

Entry = tuple[str, dict[str, Any], dict[str, Any] | None]
"""Name of the event, its fields, its columns."""
Segment = list[Entry]
STEPS = 10
"""Steps of an epoch."""
CREATED: dict[str, Any] = {
    "kind": "train",
    "name": "night",
    "preset": "default",
    "group_name": None,
    "config": {"loss": {"alpha": 0.1}, "data": {"dataset": "demo"}, "train": {"epochs": 9}},
    "config_hash": "abc",
    "seed": 1,
    "tags": ["b", "a"],
    "note": "",
}
STARTED: dict[str, Any] = {
    "host": "here",
    "boot_id": "b",
    "process_started": 12.5,
    "code_version": "1",
    "packages": {"python": "3.11"},
    "machine": "Linux, a processor",
    "git_sha": "f" * 40,
    "git_patch": None,
}
SIDE: tuple[Entry, ...] = (
    ("dataset_used", {"dataset_id": "d", "dataset_sha256": "f", "dataset_name": "demo"}, None),
    ("lists_used", {"user_set_id": "s", "item_set_id": None, "user_list_id": "l"}, None),
    ("device_used", {"device": "cpu", "threads": 2}, None),
    ("heartbeat", {}, None),
    ("alerted", {"kind": "stall", "text": "it does nothing"}, None),
    ("stage_started", {"stage": "train", "total": 0}, None),
    ("of_a_later_version", {"state": "strange", "epoch": 99}, None),
)
"""Events that may come at any time; the last one is unknown, and its fields are no columns."""
ENDS = (("finished", None), ("stopped", "asked to stop (SIGINT)"), ("failed", "no number"), ("killed", "signal 9"))
VALUES = st.floats(
    0, 1, allow_nan=False, allow_subnormal=False
)  # a training in this process makes subnormal numbers zero


@st.composite
def run_histories(draw: st.DrawFn) -> list[Segment]:
    """Segments of a journal; the last one may be of a run that still lives."""
    created: Entry = ("run_created", CREATED, None)
    if draw(st.integers(0, 9)) == 0:
        return [[created]]
    epoch = best = 0
    segments: list[Segment] = []
    for number in range(draw(st.integers(1, 3))):
        segment: Segment = [] if number else [created]
        if number and draw(st.integers(0, 3)) == 0:
            segment.append(("run_queued", {}, None))
            if draw(st.booleans()):
                return [*segments, segment]
        segment.append(("run_started", {**STARTED, "pid": draw(st.integers(2, 9))}, None))
        segment += draw(st.lists(st.sampled_from(SIDE), max_size=3))
        if epoch:
            epoch = draw(st.integers(0, epoch))
            best = min(best, epoch)
            segment.append(("run_resumed", {"epoch": epoch, "step": STEPS * epoch, "best_epoch": best or None}, None))
        for _ in range(draw(st.integers(0, 3))):
            epoch += 1
            improved = draw(st.booleans())
            best = epoch if improved else best
            segment.append(("epoch_finished", _epoch(epoch, improved, draw(VALUES)), None))
        for split in draw(st.sampled_from(((), ("valid",), ("valid", "test")))) if best else ():
            step = STEPS * draw(st.sampled_from((best, epoch)))
            fields = {"split": split, "epoch": best, "step": step, "metrics": draw(_metrics(split))}
            segment.append(("evaluated", fields, {"user_id": [1, 2], "rank": [3, 4]}))
        segment += draw(st.lists(st.sampled_from(SIDE), max_size=2))
        if draw(st.booleans()):
            segment.append(("stopping", {"reason": "SIGTERM"}, None))
        if draw(st.booleans()):
            segment.append(("run_ended", _end(*draw(st.sampled_from(ENDS)), draw(st.sampled_from((None, best)))), None))
        segments.append(segment)
    return segments


def _epoch(epoch: int, improved: bool, value: float) -> dict[str, Any]:
    metrics = [
        {"split": "train", "name": "loss", "value": value, "subgroup": "all"},
        {"split": "valid", "name": "ndcg@20", "value": value, "subgroup": "all"},
    ]
    times = {"seconds": 2.0, "evaluate_seconds": 0.5}
    return {
        "epoch": epoch,
        "step": STEPS * epoch,
        "improved": improved,
        "bad_epochs": 0,
        "metrics": metrics,
        **times,
    }


@st.composite
def _metrics(draw: st.DrawFn, split: str) -> list[dict[str, Any]]:
    names = draw(st.sets(st.sampled_from(("hr@20", "ndcg@20", "mrr@20", "hr@10", "n"))))
    return [
        {"split": split, "name": name, "value": draw(VALUES), "subgroup": subgroup}
        for name in sorted(names)
        for subgroup in ("all", "tied")
    ]


def _end(state: str, reason: str | None, best: int | None) -> dict[str, Any]:
    more = {"timings": {"total": 4.5}, "peak_memory_bytes": 2**33, "epochs": 3, "exit_code": 0}
    return {"state": state, "reason": reason, "best_epoch": best or None, **more}


def append_all(journal: Journal, run_id: str, entries: list[Entry]) -> None:
    """Write events of a history into an open segment."""
    for event, fields, columns in entries:
        given = {"run_id": run_id} if event == "run_created" else {}
        journal.append(event, {**given, **fields}, columns=columns)
