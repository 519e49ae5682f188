"""Starts the other processes of a training, or meets those that torchrun has started; and what they do.

The process of the run is process 0. It gives the others settings, data set and vectors, by memory and not by files, and they have nothing
of the home. Each of them ends when process 0 has ended, however that was: the pipe that it holds closes.

Legend: N processes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch

from engine.config import Config
from engine.data.dataset import Dataset
from engine.errors import ConfigError, EngineError, TrainingError
from engine.methods.semantics import Semantics
from engine.processes import under_torchrun
from engine.training.process_group import ProcessGroup
from engine.training.trainer import Stopped, Trainer
from engine.training.transport import TIMEOUT, ProcessLost, Transport, dist

READY_SECONDS = 300.0
"""Until all processes have imported what they need."""
END_SECONDS = 10.0
"""Until a process has ended that has nothing left to do."""
POLL_SECONDS = 0.05
RESUME = "Every saved step is kept: sracl run --resume RUN goes on from there."


def check(config: Config) -> None:
    """Refuse another number of processes than torchrun has started, and more of them than there are GPUs.

    Raises:
        ConfigError: with the reason.
    """
    count, device = config.train.processes, config.train.device
    here = int(os.environ["LOCAL_WORLD_SIZE"]) if under_torchrun() else count
    if under_torchrun() and (others := int(os.environ["WORLD_SIZE"])) != count:
        raise ConfigError(
            f"torchrun has started {others} processes, and the setting is {count}",
            where="train.processes",
            hint=f"Add --set processes={others}.",
        )
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return
    gpus = 1 if ":" in device else torch.cuda.device_count()
    if gpus < here:
        raise ConfigError(
            f"{here} processes want a GPU each, and train.device = {device} means {gpus}",
            where="train.processes",
            hint="Use train.device = cpu, or as many processes as there are GPUs.",
        )


@dataclass(frozen=True)
class Work:
    """What process 0 gives the others."""

    config: dict[str, Any]
    config_hash: str
    dataset: Dataset
    semantics: Semantics | None
    threads: int


@contextmanager
def started(config: Config, dataset: Dataset, semantics: Semantics | None) -> Iterator[ProcessGroup]:
    """The processes of a training, of which this one is process 0, until the block ends; they train as this one does.

    Raises:
        TrainingError: another process ends before its time, with the reason as far as it is known; in the block, too.
    """
    count = config.train.processes
    before = torch.get_num_threads()
    own = before if under_torchrun() else max(1, before // count)
    work = Work(config.model_dump(mode="json"), config.config_hash(), dataset, semantics, config.train.threads or own)
    torch.set_num_threads(work.threads)
    try:
        with _met() if under_torchrun() else _children(count) as group:
            group.shared(lambda: work)
            yield group
    finally:
        torch.set_num_threads(before)


@contextmanager
def _children(count: int) -> Iterator[ProcessGroup]:
    """This process and N - 1 that it starts."""
    with tempfile.TemporaryDirectory(prefix="sracl-processes-") as name:
        folder = Path(name)
        children = [_Child(folder, number, count) for number in range(1, count)]
        try:
            store = dist.FileStore(str(folder / "store"), count)
            _wait_for(children, store)
            with _joined(store, 0, count, local=0) as group:
                yield group
        except ProcessLost as error:
            raise TrainingError(_reason(children, error), where="train.processes", hint=RESUME) from error
        finally:
            for child in children:
                child.close()


class _Child:
    """A process that this one has started."""

    def __init__(self, folder: Path, number: int, count: int) -> None:
        self.number, self.count = number, count
        self._log = folder / f"{number}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine.training.workers", str(folder / "store"), str(number), str(count)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # ctrl+c is for process 0, which agrees with the others when to stop
            )

    def ended(self, seconds: float = 0.0) -> bool:
        """Whether it has ended, or does so within some seconds, otherwise than it should."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds) != 0
        return False

    @property
    def began_it(self) -> bool:
        """Whether it has ended for another reason than that others have."""
        return self._process.returncode < 0 or ProcessLost.__name__ not in self._log.read_text("utf-8", "replace")

    def reason(self) -> str:
        """How it has ended."""
        code = self._process.returncode
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        how = f"was killed by signal {-code} ({signal.Signals(-code).name})" if code < 0 else "failed"
        said = f": {lines[-1]}" if lines and code > 0 else ""
        return f"process {self.number} of {self.count} (PID {self._process.pid}) {how}{said}"

    def close(self) -> None:
        """Let it end, or make it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _reason(children: list[_Child], error: ProcessLost) -> str:
    """Why another process cannot be reached, by the first of those that have ended of themselves."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        ended = [child for child in children if child.ended()]
        if found := next((child for child in ended if child.began_it), None):
            return found.reason()
        if len(ended) == len(children) or time.monotonic() > deadline:
            return ended[0].reason() if ended else error.message
        time.sleep(POLL_SECONDS)


