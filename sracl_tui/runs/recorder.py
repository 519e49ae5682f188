"""Records a run while it lives: holds its lock, writes journal, log, heartbeat and samples of the machine, and publishes the journal."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.events import Event, Report, Tabular, Warned
from sracl_tui.logs import RunLog
from sracl_tui.runs import environment, failure_messages
from sracl_tui.runs.alerts.alerts import AlertMonitor
from sracl_tui.runs.journal_events import facts_of
from sracl_tui.runs.machine_use import READ_SECONDS, MachineUse
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Journal, Line, RunLock
from store.journal.processes import own_facts, own_id
from store.journal.submission import executing_handle
from store.publishing.liveness import check_free
from store.publishing.publish import Publisher, PublishReport

HEARTBEAT_SECONDS = 10.0
END_TRIES, END_SECONDS = 20, 0.2
"""Tries to write the end of a run on a full disk, and seconds between them."""
RESERVE_BYTES = 65536
"""Size of a file that is deleted when the disk is full, so that the run can still write its end."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Recorder:
    """The only writer of one run's folder while the run lives."""

    def __init__(self, home: Home, request: RunRequest, *, listener: Report, quiet: bool = False) -> None:
        """Take the run's lock and open the next segment of its journal.

        Args:
            listener: receives every event of the engine once it is in the journal.
            quiet: send no alerts: the run is a part of another one.

        Raises:
            StoreError: another process holds the lock, or the run is executed elsewhere.
        """
        self._listener = listener
        self.folder = home.run_folder(request.run_id)
        check_free(home, request.run_id)
        self._lock = RunLock(self.folder)
        self._lock.acquire()
        _remove_temporary_files(self.folder)
        self._journal = Journal(self.folder)
        self._reserve = self.folder / ".reserve"
        with suppress(OSError):
            self._reserve.write_bytes(bytes(RESERVE_BYTES))
        self.log = RunLog(self.folder, home.path)
        self.publisher = Publisher(home, done=self._published)
        self._log_state = RunState()
        self._alerts = None if quiet else _alert_monitor(home, request, self.write)
        self._end: tuple[str, str | None] | None = None
        self._named = False
        """Whether the journal has this start's handle."""
        self._log_lock = threading.Lock()
        self._closing = threading.Event()
        self._machine: MachineUse | None = MachineUse()
        self._sampling = threading.Lock()
        self._heartbeat = threading.Thread(target=self._write_heartbeats, name="heartbeat", daemon=True)

    def _published(self, report: PublishReport) -> None:
        text = f"{report.events:,} events published in {report.seconds:.2f} s"
        self.log.write(text, event="published", events=report.events, seconds=round(report.seconds, 3))

    def start(self) -> None:
        """Start the threads that publish and write heartbeats, and warn of an unreadable `alerts.toml`."""
        self.publisher.start()
        self._heartbeat.start()
        if self._alerts is not None and self._alerts.trouble:
            self.report(Warned(message=f"alerts are as by default: {self._alerts.trouble}"))

    def report(self, event: Event) -> None:
        """Take an event of the engine: into the journal and the log, then to the listener and to the alerts.

        Raises:
            OSError: the journal cannot be written, as on a full disk.
        """
        columns = event.columns if isinstance(event, Tabular) else None
        payload = event.payload()
        self._journal.append(event.name, payload, columns=columns, durable=event.durable)
        self._log_event(event.name, payload)
        if event.name == "stage_finished":
            self.publisher.request()
        self._listener(event)
        if self._alerts is not None:
            self._alerts.seen(event)

    def write(self, event: str, /, **fields: Any) -> None:
        """Write an event that is none of the engine's; `store.journal.event_facts.RECORDED` has its facts.

        Raises:
            OSError: the journal cannot be written, as on a full disk.
        """
        self._journal.append(event, fields)
        self._log_event(event, fields)

    def _log_event(self, event: str, fields: dict[str, Any]) -> None:
        """Write an event into the run's log, in the words that the live view uses."""
        if facts_of(event).quiet:
            return
        with self._log_lock:
            self._log_state.take([Line(event, time.time(), fields, None)])
            for _, text in self._log_state.log:
                self.log.write(text, event=event)
            self._log_state.log.clear()

    def started(self) -> None:
        """Write `run_started`: process, machine, code and packages."""
        self.write(
            "run_started",
            **self._handle(),
            **own_facts(),
            **environment.describe(),
        )

    def _handle(self) -> dict[str, str | None]:
        """Executor and handle of this run, once both are known: a process may begin before its executor has named it."""
        if self._named:
            return {}
        handle = executing_handle(self.folder, own_id())
        self._named = handle.id is not None
        return {"executor": handle.executor, "handle": handle.id}

    def end(self, **fields: Any) -> None:
        """Write `run_ended`; on a full disk into the room that was reserved, and without room not at all.

        Args:
            fields: state and reason, and further columns of the run.
        """
        self._end = fields["state"], fields["reason"]
        if self._alerts is not None:
            self._alerts.ends(fields["state"])
        self._closing.set()
        self._sample(last=True)
        for _ in range(END_TRIES):
            try:
                self.write("run_ended", **fields, **self._handle())
                return
            except OSError:
                self._reserve.unlink(missing_ok=True)
                time.sleep(END_SECONDS)  # a publish that fails for want of room frees what it wrote

    def close(self) -> None:
        """Stop the threads, publish the rest of the journal, release the lock and send the alert of the end."""
        self._closing.set()
        if self._heartbeat.is_alive():
            self._heartbeat.join()
        self._reserve.unlink(missing_ok=True)
        with suppress(OSError):  # on a full disk: the lines that are written stay, and the next command ingests them
            self._journal.close()
        self.publisher.close()  # before the lock is released, so that nobody takes the run for dead
        self._lock.release()
        if self._alerts is not None and self._end is not None:
            self._alerts.ended(*self._end)
        self.log.close()

    def _sample(self, *, last: bool = False) -> None:
        """Write what the machine was used for, where a sample is due; a reading that fails ends the sampling, not the run."""
        try:
            with self._sampling:
                sample = None if self._machine is None else self._machine.read(last=last)
        except Exception as error:
            sample = self._machine = None
            self.log.write("the use of the machine is sampled no more", level=logging.WARNING, error=error)
        if sample is not None:
            with suppress(OSError):  # a full disk ends the run when it writes an event that matters
                self.write("machine_sampled", **sample)

    def _write_heartbeats(self) -> None:
        told, beaten = False, time.monotonic()
        while not self._closing.wait(min(READ_SECONDS, HEARTBEAT_SECONDS)):
            self._sample()
            if time.monotonic() - beaten < HEARTBEAT_SECONDS:
                continue
            beaten = time.monotonic()
            if not told and not self.folder.is_dir():
                told = True  # nothing that is written there is kept, and nothing else would say so
                self._listener(Warned(message=failure_messages.gone(self.folder)))
            with suppress(OSError):  # as above
                self.write("heartbeat", **self._handle())
            if self._alerts is not None:
                self._alerts.poll()


