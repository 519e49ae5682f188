"""Runs as actors of Ray: `sracl queue start --on ray`, where there is a cluster of Ray and no Slurm. The home lies where the nodes see it.

As with Slurm a run executes `sracl run --resume RUN --no-publish`, and the queue's worker takes the journals in. What Ray is asked goes
through a process of its own, `ray_door`, that lives as long as this one asks.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import subprocess
import sys
import threading
from typing import Any

from engine.errors import EngineError
from sracl_tui.runs.execution import cluster_file
from sracl_tui.runs.execution.base import LOG, Alive, Executor, Exited, Handle, ProcessState
from sracl_tui.runs.execution.ray_door import STATE
from sracl_tui.runs.request import RunRequest
from store.errors import LookupFailed
from store.home import VARIABLE, Home

INSTALL = "Install it, with sracl's extra `ray` or by itself: pip install ray"


class RayExecutor(Executor):
    """Actors of Ray."""

    poll_seconds = 2.0
    waits_only = True

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._lock = threading.Lock()
        self._door: subprocess.Popen[str] | None = None

    def submit(self, run_id: str, request: RunRequest, *, slot: str | None = None) -> Handle:
        """Give Ray an actor; the run's output goes to `launch.log`."""
        settings = cluster_file.read(self.home).ray
        name = f"sracl-{run_id}-{secrets.token_hex(4)}"
        folder = self.home.run_folder(run_id)
        (folder / STATE).unlink(missing_ok=True)
        self._ask(
            "submit",
            name=name,
            words=self._words([*self.command(run_id), "--no-publish"]),
            variables=self._variables(run_id),
            folder=str(folder),
            log=LOG,
            cpus=settings.cpus,
            gpus=settings.gpus,
            resources=settings.resources,
        )
        return Handle(run_id=run_id, id=name)

    def state(self, handle: Handle) -> ProcessState:
        """What the actor wrote at its end, else whether Ray knows it still."""
        if handle.id is None:
            return Alive()  # it is being submitted
        if (code := self._told(handle).get("code")) is None and self._ask("alive", name=handle.id)["alive"]:
            return Alive()
        code = self._told(handle).get("code") if code is None else code
        if code is None:
            return Exited(signal="SIGKILL", reason="Ray does not know its actor any more")
        if code < 0:
            return Exited(
                signal="SIGKILL" if code == -9 else "SIGTERM", reason=f"its process was ended by signal {-code}"
            )
        return Exited(code=code, reason=f"its process ended with exit code {code}" if code else None)

    def cancel(self, handle: Handle, *, force: bool = False) -> None:
        """SIGTERM to the run, which saves; an actor that waits for its turn is taken back."""
        if handle.id is None:
            raise LookupFailed(f"run {handle.run_id} is just being submitted")
        self._ask("stop", name=handle.id, force=force)

    def slots(self) -> list[str]:
        """`ray-0` and so on, as many as `cluster.toml` allows runs."""
        return [f"ray-{number}" for number in range(cluster_file.read(self.home).ray.jobs)]

    def describe(self, handle: Handle) -> str:
        """`Ray actor on n1, PID 7`."""
        told = self._told(handle)
        where = f" on {told['node']}, PID {told['pid']}" if "pid" in told else ", waits for its turn"
        return f"Ray actor{where}"

    def run_elsewhere(self, words: list[str]) -> str:
        """Run `sracl` with these words on another node, and return what it prints."""
        command = self.command("")
        whole = [*command[: command.index("sracl_tui.cli") + 1], *words]
        return self._ask("run", words=self._words(whole), variables=self._variables(""))["printed"]

    def _words(self, command: list[str]) -> list[str]:
        """A command as a node executes it."""
        setup = cluster_file.read(self.home).ray.setup
        if not setup:
            return command
        return ["bash", "-c", f"{setup}\nexec {shlex.join(['sracl', *command[command.index('sracl_tui.cli') + 1 :]])}"]

    def _variables(self, run_id: str) -> dict[str, str]:
        path = os.environ.get("PYTHONPATH")
        own = self.variables(run_id) if run_id else {VARIABLE: str(self.home.path)}
        return {**({"PYTHONPATH": path} if path else {}), **own}

    def _told(self, handle: Handle) -> dict[str, Any]:
        """What the actor of a handle has written."""
        with contextlib.suppress(OSError, ValueError):
            told = json.loads((self.home.run_folder(handle.run_id) / STATE).read_text())
            if told.get("name") == handle.id:
                return told
        return {}

    def _ask(self, does: str, **fields: Any) -> dict[str, Any]:
        """An answer of Ray.

        Raises:
            EngineError: it is not installed, no cluster is there, or it could not do it.
        """
        with self._lock:
            if self._door is None or self._door.poll() is not None:
                self._door = _opened(cluster_file.read(self.home).ray.address)
            answer = _exchange(self._door, json.dumps({"do": does, **fields}))
        if "error" in answer:
            raise EngineError(f"Ray: {answer['error']}")
        return answer


def _opened(address: str) -> subprocess.Popen[str]:
    door = subprocess.Popen(
        [sys.executable, "-P", "-m", "sracl_tui.runs.execution.ray_door", address],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        answer = _exchange(door)
    except EngineError:
        answer = {"error": "it does not answer"}
    if answer.get("missing"):
        raise EngineError("Ray is not installed here", hint=INSTALL)
    if "error" in answer:
        hint = f"`ray start --head` starts a cluster; {cluster_file.FILE} of the home may name another address."
        raise EngineError(f"no cluster of Ray at {address}: {answer['error']}", hint=hint)
    return door


def _exchange(door: subprocess.Popen[str], line: str = "") -> dict[str, Any]:
    """The next answer, to a line that is written first where there is one."""
    assert door.stdin is not None
    assert door.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        if line:
            door.stdin.write(line + "\n")
            door.stdin.flush()
    answer = door.stdout.readline()
    if not answer:
        raise EngineError("Ray ended the process that speaks with it")
    return json.loads(answer)
