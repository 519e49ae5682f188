"""What processes send each other: gloo for tensors of the CPU and for values, NCCL for tensors of GPUs.

Torch's backends are used without its default process group, which is one for the whole program, and listens on every network.

Legend: N processes, C rows of all of them together.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor

from engine.errors import TrainingError

dist: Any = torch.distributed
"""Torch exports more of it than it declares."""
TIMEOUT = timedelta(minutes=30)
"""How long the others may be at something else, such as a checkpoint of process 0; a process that ends is noticed at once."""
LOOPBACK = "127.0.0.1"
Call = TypeVar("Call", bound=Callable[..., Any])


class ProcessLost(TrainingError):
    """Another process of the training has ended, or cannot be reached."""


def _collective(method: Call) -> Call:
    """Turn what torch raises where another process has gone into a `ProcessLost`."""

    @wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except RuntimeError as error:
            text = (str(error).splitlines() or [type(error).__name__])[0]
            raise ProcessLost(f"another process of the training cannot be reached: {text}") from error

    return call  # pyright: ignore[reportReturnType]


class Transport:
    """Calls that all processes make alike, in the same order."""

    @_collective
    def __init__(self, store: Any, number: int, count: int, *, gpu: bool, loopback: bool) -> None:
        """Meet the others.

        Args:
            store: where all of them meet.
            gpu: tensors of GPUs are sent, too.
            loopback: all are on this machine, and nothing is open to others.

        Raises:
            ProcessLost: they are not there.
        """
        self._number, self._count = number, count
        options = dist.ProcessGroupGloo._Options()
        host = {"hostname": LOOPBACK} if loopback else {}
        options._devices = [dist.ProcessGroupGloo.create_device(**host)]
        options._timeout = TIMEOUT
        self._gloo = dist.ProcessGroupGloo(dist.PrefixStore("gloo", store), number, count, options)
        self._nccl = None
        if gpu:
            wanted = dist.ProcessGroupNCCL.Options()
            wanted._timeout = TIMEOUT
            self._nccl = dist.ProcessGroupNCCL(dist.PrefixStore("nccl", store), number, count, wanted)

    def _of(self, tensor: Tensor) -> Any:
        return self._gloo if tensor.device.type == "cpu" else self._nccl

    @_collective
    def join(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """(C, ...) the rows of all processes, of which each has so many."""
        most = max(sizes)
        if len(rows) < most:
            padded = rows.new_zeros(most, *rows.shape[1:])
            padded[: len(rows)] = rows
            rows = padded
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in sizes]
        self._of(rows).allgather([parts], [rows.contiguous()]).wait()
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @_collective
    def sum(self, values: Tensor) -> None:
        """Replace values by their sums over all processes."""
        self._of(values).allreduce([values]).wait()

    def every(self, value: Any) -> list[Any]:
        """What each process gives."""
        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        sizes = self.join(torch.tensor([len(data)]), [1] * self._count).tolist()
        return [pickle.loads(part.numpy().tobytes()) for part in self.join(data, sizes).split(sizes)]

    @_collective
    def first(self, value: Any) -> Any:
        """What process 0 gives."""
        data = torch.empty(0, dtype=torch.uint8)
        if self._number == 0:
            data = torch.frombuffer(bytearray(pickle.dumps(value, protocol=5)), dtype=torch.uint8)
        size = torch.tensor([len(data)])
        self._gloo.broadcast([size], dist.BroadcastOptions()).wait()
        if self._number:
            data = torch.empty(int(size), dtype=torch.uint8)
        self._gloo.broadcast([data], dist.BroadcastOptions()).wait()
        return value if self._number == 0 else pickle.loads(data.numpy().data)

    def close(self) -> None:
        """Leave the others."""
        self._gloo.shutdown()
        if self._nccl is not None:
            self._nccl.shutdown()
