"""The executor in docs/extending.md executes a run, with a Slurm of three small scripts."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.config_files import load_config
from engine.errors import EngineError
from sracl_tui.runs.execution import answers, launch, queue, registry
from sracl_tui.runs.execution.base import Alive, Exited, Handle, Unknown
from sracl_tui.runs.execution.stop import stop_run
from sracl_tui.runs.request import RunRequest
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queries.runs import find_run
from tests.support.commands import ROOT, until

SBATCH = """#!{python}
import pathlib, subprocess, sys
jobs = pathlib.Path({jobs!r})
given = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:] if "=" in word)
if given["job-name"] == "refused":
    sys.exit("sbatch: error: invalid partition")
number = len(list(jobs.glob("*.pid"))) + 1
watch = "import subprocess, sys; job = subprocess.Popen(['sh', '-c', sys.argv[2]], stdin=subprocess.DEVNULL); "
watch += "open(sys.argv[1] + '.pid', 'w').write(str(job.pid)); open(sys.argv[1] + '.code', 'w').write(str(job.wait()))"
(jobs / f"{{number}}.pid").touch()
out = open(given["output"], "ab")
subprocess.Popen([sys.executable, "-c", watch, str(jobs / str(number)), given["wrap"]], stdout=out, stderr=out, start_new_session=True)
print(number)
"""
SACCT = """#!{python}
import pathlib, sys
jobs = pathlib.Path({jobs!r})
number = next(word for word in sys.argv if word.startswith("--jobs=")).split("=")[1]
code = jobs / f"{{number}}.code"
if code.exists() and code.read_text():
    print("COMPLETED|0:0" if code.read_text() == "0" else "FAILED|" + code.read_text() + ":0")
elif (jobs / f"{{number}}.pid").exists():
    print("RUNNING|0:0")
"""
SCANCEL = """#!{python}
import os, pathlib, signal, sys
jobs = pathlib.Path({jobs!r})
if "--state=PENDING" not in sys.argv:
    os.kill(int((jobs / f"{{sys.argv[-1]}}.pid").read_text()), signal.SIGTERM if "--signal=TERM" in sys.argv else signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose runs go to the documented executor, and tools of Slurm in the path."""
    tools, jobs = tmp_path / "tools", tmp_path / "jobs"
    tools.mkdir()
    jobs.mkdir()
    for name, code in (("sbatch", SBATCH), ("sacct", SACCT), ("scancel", SCANCEL)):
        (tools / name).write_text(code.format(python=sys.executable, jobs=str(jobs)))
        (tools / name).chmod(0o755)
    page = (ROOT / "docs" / "extending.md").read_text("utf-8")
    section = re.split(r"^## ", page.partition("\n## An executor\n")[2], maxsplit=1, flags=re.M)[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", section, re.M | re.S)
    (tmp_path / "slurm.py").write_text(code)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv(registry.VARIABLE, f"{tmp_path / 'slurm.py'}:Slurm")
    home = answers.with_executors(Home(tmp_path / "home"))
    open_store(home).close()
    return home


def test_the_documented_executor_executes_lists_and_stops_a_run(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ("max_users=40", "threads=1", "epochs=9000", "patience=9000")
    config, preset = load_config(preset="backbone", assignments=small)
    handle = launch.launch(home, RunRequest(run_id="job", config=config, preset=preset))
    executor = registry.find(home, handle.executor)
    monkeypatch.setattr(type(executor), "poll_seconds", 0.05)
    assert (handle.id, executor.state(handle)) == ("1", Alive())
    folder = home.run_folder("job")
    until(lambda: any(line.event == "epoch_finished" for _, line in read_events(folder)))
    with open_store(home) as store:
        row = find_run(store, "job")
        assert (row["state"], row["handle"]) == ("running", "1")
        assert row["executor"].endswith("slurm.py:Slurm")
    done = stop_run(home, "job", wait=60.0)
    assert (done.how, done.ended, done.pid) == ("asked", True, None)
    with open_store(home) as store:
        assert find_run(store, "job")["state"] == "stopped"
    until(lambda: executor.state(handle) == Exited(code=130, reason="Slurm: failed"))
    assert executor.state(Handle(run_id="job", id="99")) == Unknown()
    assert queue.slots(home, 2) == ["slurm-0", "slurm-1"]
    with pytest.raises(EngineError, match="Slurm refused the run: sbatch: error: invalid partition"):
        launch.launch(home, RunRequest(run_id="refused", config=config, preset=preset))
    with pytest.raises(subprocess.CalledProcessError):
        executor.cancel(Handle(run_id="job", id="99"), force=True)
