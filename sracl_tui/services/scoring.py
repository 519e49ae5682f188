"""Questions to trained models, answered by a process of its own that loads them: the app imports no torch.

`scoring_process` is the other side. A question and its answer are one line of JSON each.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import IO, Any

from engine.errors import CheckpointError
from engine.training.checkpoint_files import BEST
from store.home import Home

MODULE = "sracl_tui.services.scoring_process"


@dataclass(frozen=True)
class Neighbor:
    """A prefix of a user that is part of a synthesized sample."""

    user_id: int
    position: int
    """Of the prefix's last item, from 1."""
    weight: float


@dataclass(frozen=True)
class Question:
    """What the model of a run ranks after a history."""

    run_id: str
    history: tuple[int, ...]
    """Item numbers, oldest first."""
    items: tuple[int, ...] = ()
    """Items whose ranks are wanted."""
    k: int = 10
    neighbors: tuple[Neighbor, ...] = ()
    """Neighbors of the history; with some, the sample of them is ranked, too."""


@dataclass(frozen=True)
class NewSummary:
    """Which neighbors a prefix would have if its summary were another text."""

    run_id: str
    anchor_id: int
    text: str


@dataclass(frozen=True)
class Retrieved:
    """A neighbor that was found by another summary."""

    anchor_id: int
    similarity: float
    weight: float
    """By the run's synthesizer at the best epoch."""


@dataclass(frozen=True)
class Ranked:
    """The best items and the ranks of those that were asked for, as the run's own evaluation ranks (ties, seen items)."""

    items: tuple[int, ...]
    """The K best, best first."""
    scores: tuple[float, ...]
    ranks: dict[int, int]
    """By item."""
    own_scores: dict[int, float]
    """By item."""


@dataclass(frozen=True)
class Answer:
    """The model's ranking by h, the vector of the history, and by h+, the weighted sum of its neighbors' vectors."""

    model: Ranked
    sample: Ranked | None = None
    cosine: float | None = None
    """Of h and h+."""


class ScoringProcess:
    """The process, started with the first question; it ends with this object's owner, whose end closes its input."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self._closed = False

    def ask(self, question: Question) -> Answer:
        """Ask, and wait for the answer: seconds for the first question about a run, milliseconds for others.

        Raises:
            CheckpointError: the run has no model that can be loaded, with the reason; or the process has ended.
            OSError: it cannot be started.
        """
        return _answer(self._exchange(question), question)

    def retrieve(self, question: NewSummary) -> list[Retrieved]:
        """The neighbors, most similar first: seconds for the first text of a run, whose encoder is loaded.

        Raises:
            CheckpointError: as `ask`; or no neighbor of the run is found by its summary, or its encoder is missing here.
            OSError: the process cannot be started.
        """
        return [Retrieved(**one) for one in self._exchange(question)["neighbors"]]

    def _exchange(self, question: Question | NewSummary) -> dict[str, Any]:
        if not (self._home.run_folder(question.run_id) / BEST).exists():  # such as a run that has not finished an epoch
            raise CheckpointError(f"{question.run_id} has no trained model")
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asdict(question)) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                raise self._ended(process)
        document: dict[str, Any] = json.loads(line)
        if "error" in document:
            error = document["error"]
            raise CheckpointError(error["message"], where=error["where"], hint=error["hint"])
        return document

    def _running(self) -> subprocess.Popen[str]:
        if self._closed:
            raise CheckpointError("the app is closing")
        if self._process is None or self._process.poll() is not None:
            if self._errors is not None:
                self._errors.close()
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", MODULE, str(self._home.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        return self._process

    def _ended(self, process: subprocess.Popen[str]) -> CheckpointError:
        code = process.wait()
        assert self._errors is not None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return CheckpointError(
            f"the process that loads models has ended: {lines[-1] if lines else f'exit code {code}'}"
        )

    def close(self) -> None:
        """End the process; a question that waits fails."""
        self._closed = True
        if self._process is not None:
            self._process.kill()  # so that a question that waits does not keep the lock
        with self._lock:
            process = self._process
            if process is not None:
                process.kill()
                process.wait()
            for file in (process and process.stdin, process and process.stdout, self._errors):
                if file:
                    with suppress(OSError):
                        file.close()


def _answer(document: dict[str, Any], question: Question) -> Answer:
    sample = document["sample"]
    return Answer(
        _ranked(document["model"], question.items),
        _ranked(sample, question.items) if sample else None,
        document["cosine"],
    )


def _ranked(found: dict[str, Any], items: tuple[int, ...]) -> Ranked:
    return Ranked(
        tuple(found["items"]),
        tuple(found["scores"]),
        dict(zip(items, found["ranks"], strict=True)),
        dict(zip(items, found["own_scores"], strict=True)),
    )
