"""The library is compiled once, for this machine, in a folder that is the user's alone; where it cannot be, it is said why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from engine.models import kernel_library as library
from engine.models import kernels
from engine.models.kernel_library import NoKernels, compiled, name


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv(library.SWITCH, raising=False)
    return tmp_path / "caches" / "sracl"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that is a script; what it is called with goes to a file beside it."""
    path = tmp_path / "compiler"
    path.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\necho "kernels.c: no such instruction" >&2\nexit 1\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    return path


def test_it_is_compiled_once(cache: Path) -> None:
    if not library._compilers():
        pytest.skip("there is no C compiler")
    assert name().startswith("c-")
    path = compiled("float")
    made = path.stat()
    assert path.parent == cache
    assert cache.stat().st_mode & 0o777 == 0o700
    assert compiled("float") == path
    assert path.stat().st_mtime_ns == made.st_mtime_ns
    assert [each.name for each in cache.iterdir()] == [path.name]


def test_a_compiler_that_fails_is_asked_once(cache: Path, compiler: Path, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(NoKernels, match="no such instruction"):
            compiled("float")
    assert len((tmp_path / "called").read_text().splitlines()) == 1
    assert name() == "torch"
    found, why = kernels._loaded.__wrapped__(torch.float32)
    assert found is None
    assert "no such instruction" in why


def test_a_compiler_that_hangs_is_left(cache: Path, compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler.write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(library, "PATIENCE", 0.2)
    with pytest.raises(NoKernels, match="took more than"):
        compiled("float")
    assert list(cache.iterdir()) == []


def test_a_library_that_is_none_is_not_loaded(cache: Path, compiler: Path) -> None:
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nonsense > "$2"\n')
    found, why = kernels._loaded.__wrapped__(torch.float32)
    assert found is None
    assert why.startswith("they cannot be loaded")
    assert name() == "torch"
    with pytest.raises(NoKernels, match="cannot be loaded"):
        compiled("float")


def test_a_library_that_computes_wrongly_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not library._compilers():
        pytest.skip("there is no C compiler")
    monkeypatch.setattr(kernels, "_agrees", lambda *_: False)
    found, why = kernels._loaded.__wrapped__(torch.float32)
    assert found is None
    assert "do not compute what they should" in why
    assert name() == "torch"
    assert [path.suffix for path in cache.iterdir()] == [".failed"]


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_others_may_write_is_not_loaded(cache: Path, compiler: Path, what: str) -> None:
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ntouch "$2"\n')
    path = compiled("float")
    (cache if what == "folder" else path).chmod(0o777)
    with pytest.raises(NoKernels, match="may be written by others"):
        compiled("float")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_folder_that_cannot_be_written(cache: Path) -> None:
    cache.parent.mkdir(mode=0o500)
    with pytest.raises(NoKernels, match="folder of caches"):
        compiled("float")


def test_a_file_in_the_place_of_the_folder(cache: Path) -> None:
    cache.parent.write_text("")
    with pytest.raises(NoKernels, match="folder of caches"):
        compiled("float")


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", home)
    assert name() == "torch"
    with pytest.raises(NoKernels, match="no folder of caches"):
        compiled("float")


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert name() == "torch"
    with pytest.raises(NoKernels, match="no C compiler"):
        compiled("float")


def test_switched_off(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SWITCH, "off")
    assert name() == "torch"
    assert kernels.kernels_for(torch.zeros(1)) is None
    with pytest.raises(NoKernels, match="is off"):
        compiled("float")
    assert not cache.exists()
