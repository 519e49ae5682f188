"""The queue of runs: added, listed, removed, and executed one after the other by a worker per device."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, EngineError
from sracl_tui.runs import own_code
from sracl_tui.runs.execution import process_exit, registry
from sracl_tui.runs.execution.launch import submit
from sracl_tui.runs.execution.local import FROM_QUEUE, spawn
from sracl_tui.runs.request import FILE, RunRequest, new_run_id
from store.errors import StoreBusy, StoreError
from store.home import Home
from store.journal.journal import Journal, RunLock, end_of
from store.journal.submission import read_handle
from store.process_state import LOCAL, Exited, Unknown
from store.publishing.liveness import lives
from store.publishing.publish import Publisher, publish
from store.queue import Queue, QueueEntry
from store.regular_file import read_regular

MAX_ATTEMPTS = 3
"""Workers that may die while they execute a run before it is given up."""
POLL_SECONDS = 0.2
RETRY_SECONDS = 5.0
"""Between two attempts of a worker that cannot write, as on a full disk."""


def enqueue(
    home: Home, requests: Sequence[RunRequest], *, first: bool = False, force: bool = False
) -> tuple[list[RunRequest], list[tuple[RunRequest, str]]]:
    """Add runs to the queue; workers start where the queue has been started.

    Args:
        first: before all waiting runs.
        force: add a run even if its group has an equal one, finished or waiting.

    Returns:
        The requests that were added, and those that were not, each with the id of the equal run.

    Raises:
        StoreError: the home cannot be written.
        ConfigError: there is no such executor.
    """
    registry.of_queue(home)
    home.create()
    queue = Queue(home)
    new, known = sorted_out(home, requests, force=force)
    added = [_put(home, queue, request, first=first) for request in (reversed(new) if first else new)]
    if first:
        added.reverse()
    _publish(home)
    if queue.wanted and added and not queue.works_elsewhere():
        start_workers(home)
    return added, known


def sorted_out(
    home: Home, requests: Sequence[RunRequest], *, force: bool
) -> tuple[list[RunRequest], list[tuple[RunRequest, str]]]:
    """Requests that `enqueue` would add, and those of which their group has an equal run, with its id; nothing is changed."""
    from store.opening import open_store
    from store.queries import runs

    for request in requests:
        request.check_words()
        own_code.require(request.config)
    with open_store(home) as store:
        groups = {request.group for request in requests if request.group and not force}
        equals = {group: runs.equal_runs(store, group) for group in groups}
    new: list[RunRequest] = []
    known: list[tuple[RunRequest, str]] = []
    for request in requests:
        equal = equals.get(request.group or "", {}).get((request.config.config_hash(), request.config.train.seed))
        if equal is None:
            new.append(request)
        else:
            known.append((request, equal))
    return new, known


def _put(home: Home, queue: Queue, request: RunRequest, *, first: bool) -> RunRequest:
    """Make the run's folder and its entry. The run's lock is held until both exist, so that no reader takes it for dead."""
    while True:
        folder = home.run_folder(request.run_id)
        try:
            folder.mkdir()
            break
        except FileExistsError:  # ids have a second and four digits
            request = replace(request, run_id=new_run_id())
        except OSError as error:
            raise StoreError(f"the run's folder cannot be made: {error.strerror}", where=str(folder)) from None
    lock = RunLock(folder)
    lock.acquire()
    try:
        request.write(folder)
        journal = Journal(folder)
        journal.append("run_created", request.created())
        journal.close()
        queue.add([request.run_id], first=first)
    finally:
        lock.release()
    return request


def enqueue_again(home: Home, run_ids: Sequence[str]) -> None:
    """Put runs that ended before their test into the queue once more: they continue from their checkpoints.

    Raises:
        StoreBusy: a process executes one of them.
        StoreError: the home cannot be written.
    """
    queue = Queue(home)
    for run_id in run_ids:
        folder = home.run_folder(run_id)
        lock = RunLock(folder)
        lock.acquire()
        try:
            journal = Journal(folder)
            journal.append("run_queued", {})
            journal.close()
            queue.add([run_id])
        finally:
            lock.release()
    _publish(home)
    if queue.wanted and run_ids and not queue.works_elsewhere():
        start_workers(home)


def remove(home: Home, run_id: str) -> None:
    """Remove a waiting run; its state becomes `stopped`.

    Raises:
        LookupFailed: it is not waiting.
    """
    Queue(home).remove(run_id)
    process_exit.write_end(home, run_id, state="stopped", reason="removed from the queue before it began")
    _publish(home)


def move(home: Home, run_id: str, place: int) -> int:
    """Move a waiting run to a place, counted from 1; the place that it has then.

    Raises:
        LookupFailed: it is not waiting.
    """
    return Queue(home).move(run_id, place)


def slots(home: Home, count: int) -> list[str]:
    """Names of `count` slots, spread over the kinds of the executor's: `cpu-0`, or `cuda0-0`, `cuda1-1`.

    Raises:
        ConfigError: there is no such executor.
    """
    kinds = [name.rpartition("-")[0] for name in registry.of_queue(home).slots()]
    return [f"{kinds[number % len(kinds)]}-{number}" for number in range(count)]


def start(home: Home, workers: int | None = None, *, on: str | None = None) -> dict[str, int]:
    """Start the queue with `workers` workers, else as many as before, else one per slot of the executor.

    Args:
        on: name of the executor; without one that of the last start, unless `SRACL_EXECUTOR` names another one.

    Returns:
        Slot and PID of the new ones, which are processes of this machine, whatever executes the runs.

    Raises:
        ConfigError: there is no such executor.
    """
    queue = Queue(home)
    said = on or os.environ.get(registry.VARIABLE)
    executor = registry.named(home, said, by="--on" if on else registry.VARIABLE) if said else registry.of_queue(home)
    same = executor.name == (queue.executor or LOCAL)
    before = queue.wanted if same and not executor.waits_only else 0  # the file of the cluster says how many
    queue.start(workers or before or len(executor.slots()), executor.name)
    return start_workers(home)


def default_workers(home: Home) -> int:
    """How many workers the queue has where nobody said: one per slot of the executor."""
    return len(registry.of_queue(home).slots())


def start_workers(home: Home) -> dict[str, int]:
    """Start the missing workers where runs wait; slot and PID of each new one."""
    queue = Queue(home)
    if queue.paused or not queue.active():
        return {}
    alive = queue.slots()
    missing = [slot for slot in slots(home, queue.wanted) if slot not in alive]
    together = [missing] if missing and registry.of_queue(home).waits_only else [[slot] for slot in missing]
    started = {}
    for some in together:
        process = spawn(home, ["queue", "work", *some], home.path / "queue" / f"worker-{some[0]}.log")
        started |= dict.fromkeys(some, process.pid)
    return started


def restart_workers(home: Home) -> None:
    """Called by a queued run when it has ended: start new workers where its own died meanwhile."""
    if os.environ.get(FROM_QUEUE) and not Queue(home).slots():
        with suppress(StoreError, ConfigError, OSError):
            start_workers(home)


def work_all(home: Home, names: Sequence[str]) -> int:
    """Execute entries in several slots until none waits, and take in the journals of runs that do not publish; their number.

    Raises:
        StoreBusy: another worker has one of the slots.
    """
    with ExitStack() as stack:
        if registry.of_queue(home).waits_only:
            publisher = Publisher(home)
            publisher.start()
            stack.callback(publisher.close)
        if len(names) == 1:
            return work(home, names[0])
        with ThreadPoolExecutor(len(names), thread_name_prefix="slot") as threads:
            return sum(threads.map(partial(work, home), names))


def work(home: Home, slot: str) -> int:
    """Execute entries until none waits; their number.

    Raises:
        StoreBusy: another worker has this slot.
    """
    queue, done = Queue(home), 0
    while True:
        with queue.slot(slot):
            while slot in slots(home, queue.wanted) and (entry := queue.claim(slot, lives=partial(lives, home))):
                _finish(home, queue, entry, slot)
                done += 1
        if (
            queue.paused
            or slot not in slots(home, queue.wanted)
            or not any(e.state == "waiting" for e in queue.entries())
        ):
            return done  # checked after the slot is free: who added a run before that saw a worker and started none


def _finish(home: Home, queue: Queue, entry: QueueEntry, slot: str) -> None:
    """Bring an entry's run to its end, once, whatever an earlier worker has done with it."""
    while True:
        try:
            _run(home, entry, slot)
            break
        except (OSError, StoreBusy):  # a full disk: the entry is kept until the end of its run can be written
            time.sleep(RETRY_SECONDS)
    queue.end(entry)
    _publish(home)


