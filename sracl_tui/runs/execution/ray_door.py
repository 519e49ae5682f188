"""The process that speaks with Ray for `ray.RayExecutor`, so that neither the app nor a command loads Ray: a line of JSON is asked, one answered.

A run is a detached actor, which outlives whoever asked for it. It starts the run's command, writes into the run's folder where that runs and
how it ended, and is no more then. Ray makes an actor whose node died anew on another one, and the run goes on from its last checkpoint.
Actors are made of this module's code alone: a node needs Ray, the home, and the command.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAMESPACE = "sracl"
STATE = "ray.json"
"""In the folder of a run: the actor, its node, the process of the run, and its exit code, as far as they are known."""
SECONDS = 60.0
"""For which the process of a node that died may live on and hold the run's lock, and for which a cluster may not answer."""


class Job:
    """What a run is to Ray. Built where the run shall be executed."""

    def __init__(self, name: str, words: Sequence[str], variables: Mapping[str, str], folder: str, log: str) -> None:
        self._name, self._folder, self._log = name, Path(folder), log
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0
        threading.Thread(target=self._run, args=(list(words), dict(variables)), daemon=True).start()

    def stop(self, force: bool) -> None:
        """SIGTERM or SIGKILL to the process."""
        self._asked += 1
        if self._process is not None:
            (self._process.kill if force else self._process.terminate)()

    def _run(self, words: list[str], variables: dict[str, str]) -> None:
        ray: Any = importlib.import_module("ray")
        before = self._read()
        code = before.get("code")
        deadline = time.monotonic() + (SECONDS if before.get("name") == self._name else 0.0)
        while code is None:
            begun = time.monotonic()
            with (self._folder / self._log).open("ab") as log:
                self._process = subprocess.Popen(
                    words, env={**os.environ, **variables}, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder
                )  # fmt: skip
            self._write(pid=self._process.pid)
            if self._asked:
                self._process.terminate()
            ended = self._process.wait()
            if ended in (0, 130) or ended < 0 or begun > deadline or self._asked:
                code = ended
            else:
                time.sleep(2.0)  # the process of the node that died may hold the run's lock still
        self._write(code=code)
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self._folder / STATE).read_text())
        return {}

    def _write(self, **fields: Any) -> None:
        before = self._read()
        if before.get("name") != self._name:
            before = {}
        aside = self._folder / f"{STATE}.new"
        aside.write_text(json.dumps({**before, "name": self._name, "node": socket.gethostname(), **fields}))
        aside.replace(self._folder / STATE)


def submit(ray: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Make an actor for a run."""
    options = {
        "name": asked["name"], "namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1,
        "num_cpus": asked["cpus"], "num_gpus": asked["gpus"], "resources": asked["resources"] or None, "max_concurrency": 2,
    }  # fmt: skip
    words = ("words", "variables", "folder", "log")
    ray.remote(Job).options(**options).remote(asked["name"], *(asked[word] for word in words))
    return {}


def alive(ray: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Whether Ray knows an actor, which waits for its turn or runs."""
    try:
        ray.get_actor(asked["name"], namespace=NAMESPACE)
    except ValueError:
        return {"alive": False}
    return {"alive": True}


def stop(ray: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Ask the run of an actor to stop; an actor that waits for its turn is taken back."""
    try:
        actor = ray.get_actor(asked["name"], namespace=NAMESPACE)
    except ValueError:
        return {"alive": False}
    try:
        ray.get(actor.stop.remote(asked["force"]), timeout=5.0)
    except ray.exceptions.GetTimeoutError:
        ray.kill(actor, no_restart=True)
        return {"waited": True}
    except ray.exceptions.RayActorError:  # it ends at this moment, or its node has died
        pass
    return {}


def run(ray: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """What a command prints on another node, where there is one."""
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    here = ray.get_runtime_context().get_node_id()
    others = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] != here]
    place = strategies.NodeAffinitySchedulingStrategy(others[0] if others else here, soft=False)
    task = ray.remote(_call).options(scheduling_strategy=place, num_cpus=0, max_retries=0)
    return ray.get(task.remote(asked["words"], asked["variables"]), timeout=180.0)


def _call(words: list[str], variables: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(words, env={**os.environ, **variables}, capture_output=True, text=True, errors="replace")
    if done.returncode:
        return {"error": f"exit code {done.returncode}: {done.stderr.strip()[-500:]}"}
    return {"printed": done.stdout}


def main() -> None:
    """Connect to the cluster with the address that is the only word, then answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints is no answer
    asked = {"submit": submit, "alive": alive, "stop": stop, "run": run}
    try:
        ray: Any = importlib.import_module("ray")
        signal.alarm(int(SECONDS))  # Ray itself waits for minutes
        _reach(sys.argv[1])
        ray.init(address=sys.argv[1], namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")
        signal.alarm(0)
    except ImportError:
        answers.write(json.dumps({"missing": True}) + "\n")
    except Exception as error:
        answers.write(json.dumps({"error": f"{type(error).__name__}: {_first(error)}"}) + "\n")
    else:
        answers.write("{}\n")
        answers.flush()
        for line in sys.stdin:
            given = json.loads(line)
            try:
                answer = asked[given.pop("do")](ray, given)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {_first(error)}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    answers.close()


def _reach(address: str) -> None:
    """Nothing, if somebody listens at HOST:PORT; an address of another kind is left to Ray."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10.0).close()


def _first(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), "no reason given")


if __name__ == "__main__":
    main()
