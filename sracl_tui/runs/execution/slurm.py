"""Runs as jobs of Slurm: `sracl queue start --on slurm`. Slurm's own commands are all that is needed; the home lies where the nodes see it.

A job executes `sracl run --resume RUN --no-publish`: it writes the run's folder alone, and the queue's worker, on the machine where
it was started, takes the journals in. A job that is asked to end by Slurm itself (its time is over, another job takes its place)
saves, and is put into Slurm's queue again; one whose node dies is put there by Slurm. Both continue from the last checkpoint.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time

from engine.errors import EngineError
from sracl_tui.runs.execution import cluster_file
from sracl_tui.runs.execution.base import LOG, Alive, Executor, Exited, Handle, ProcessState
from sracl_tui.runs.request import RunRequest
from store.errors import LookupFailed
from store.home import VARIABLE, Home

LIVING = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESIZING",
    "STOPPED",
)
SECONDS = 30.0
"""After which a command of Slurm is given up; the next question asks again."""
_SCRIPT = """#!/bin/bash
# SIGINT comes from `sracl stop`; SIGTERM from Slurm, which wants the place: the run saves, and waits for another turn.
run= stop= again=
trap 'stop=1; again=; [ "$run" ] && kill -TERM $run' INT
trap 'stop=1; again=1; [ "$run" ] && kill -TERM $run' TERM
{setup}
code=130
if [ ! "$stop" ]; then
    {command} &
    run=$!
    while kill -0 $run 2>/dev/null; do wait $run; code=$?; done
