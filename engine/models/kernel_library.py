"""The compiled form of kernels.c, kept in the user's folder of caches. Imports no torch: it also says what a run will compute with.

It is compiled once per machine, source and type of numbers, in some seconds, for the processor at hand. Where that cannot be done, the reason is
kept there too, and the compiler is not asked again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from engine.files import atomic_write, read_regular

SOURCE = Path(__file__).with_name("kernels.c")
SWITCH = "SRACL_KERNELS"
"""Variable of the environment; `off` leaves everything to torch's operators."""
FLAGS = ("-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared")
PATIENCE = 120.0
"""Seconds that the compiler may take."""
TYPES = ("float", "double")


class NoKernels(Exception):
    """Why there is no compiled library."""


def name() -> str:
    """What a training here computes with: `c-` and a digest of the source, or `torch` where there is no compiler, or none that can."""
    try:
        possible = not switched_off() and (_library("float").exists() or bool(_compilers()))
        possible = possible and not _failure("float").exists()
    except NoKernels:
        return "torch"
    return f"c-{_digest(SOURCE.read_bytes())[:8]}" if possible else "torch"


def switched_off() -> bool:
    """Whether the environment says so."""
    return os.environ.get(SWITCH, "").lower() in ("off", "0", "no")


def compiled(kind: str) -> Path:
    """The library for `float` or `double`, compiled now if it is not there yet.

    Raises:
        NoKernels: it is switched off, there is no compiler, it fails, or the folder cannot be written or is open to others.
    """
    if switched_off():
        raise NoKernels(f"{SWITCH} is off")
    path, failure = _library(kind), _failure(kind)
    try:
        folder = path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_owner(folder)
        if path.exists():
            _check_owner(path)
            return path
        if failure.exists():
            raise NoKernels(read_regular(failure))
        _compile(path, kind)
    except _CompilerFailed as error:
        give_up(kind, str(error))
        raise
    except OSError as error:
        raise NoKernels(f"the folder of caches cannot be used: {error}") from None
    return path


def give_up(kind: str, why: str) -> None:
    """Keep that the library cannot be used, in its place: from now on a run says that it computes with torch."""
    try:
        with atomic_write(_failure(kind)) as file:
            file.write_text(why, "utf-8")
        _library(kind).unlink(missing_ok=True)
    except OSError:  # it is tried again by the next process
        return


class _CompilerFailed(NoKernels):
    """What will not be better at the next try."""


def _compile(path: Path, kind: str) -> None:
    compilers = _compilers()
    if not compilers:
        raise NoKernels("there is no C compiler")
    with atomic_write(path) as file:
        command = [compilers[0], *FLAGS, f"-DREAL={kind}", "-o", str(file), str(SOURCE), "-lm"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise NoKernels(f"{compilers[0]} took more than {PATIENCE:.0f} s") from None
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise _CompilerFailed(f"{compilers[0]} cannot compile them: {last[0]}")
        file.chmod(0o700)


def _compilers() -> list[str]:
    named = os.environ.get("CC", "").split()
    return [found for each in (*named[:1], "cc", "gcc") if (found := shutil.which(each))]


def _check_owner(path: Path) -> None:
    """Whoever can write a library runs code as whoever loads it.

    Raises:
        NoKernels: it belongs to another user, or others may write it.
    """
    found = path.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise NoKernels(f"{path} belongs to another user or may be written by others")


def _library(kind: str) -> Path:
    return _cache() / f"kernels-{_key()}-{kind}.so"


def _failure(kind: str) -> Path:
    return _library(kind).with_suffix(".failed")


def _cache() -> Path:
    """The folder.

    Raises:
        NoKernels: the user has no home folder, as in a container that knows no such user.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "sracl"
    except RuntimeError as error:
        raise NoKernels(f"there is no folder of caches: {error}") from None


def _key() -> str:
    """Of source, flags and processor: nodes of several kinds may share a folder."""
    return _digest(SOURCE.read_bytes(), " ".join((*FLAGS, *_compilers()[:1])).encode(), _processor().encode())[:16]


def _processor() -> str:
    """What `-march=native` depends on, as far as the system tells it."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "flags", "CPU implementer", "CPU part", "Features")
    found = {"machine": platform.machine()}
    try:
        for line in read_regular(Path("/proc/cpuinfo")).splitlines():
            label, _, value = line.partition(":")
            if label.strip() in wanted:
                found.setdefault(label.strip(), value.strip())
    except (OSError, UnicodeError):
        found["name"] = platform.processor()
    return repr(sorted(found.items()))


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
