"""What is read of the machine, how often, and that no reading can end a run."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from engine.config import Config
from sracl_tui.runs import machine_use, recorder
from sracl_tui.runs.machine_use import MEMORIES, MachineUse
from sracl_tui.runs.request import RunRequest
from store.home import Home
from store.journal.journal import read_events
from tests.support.commands import until

HOLDS = "import sys; held = bytearray(b'x') * (96 << 20); print('there', flush=True); sys.stdin.read()"
BURNS = "import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end: pass\nprint('done', flush=True)"


def test_children_count_while_they_live_and_after_their_end() -> None:
    before = machine_use.run_seconds(), machine_use.run_memory()
    with subprocess.Popen([sys.executable, "-c", BURNS], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        if sys.platform == "linux":
            assert machine_use.run_seconds() - before[0] >= 0.3
        child.wait()
        assert machine_use.run_seconds() - before[0] >= 0.3
    if sys.platform != "linux":
        return
    with subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in machine_use.children()
        held = machine_use.run_memory()
        assert held is not None
        assert before[1] is not None
        assert held - before[1] > 90 << 20


def test_the_machine_is_read_from_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_use, "PROC", tmp_path)
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 888 4 5 6 70 80\ncpu0 1 2 3 4 5 6 7 8 9 10\n")
    (tmp_path / "meminfo").write_text(
        "MemTotal:  1000 kB\nMemFree: 10 kB\nMemAvailable:   400 kB\nHugePages_Total: 0\n"
    )
    monkeypatch.setattr(machine_use.os, "sysconf", lambda name: 100)
    assert machine_use.machine_seconds() == pytest.approx((100 + 20 + 30 + 4 + 5 + 6) / 100)
    assert machine_use.machine_memory() == 600 * 1024


def test_without_proc_there_are_the_processors_and_the_peak_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_use, "PROC", tmp_path / "none")
    sample = MachineUse().read(last=True)
    assert sample is not None
    assert sample["cores"] is not None
    assert sample["memory_bytes"] == machine_use.peak_memory() > 0
    assert [sample[name] for name in ("machine_cores", "machine_memory_bytes", "gpu_memory_bytes")] == [None] * 3


def test_two_days_are_about_a_thousand_samples_of_means_and_peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    now, memory = [1000.0], [0]
    monkeypatch.setattr(machine_use.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine_use, "run_seconds", lambda: 1.5 * now[0])
    monkeypatch.setattr(machine_use, "machine_seconds", lambda: None)
    monkeypatch.setattr(machine_use, "run_memory", lambda: memory[0])
    use = MachineUse(started=now[0])
    samples = []
    while now[0] < 1000 + 2 * 86400:
        now[0] += 2.0
        memory[0] = 7 if now[0] == 90_000.0 else 5
        if (sample := use.read()) is not None:
            samples.append(sample)
    assert 900 < len(samples) < 1100
    assert [sample["seconds"] for sample in samples[:101]] == [2.0 * n for n in range(1, 101)] + [204.0]
    assert {sample["cores"] for sample in samples} == {1.5}
    assert {sample["machine_cores"] for sample in samples} == {None}
    assert [sample["memory_bytes"] for sample in samples].count(7) == 1, "a peak between two samples is in one"


class _Library:
    """NVIDIA's library with one GPU."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, handle: Any) -> int:
        return 0 if uuid == b"GPU-one" else 6

    def nvmlDeviceGetUtilizationRates(self, handle: Any, found: Any) -> int:
        found._obj.gpu = 83
        return 0


def _cuda(held: list[int], **more: Any) -> Any:
    return types.SimpleNamespace(
        is_initialized=lambda: True,
        device_count=lambda: len(held),
        memory_reserved=lambda number: held[number],
        mem_get_info=lambda number: (30, 100),
        get_device_properties=lambda number: types.SimpleNamespace(uuid=("none", "one")[number]),
        **more,
    )


@pytest.mark.parametrize("library", [_Library(), None])
def test_the_gpu_is_the_one_that_torch_uses(monkeypatch: pytest.MonkeyPatch, library: Any) -> None:
    held = [0, 0]
    torch = types.SimpleNamespace(cuda=_cuda(held))
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]

    def load(name: str) -> Any:
        if library is None:
            raise OSError(name)
        return library

    monkeypatch.setattr(machine_use.ctypes, "CDLL", load)
    use = MachineUse()
    before = use.read(last=True)
    held[1] = 12
    sample = use.read(last=True)
    assert before is not None
    assert sample is not None
    assert before["gpu_memory_bytes"] is before["machine_gpu_percent"] is None
    assert (sample["gpu_memory_bytes"], sample["machine_gpu_memory_bytes"]) == (12, 70)
    assert sample["machine_gpu_percent"] == (83.0 if library else None)


def test_torch_is_never_asked_to_begin_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=types.SimpleNamespace(is_initialized=bool)))  # type: ignore[arg-type]
    assert machine_use.gpu_in_use() is None
    monkeypatch.delitem(sys.modules, "torch")
    assert machine_use.gpu_in_use() is None


def _recorder(home: Home) -> recorder.Recorder:
    home.create()
    return recorder.Recorder(home, RunRequest(run_id="r", config=Config()), listener=lambda event: None, quiet=True)


def _samples(folder: Path) -> list[dict[str, Any]]:
    return [line.fields for _, line in read_events(folder) if line.event == "machine_sampled"]


def test_a_run_is_sampled_from_its_start_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recorder, "READ_SECONDS", 0.02)
    monkeypatch.setattr(machine_use, "READ_SECONDS", 0.02)
    made = _recorder(Home(tmp_path / "home"))
    made.start()
    until(lambda: len(_samples(made.folder)) > 3, 20)
    made.end(state="finished", reason=None)
    made.close()
    samples = _samples(made.folder)
    assert [sample["seconds"] for sample in samples] == sorted({sample["seconds"] for sample in samples})
    assert all(sample["memory_bytes"] > 10 << 20 for sample in samples)
    assert set(MEMORIES) < samples[0].keys()
    names = [line.event for _, line in read_events(made.folder)]
    assert names[-2:] == ["machine_sampled", "run_ended"]
    assert "machine" not in (made.folder / "run.log").read_text()


def test_a_reading_that_fails_ends_the_sampling_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail() -> None:
        raise ZeroDivisionError("no such machine")

    monkeypatch.setattr(recorder, "READ_SECONDS", 0.02)
    monkeypatch.setattr(recorder, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(machine_use, "run_memory", fail)
    made = _recorder(Home(tmp_path / "home"))
    made.start()
    until(lambda: sum(line.event == "heartbeat" for _, line in read_events(made.folder)) > 2, 20)
    made.end(state="finished", reason=None)
    made.close()
    assert _samples(made.folder) == []
    assert (made.folder / "run.log").read_text().count("sampled no more") == 1