fi
if [ "$again" ] && [ $code = 130 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
"""


class SlurmExecutor(Executor):
    """Jobs of Slurm. One object asks for all of them at once, and keeps the answer for `poll_seconds`."""

    poll_seconds = 2.0
    waits_only = True

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._lock = threading.Lock()
        self._asked = 0.0
        self._states: dict[str, tuple[str, str]] = {}
        """State and nodes of each job that Slurm lists."""

    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Give Slurm a job; its output goes to `launch.log`."""
        settings = cluster_file.read(self.home).slurm
        words = self.command(run_id)
        if settings.setup:
            words = ["sracl", *words[words.index("sracl_tui.cli") + 1 :]]
        script = _SCRIPT.format(setup=settings.setup, command=shlex.join([*words, "--no-publish"]))
        options = [f"--partition={settings.partition}"] if settings.partition else []
        options += [
            "--parsable",
            "--requeue",
            f"--signal=B:TERM@{settings.warn_seconds}",
            f"--job-name=sracl-{run_id}",
            "--open-mode=append",
            f"--output={self.home.run_folder(run_id) / LOG}",
            f"--chdir={self.home.path}",
            *settings.options,
        ]
        done = _call("sbatch", *options, given=script, variables=self.variables(run_id))
        if done.returncode != 0:
            raise EngineError(
                f"Slurm refused the run: {_words(done)}", hint=f"{cluster_file.FILE} of the home has its options."
            )
        return Handle(run_id=run_id, id=done.stdout.strip().partition(";")[0])

    def state(self, handle: Handle) -> ProcessState:
        """What Slurm's list says, and of a job that it has forgotten, its accounting where there is one."""
        if handle.id is None:
            return Alive()  # it is being submitted
        state, _ = self._listed(handle.id)
        if not state:
            done = _call(
                "sacct", "--allocations", "--noheader", "--parsable2", f"--jobs={handle.id}", "--format=State,ExitCode"
            )
            lines = done.stdout.splitlines() if done.returncode == 0 else []
            if not lines:
                return Exited(reason="Slurm does not know its job any more")
            state, code = lines[-1].split("|")
        elif state in LIVING:
            return Alive()
        else:
            code = _field(handle.id, "ExitCode")
        return _ended(state, code)

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """SIGINT to the job's script, which hands it on; a job that waits for its turn is taken back."""
        if handle.id is None:
            raise LookupFailed(f"run {handle.run_id} is just being submitted")
        waiting = _call("scancel", "--state=PENDING", handle.id)
        done = (
            waiting
            if waiting.returncode
            else _call("scancel", *([] if force else ["--signal=INT", "--batch"]), handle.id)
        )
        with self._lock:
            self._asked = 0.0
        if done.returncode != 0 and isinstance(self.state(handle), Alive):
            raise LookupFailed(f"Slurm did not take it: {_words(done)}")

    def slots(self) -> list[str]:
        """`slurm-0` and so on, as many as `cluster.toml` allows jobs."""
        return [f"slurm-{number}" for number in range(cluster_file.read(self.home).slurm.jobs)]

    def describe(self, handle: Handle) -> str:
        """`Slurm job 4711 on n1`."""
        state, nodes = self._listed(handle.id) if handle.id else ("", "")
        where = f" on {nodes}" if nodes else f", {state.lower()}" if state else ""
        return f"Slurm job {handle.id or '?'}{where}"

    def run_elsewhere(self, words: list[str]) -> str:
        """Run `sracl` with these words on a node, and return what it prints."""
        settings = cluster_file.read(self.home).slurm
        command = self.command("")
        command = ["sracl"] if settings.setup else command[: command.index("sracl_tui.cli") + 1]
        options = [f"--partition={settings.partition}"] if settings.partition else []
        script = f"{settings.setup}\n{shlex.join([*command, *words])}"
        done = _call(
            "srun",
            "--ntasks=1",
            *options,
            "bash",
            "-c",
            script,
            variables={VARIABLE: str(self.home.path)},
            seconds=180.0,
        )
        if done.returncode != 0:
            raise EngineError(f"Slurm could not run a command on a node: {_words(done)}")
        return done.stdout

    def _listed(self, job: str) -> tuple[str, str]:
        """State and nodes of a job in Slurm's list, of which ended ones are a part for some minutes; two empty texts without it.

        Raises:
            EngineError: Slurm does not answer.
        """
        with self._lock:
            if time.monotonic() - self._asked > self.poll_seconds or job not in self._states:
                done = _call("squeue", "--all", "--states=all", "--noheader", "--format=%i|%T|%N")
                if done.returncode != 0:
                    raise EngineError(f"Slurm does not answer: {_words(done)}")
                rows = [line.split("|") for line in done.stdout.splitlines()]
                self._states = {row[0].strip(): (row[1], row[2]) for row in rows if len(row) == 3}
                self._asked = time.monotonic()
            return self._states.get(job, ("", ""))


def _ended(state: str, code: str) -> Exited:
    """How a job ended: by an exit code, a signal, or in Slurm's words. Args: code: `CODE:SIGNAL`."""
    number, _, signal = code.partition(":")
    if state.startswith(("COMPLETED", "FAILED")) and number.isdigit():
        return Exited(code=int(number), reason=None if number == "0" else f"its job ended with exit code {number}")
    if state.startswith("CANCELLED"):
        return Exited(signal="SIGKILL" if signal == "9" else "SIGTERM", reason="its job was canceled")
    words = {"OUT_OF_MEMORY": "out of memory: Slurm ended its job", "TIMEOUT": "its job's time was over"}
    return Exited(signal="SIGKILL", reason=words.get(state, f"Slurm: {state.lower().replace('_', ' ')}"))


def _field(job: str, name: str) -> str:
    words = _call("scontrol", "--oneliner", "show", "job", job).stdout.split()
    return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")


def _call(
    *words: str, given: str | None = None, variables: dict[str, str] | None = None, seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command of Slurm.

    Raises:
        EngineError: it is not installed, or does not answer.
    """
    try:
        return subprocess.run(
            words, input=given or "", capture_output=True, text=True, errors="replace", timeout=seconds,
            env={**os.environ, **(variables or {})},
        )  # fmt: skip
    except FileNotFoundError:
        raise EngineError(
            f"{words[0]} is not installed here", hint="Slurm's commands have to be in the path."
        ) from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"Slurm does not answer: {words[0]} took more than {seconds:.0f} s") from None


def _words(done: subprocess.CompletedProcess[str]) -> str:
    """What a command of Slurm said, without its name before it."""
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    return lines[-1].partition("error: ")[2] or lines[-1]