def _remove_temporary_files(folder: Path) -> None:
    """Remove temporary files that a killed writer left; the caller holds the run's lock."""
    for path in (*folder.glob(".*"), *folder.glob("*.tmp")):
        with suppress(OSError):
            path.unlink()


def _alert_monitor(home: Home, request: RunRequest, write: Callable[..., None]) -> AlertMonitor:
    config = request.config
    run = {
        "run_id": request.run_id,
        "name": request.name or request.run_id,
        "dataset": config.data.dataset,
        "seed": config.train.seed,
        "group": request.group,
    }
    return AlertMonitor(home, run, write, synthesizer=config.synthesizer.kind)


class StopSwitch:
    """True after a signal that asks the run to stop; a second signal raises `KeyboardInterrupt` instead of waiting for a checkpoint."""

    def __init__(self, on_signal: Callable[[str], None]) -> None:
        self.signal_name: str | None = None
        self._on_signal = on_signal
        self._notifying: threading.Thread | None = None

    def __call__(self) -> bool:
        return self.signal_name is not None

    def _notify(self, name: str) -> None:
        with suppress(OSError):
            self._on_signal(name)

    def _handle(self, number: int, frame: object) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        # In a thread: the interrupted main thread may hold the journal's lock.
        self._notifying = threading.Thread(target=self._notify, args=(self.signal_name,), daemon=True)
        self._notifying.start()

    @contextmanager
    def installed(self) -> Iterator[StopSwitch]:
        """Handle the signals that ask a run to stop while the block runs; in another thread than the main one, do nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._notifying is not None:
                self._notifying.join()
