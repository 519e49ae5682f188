"""What a run uses of its machine: processors, memory and GPU, as the system tells it.

Linux tells everything in /proc; elsewhere, as on macOS, it is the processors and the peak memory of the process alone. Of a
GPU it is what torch holds there and, by NVIDIA's library where there is one, how busy it is. What is not told is None.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sracl_tui.runs.environment import peak_memory

READ_SECONDS = 2.0
"""Between two readings, and between the first samples."""
SAMPLES_EACH = 100
"""Samples after which the time between two doubles: some 1,000 in two days, and 100 more whenever that doubles."""
PROC = Path("/proc")


@dataclass
class MachineUse:
    """Takes readings, and gives a sample of them where one is due; to be used by one thread at a time."""

    started: float = field(default_factory=time.monotonic)
    taken: int = 0
    """Samples given so far."""
    _since: float = 0.0
    _busy: tuple[float | None, float | None] = (None, None)
    """CPU seconds of the run and of the machine at the last sample."""
    _most: dict[str, float] = field(default_factory=dict)
    """The highest readings of memory since the last sample."""
    _shares: list[float] = field(default_factory=list)
    """Readings of how busy the GPU is since the last sample, percent."""
    _gpu: Gpu | None = None

    def __post_init__(self) -> None:
        self._since = self.started
        self._busy = run_seconds(), machine_seconds()

    def read(self, *, last: bool = False) -> dict[str, float | int | None] | None:
        """Read memory and GPU, and give the sample that is due: fields of the event `machine_sampled`; None where none is.

        Args:
            last: a sample is due as the run ends.
        """
        self._take()
        due = READ_SECONDS * 2 ** (self.taken // SAMPLES_EACH)
        return self._sample() if last or time.monotonic() - self._since >= 0.99 * due else None

    def _sample(self) -> dict[str, float | int | None]:
        """What was used since the last sample."""
        now, busy = time.monotonic(), (run_seconds(), machine_seconds())
        span = max(now - self._since, 1e-3)
        cores = [
            None if old is None or new is None else round(max(0.0, new - old) / span, 3)
            for old, new in zip(self._busy, busy, strict=True)
        ]
        most, shares = self._most, self._shares
        self._since, self._busy, self._most, self._shares = now, busy, {}, []
        self.taken += 1
        return {
            "seconds": round(now - self.started, 3),
            "cores": cores[0],
            "machine_cores": cores[1],
            **{name: most.get(name) for name in MEMORIES},
            "machine_gpu_percent": round(sum(shares) / len(shares), 1) if shares else None,
        }

    def _take(self) -> None:
        found = {"memory_bytes": run_memory(), "machine_memory_bytes": machine_memory()}
        if self._gpu is None:
            self._gpu = gpu_in_use()
        if self._gpu is not None:
            held, used, share = self._gpu.read()
            found |= {"gpu_memory_bytes": held, "machine_gpu_memory_bytes": used}
            self._shares += [share] if share is not None else []
        for name, value in found.items():
            if value is not None:
                self._most[name] = max(value, self._most.get(name, 0))


MEMORIES = ("memory_bytes", "machine_memory_bytes", "gpu_memory_bytes", "machine_gpu_memory_bytes")
"""Fields of a sample that are bytes: the highest reading since the sample before."""


def run_seconds() -> float:
    """CPU seconds of this process and of its children, those that have ended included."""
    return sum(os.times()[:4]) + sum(_child_seconds(pid) for pid in children())


def machine_seconds() -> float | None:
    """CPU seconds in which any processor of the machine was busy, since it was started."""
    with suppress(OSError, ValueError, IndexError):
        words = (PROC / "stat").read_text().split("\n", 1)[0].split()
        user, nice, system, _, _, *others = map(
            int, words[1:9]
        )  # the fourth and fifth are idle; guests are in the first
        return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    return None


def run_memory() -> int | None:
    """Resident bytes of this process and its living children; without /proc the peak of this process so far."""
    own = _resident("self")
    if own is None:
        return peak_memory()
    return own + sum(_resident(str(pid)) or 0 for pid in children())


def machine_memory() -> int | None:
    """Bytes of the machine's memory that are not available for other programs."""
    with suppress(OSError, ValueError, KeyError, IndexError):
        lines = (line.split(":") for line in (PROC / "meminfo").read_text().splitlines())
        kilobytes = {name: int(rest.split()[0]) for name, rest in lines}
        return (kilobytes["MemTotal"] - kilobytes["MemAvailable"]) * 1024
    return None


def children() -> list[int]:
    """PIDs of the living children of this process, and of theirs; none where the kernel does not list them."""
    found: list[int] = []
    waiting = ["self"]
    while waiting:
        tasks = PROC / waiting.pop() / "task"
        with suppress(OSError):
            for task in os.listdir(tasks):  # a child is listed by the thread that made it
                with suppress(OSError):
                    waiting += (new := (tasks / task / "children").read_text().split())
                    found += map(int, new)
    return found


def _child_seconds(pid: int) -> float:
    with suppress(OSError, ValueError, IndexError):
        words = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _resident(pid: str) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        return int((PROC / pid / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


class Gpu:
    """A GPU on which this process has memory."""

    def __init__(self, number: int) -> None:
        """Args: number: as torch counts those that it sees."""
        import torch

        self._number, self._cuda = number, torch.cuda
        uuid = getattr(torch.cuda.get_device_properties(number), "uuid", None)
        self._nvml = None if uuid is None else _Nvml.open(f"GPU-{uuid}")

    def read(self) -> tuple[int | None, int | None, float | None]:
        """Bytes that torch holds for this process, bytes in use by anything, and how busy it is, percent."""
        held = used = None
        with suppress(RuntimeError, OSError):
            held = self._cuda.memory_reserved(self._number)
            free, total = self._cuda.mem_get_info(self._number)
            used = total - free
        return held, used, None if self._nvml is None else self._nvml.percent()


def gpu_in_use() -> Gpu | None:
    """The GPU on which torch holds most memory; none while it has not begun to use one. Never begins to use one itself."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)  # it may be half imported by another thread
    if cuda is None or not hasattr(cuda, "is_initialized") or not cuda.is_initialized():
        return None
    with suppress(RuntimeError, OSError):
        held = [cuda.memory_reserved(number) for number in range(cuda.device_count())]
        if any(held):
            return Gpu(held.index(max(held)))
    return None


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Nvml:
    """NVIDIA's management library, which comes with the driver: how busy a GPU is."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def open(cls, uuid: str) -> _Nvml | None:
        """Of the GPU with this ID; none where there is no such library, or it does not know the GPU."""
        with suppress(OSError, AttributeError):
            library, handle = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.c_void_p()
            if library.nvmlInit_v2() == 0:
                found = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
                return cls(library, handle) if found == 0 else None
        return None

    def percent(self) -> float | None:
        """Share of the last second or so in which it computed; none where it does not say, as for a part of a GPU."""
        found = _Utilization()
        with suppress(AttributeError):
            if self._library.nvmlDeviceGetUtilizationRates(self._handle, ctypes.byref(found)) == 0:
                return float(found.gpu)
        return None