def _wait_for(children: list[_Child], store: Any) -> None:
    deadline = time.monotonic() + READY_SECONDS
    for child in children:
        while not store.check([f"ready {child.number}"]):
            if child.ended():
                raise TrainingError(child.reason(), where="train.processes")
            if time.monotonic() > deadline:
                raise TrainingError(f"process {child.number} does not start", where="train.processes")
            time.sleep(POLL_SECONDS)


@contextmanager
def _met() -> Iterator[ProcessGroup]:
    """This process and those that torchrun has started, one training after another."""
    store, number, count = _meeting()
    session = store.add("sessions", 1)
    store.set(f"session {session}", "train")
    local = int(os.environ["LOCAL_RANK"])
    with _joined(dist.PrefixStore(f"{session}", store), number, count, local=local) as group:
        yield group


@cache
def _meeting() -> tuple[Any, int, int]:
    """torchrun's store, the number of this process, and N."""
    store, number, count = next(dist.rendezvous("env://", timeout=TIMEOUT))
    return dist.PrefixStore("sracl", store), number, count


def end_torchrun() -> None:
    """Let the other processes of torchrun end: process 0 has no training for them any more."""
    store, _, _ = _meeting()
    store.set(f"session {store.add('sessions', 1)}", "end")


@contextmanager
def _joined(store: Any, number: int, count: int, *, local: int) -> Iterator[ProcessGroup]:
    """The processes that meet in a store."""
    gpu = torch.cuda.is_available() and dist.is_nccl_available()
    loopback = int(os.environ.get("LOCAL_WORLD_SIZE", count)) == count
    transport = Transport(store, number, count, gpu=gpu, loopback=loopback)
    try:
        yield ProcessGroup(transport, number, count, local=local)
    finally:
        transport.close()


def _train(group: ProcessGroup, stop: Any) -> None:
    """Train as process 0 does, to the same end."""
    work: Work = group.shared(lambda: None)  # pyright: ignore[reportAssignmentType]
    torch.set_num_threads(work.threads)
    config = Config.model_validate(work.config)
    if config.config_hash() != work.config_hash:
        raise TrainingError("code of your own that the settings name was changed while the run began")
    with suppress(Stopped):
        Trainer(
            config, work.dataset, work.semantics, folder=Path(), report=lambda event: None, stop=stop, processes=group
        ).run()


class _Asked:
    """True after a signal that asks to stop: all processes hear of it."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def _end_with_parent(folder: Path) -> threading.Thread:
    """Has a thread end this process when process 0 has ended, whatever it is doing, and remove what that one has left."""
    parent = os.getppid()

    def wait() -> None:
        os.read(0, 1)  # not of `sys.stdin`, whose lock would abort a program that ends meanwhile
        time.sleep(POLL_SECONDS)
        if os.getppid() != parent:
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(END_SECONDS / 2)  # it may be about to end by itself
        os._exit(1)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def main(path: str, number: int, count: int) -> None:
    """One process of a training that process 0 has started."""
    watching = _end_with_parent(Path(path).parent)
    stop = _Asked()
    store = dist.FileStore(path, count)
    store.set(f"ready {number}", "")
    try:
        with _joined(store, number, count, local=number) as group:
            _train(group, stop)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}".replace("\n", " ") + "\n")
        watching.join(1.0)
        raise SystemExit(1) from error


def serve_torchrun() -> None:
    """A process that torchrun has started beside process 0: take part in its trainings until it has no more."""
    stop = _Asked()
    store, number, count = _meeting()
    session = 1
    while _next_of(store, session) == "train":
        prefix, local = dist.PrefixStore(f"{session}", store), int(os.environ["LOCAL_RANK"])
        try:
            with _joined(prefix, number, count, local=local) as group:
                _train(group, stop)
        except ProcessLost:  # process 0 tells why, and may have another training
            pass
        except EngineError as error:
            sys.stderr.write(f"process {number} of {count}: {error}\n")
        session += 1


def _next_of(store: Any, session: int) -> str:
    """What process 0 begins next; it may be at summaries for hours before."""
    while True:
        with suppress(dist.DistStoreError):
            store.wait([f"session {session}"], timedelta(minutes=1))
            return store.get(f"session {session}").decode()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