def _run(home: Home, entry: QueueEntry, slot: str) -> None:
    folder = home.run_folder(entry.run_id)
    if not (folder / FILE).exists():
        return  # its folder was deleted by hand
    ended: Exited | Unknown = Unknown()
    poll = POLL_SECONDS
    if not lives(home, entry.run_id):
        if end_of(folder) is not None:
            return
        if entry.attempts > MAX_ATTEMPTS:
            reason = f"given up: {MAX_ATTEMPTS} workers died while they ran it"
            process_exit.write_end(home, entry.run_id, state="failed", reason=reason)
            return
        try:
            executor = registry.of_queue(home)
            handle = submit(home, executor, RunRequest.read(folder), slot=slot)
        except StoreBusy:
            raise  # it is tried again
        except (EngineError, StoreError) as error:
            process_exit.mark_dead(home, entry.run_id, Exited(code=2, reason=str(error)))
            return
        ended = executor.wait(handle)
    with suppress(ConfigError):
        poll = registry.of_run(home, entry.run_id)[0].poll_seconds
    while lives(home, entry.run_id):  # the process of an earlier worker executes it, or the executor cannot tell
        time.sleep(poll)
    if end_of(folder) is None:
        process_exit.mark_dead(home, entry.run_id, ended)


def _publish(home: Home) -> None:
    """Publish the change; where that fails, the next command does it."""
    with suppress(StoreError, OSError):
        publish(home, wait=5.0)


