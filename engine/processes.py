"""The processes that share the batches of one training, as one of them sees them.

Legend: N processes, C rows of all of them together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from engine.errors import TrainingError

Found = TypeVar("Found")


class Processes:
    """One process that trains alone; engine/training/process_group.py has several.

    All methods but `span` and `sizes` are called by all processes alike, in the same order.
    """

    number: int = 0
    """From 0. Process 0 alone reports and writes."""
    count: int = 1
    """N"""

    def device(self, name: str) -> torch.device:
        """The device that `train.device` means for this process.

        Raises:
            TrainingError: CUDA is requested and there is none, or there are too few GPUs for all processes.
        """
        return pick_device(name)

    def span(self, length: int) -> slice:
        """Which of so many rows are this process's."""
        return self._span(length, self.number)

    def sizes(self, length: int) -> list[int]:
        """How many of so many rows each process has."""
        spans = [self._span(length, number) for number in range(self.count)]
        return [span.stop - span.start for span in spans]

    def _span(self, length: int, number: int) -> slice:
        each, more = divmod(length, self.count)
        first = number * each + min(number, more)
        return slice(first, first + each + (number < more))

    def gathered(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """(C, ...) the rows of all processes, of which each has so many, in order of the processes.

        The gradient of this process's rows is N times that of its own loss: it is exact where all processes compute the same loss
        of the gathered rows, and each counts an N-th of it.
        """
        return rows

    def lengths(self, length: int) -> list[int]:
        """What each process gives."""
        return [length]

    def agreed(self, *wishes: bool) -> tuple[bool, ...]:
        """Each wish, where any process has it."""
        return wishes

    def together(self, work: Callable[[], Found]) -> list[Found]:
        """What the work gives in each process; an error of one of them is raised in all."""
        return [work()]

    def shared(self, make: Callable[[], Found]) -> Found:
        """What process 0 makes."""
        return make()

    def begin(self, state: Found, model: Any, optimizers: Any, own_states: Mapping[str, Tensor]) -> Found:
        """Begin to train from where process 0 stands; its loop state.

        Args:
            own_states: `random_states` of a checkpoint; none for a training that begins.
        """
        return state

    def share_model(self, model: nn.Module) -> None:
        """Give all processes the weights of process 0."""

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes what the parts of process 0's model keep in buffers, and its random numbers."""

    def summed(self, losses: Found, optimizers: Any, updates: str) -> Found:
        """Sum gradients, and the losses of which each process has its share."""
        return losses

    def check_same_losses(self) -> None:
        """Refuse to go on where processes do not compute the same losses of the same rows: their gradients would be wrong.

        Raises:
            TrainingError: they do not.
        """

    def own_random(self) -> AbstractContextManager[Any]:
        """Draws from random numbers of this process's own, where all processes otherwise draw the same."""
        return nullcontext()

    def random_states(self) -> dict[str, Tensor]:
        """States of the generators that processes have of their own, by name in a checkpoint."""
        return {}


ALONE = Processes()


def under_torchrun() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def pick_device(name: str) -> torch.device:
    """The device that `train.device` means for a process that trains alone.

    Raises:
        TrainingError: CUDA is requested and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError("CUDA is not available here", where="train.device", hint="Use auto or cpu.")
    return torch.device(name)
