"""Keeps a run's record: its lock, journal and heartbeat, and the publishing of both into the database."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.events import Event, Report, Tabular, Warned
from sracl_tui.logs import RunLog
from sracl_tui.runs import environment
from sracl_tui.runs.alerts.alerts import AlertMonitor
from sracl_tui.runs.journal_events import facts_of
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.run_state import RunState
from store.home import Home
from store.journal.journal import Journal, Line, RunLock
from store.journal.processes import boot_id, start_of
from store.publishing.publish import Publisher, PublishReport

HEARTBEAT_SECONDS = 10.0
END_TRIES, END_SECONDS = 20, 0.2
"""How often and how far apart a run tries to write its end on a full disk."""
RESERVE_BYTES = 65536
"""Kept so that a run that a full disk ends can say so."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Recorder:
    """The only writer of one run's folder while the run lives."""

    def __init__(self, home: Home, request: RunRequest, *, listener: Report, quiet: bool = False) -> None:
        """Take the run's lock and open the next segment of its journal.

        Args:
            quiet: nobody is told of it: it is a part of another run.

        Raises:
            StoreError: another process runs it.
        """
        self._listener = listener
        self.folder = home.run_folder(request.run_id)
        self._lock = RunLock(self.folder)
        self._lock.acquire()
        _clear_away(self.folder)
        self._journal = Journal(self.folder)
        self._reserve = self.folder / ".reserve"
        with suppress(OSError):
            self._reserve.write_bytes(bytes(RESERVE_BYTES))
        self.log = RunLog(self.folder, home.path)
        self.publisher = Publisher(home, done=self._published)
        self._said = RunState()
        self._watchman = None if quiet else _watchman(home, request, self.write)
        self._end: tuple[str, str | None] | None = None
        self._saying = threading.Lock()
        self._closed = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def _published(self, report: PublishReport) -> None:
        text = f"{report.events:,} events published in {report.seconds:.2f} s"
        self.log.write(text, event="published", events=report.events, seconds=round(report.seconds, 3))

    def start(self) -> None:
        """Begin to publish and to beat."""
        self.publisher.start()
        self._pulse.start()
        if self._watchman is not None and self._watchman.trouble:
            self.report(Warned(message=f"alerts are as by default: {self._watchman.trouble}"))

    def report(self, event: Event) -> None:
        """Take an event of the engine: journal first, then whoever listens."""
        columns = event.columns if isinstance(event, Tabular) else None
        payload = event.payload()
        self._journal.append(event.name, payload, columns=columns, durable=event.durable)
        self._log_event(event.name, payload)
        if event.name == "stage_finished":
            self.publisher.request()
        self._listener(event)
        if self._watchman is not None:
            self._watchman.seen(event)

    def write(self, event: str, /, **fields: Any) -> None:
        """Write an event of the runner's own."""
        self._journal.append(event, fields)
        self._log_event(event, fields)

    def _log_event(self, event: str, fields: dict[str, Any]) -> None:
        """Into the run's log, in the words that screens use."""
        if facts_of(event).quiet:
            return
        with self._saying:
            self._said.take([Line(event, time.time(), fields, None)])
            for _, text in self._said.log:
                self.log.write(text, event=event)
            self._said.log.clear()

    def started(self) -> None:
        """Write which process runs it, where, and with what."""
        self.write(
            "run_started",
            pid=os.getpid(),
            host=environment.host(),
            boot_id=boot_id(),
            process_started=start_of(os.getpid()),
            **environment.describe(),
        )

    def end(self, **fields: Any) -> None:
        """Write how it ended; on a full disk in the room that was kept for it, and else not at all."""
        self._end = fields["state"], fields["reason"]
        if self._watchman is not None:
            self._watchman.ends(fields["state"])
        for _ in range(END_TRIES):
            try:
                self.write("run_ended", **fields)
                return
            except OSError:
                self._reserve.unlink(missing_ok=True)
                time.sleep(END_SECONDS)  # a publish that fails for want of room, too, gives its own back

    def close(self) -> None:
        """Publish what is left and let the run go."""
        self._closed.set()
        if self._pulse.is_alive():
            self._pulse.join()
        self._reserve.unlink(missing_ok=True)
        with suppress(OSError):  # on a full disk what is written is there; the next command takes it in
            self._journal.close()
        self.publisher.close()  # before the lock goes, so that nobody takes the run for dead
        self._lock.release()
        if self._watchman is not None and self._end is not None:
            self._watchman.ended(*self._end)
        self.log.close()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a full disk ends the run where it matters, not here
                self.write("heartbeat")
            if self._watchman is not None:
                self._watchman.poll()


def _clear_away(folder: Path) -> None:
    """Remove what a writer that was killed had not yet put in its place; only for whoever holds the run's lock."""
    for path in (*folder.glob(".*"), *folder.glob("*.tmp")):
        with suppress(OSError):
            path.unlink()


def _watchman(home: Home, request: RunRequest, write: Callable[..., None]) -> AlertMonitor:
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
    """Set by a signal; a second one no longer waits for the checkpoint."""

    def __init__(self, on_signal: Callable[[str], None]) -> None:
        self.signal_name: str | None = None
        self._on_signal = on_signal
        self._telling: threading.Thread | None = None

    def __call__(self) -> bool:
        return self.signal_name is not None

    def _tell(self, name: str) -> None:
        with suppress(OSError):
            self._on_signal(name)

    def _handle(self, number: int, frame: object) -> None:
        if self.signal_name is not None:
            raise KeyboardInterrupt
        self.signal_name = signal.Signals(number).name
        # In a thread: the interrupted main thread may hold the journal's lock.
        self._telling = threading.Thread(target=self._tell, args=(self.signal_name,), daemon=True)
        self._telling.start()

    @contextmanager
    def installed(self) -> Iterator[StopSwitch]:
        """Listen to the signals that ask a run to stop, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in STOP_SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            if self._telling is not None:
                self._telling.join()