def listing(home: Home, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document of `sracl queue list --json`: entries with the names of their runs, and the workers.

    Args:
        rows: runs by id, from the database, for the state of those that ended.

    Returns:
        Of an entry, `gone` says that its worker is dead; of one of another machine, whose locks may not be seen, it never does.
    """
    queue = Queue(home)
    alive = queue.slots()
    entries, place = [], 0
    for entry in queue.entries():
        place += entry.state == "waiting"
        row = rows.get(entry.run_id, {})
        state = {"waiting": "queued", "working": row.get("state") or "running"}.get(entry.state) or row.get("state")
        entries.append(
            {
                "run_id": entry.run_id,
                "place": place if entry.state == "waiting" else None,
                "entry": entry.state,
                "state": "running" if state == "queued" and entry.state == "working" else state,
                "reason": row.get("reason"),
                "slot": entry.slot,
                "process": process_of(home, entry.run_id) if entry.state == "working" else "",
                "worker": alive.get(entry.slot or ""),
                "gone": entry.slot is not None and entry.slot not in alive and "@" not in entry.slot,
                "attempts": entry.attempts,
                "added_at": entry.added_at,
                "changed_at": entry.changed_at,
                "epoch": row.get("epoch"),
                **_request(home.run_folder(entry.run_id) / FILE),
            }
        )
    return {"paused": queue.paused, "wanted": queue.wanted, "workers": alive, "entries": entries}


def process_of(home: Home, run_id: str) -> str:
    """Who executes a run elsewhere, in words: `Slurm job 4711 on n1`; empty for a run of this machine, and where nobody can tell."""
    handle = read_handle(home.run_folder(run_id))
    if handle.executor == LOCAL:
        return ""
    with suppress(EngineError):
        return registry.find(home, handle.executor).describe(handle)
    return f"{handle.executor} {handle.id or ''}".strip()


@lru_cache(maxsize=4096)
def _request(path: Path) -> dict[str, Any]:
    """The listed fields of a run's request, which never changes."""
    try:
        values = json.loads(read_regular(path))
        config = values["config"]
        return {
            "name": values["name"] or values["run_id"],
            "group": values["group"],
            "preset": values["preset"],
            "dataset": config["data"]["dataset"],
            "seed": config["train"]["seed"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {"name": path.parent.name, "group": None, "preset": None, "dataset": None, "seed": None}
