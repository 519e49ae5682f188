"""The wheel: built from a clean copy of the checkout, it holds what the program needs and runs without the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from sracl_tui.version import __version__
from tests.support.commands import ROOT

PACKAGES = ("engine", "store", "sracl_tui")


def run(*words: str | Path, folder: Path) -> str:
    """Standard output of a command that must succeed, in `folder`, with nothing of the checkout on Python's path."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    environment["SRACL_HOME"] = str(folder / "home")
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def pip(*words: str | Path, folder: Path) -> None:
    run(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--quiet", *words, folder=folder)


def files_of_the_checkout() -> list[Path]:
    """What Git tracks; in an unpacked archive, which has no index, the packages and the files beside them."""
    if shutil.which("git"):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
        tracked = [Path(name) for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
        if tracked:
            return tracked
    found = [*ROOT.iterdir(), *(path for package in PACKAGES for path in (ROOT / package).rglob("*"))]
    return [path.relative_to(ROOT) for path in found if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout as a clone would have it: without caches and builds, free to be built in."""
    folder = tmp_path_factory.mktemp("source")
    for name in files_of_the_checkout():
        if name.parts[0] in PACKAGES or len(name.parts) == 1:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def in_packages(source: Path) -> set[str]:
    """Paths of every file of the packages, read before the build adds its own."""
    return {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def wheel(source: Path, in_packages: set[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with the setuptools of this environment, so that no network is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    said = run(sys.executable, "-c", f"import sys; sys.stderr = sys.stdout; {code}", folder=source)
    (folder / "build.log").write_text(said, "utf-8")
    (built,) = folder.glob("*.whl")
    return built


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it; the dependencies are lent by the environment of the tests."""

    folder: Path
    site: Path

    def run(self, command: str, *words: str | Path) -> str:
        return run(self.folder / "bin" / command, *words, folder=self.folder)


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-index", "--no-deps", wheel, folder=folder)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip())
    # Folders that a .pth file names come after `site`, and their own .pth files, such as that of an editable
    # installation of the checkout, are not read.
    lent = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site / "dependencies.pth").write_text("\n".join(lent), "utf-8")
    return Installation(folder, site)


def metadata(wheel: Path) -> tuple[Message, list[str]]:
    """METADATA of the wheel and the paths of its other metadata files, relative to `.dist-info`."""
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        folder = path.removesuffix("METADATA")
        others = [name.removeprefix(folder) for name in archive.namelist() if name.startswith(folder)]
        return Parser().parsestr(archive.read(path).decode()), others


EXTRAS = {"keyring": "keyring", "ray": "ray", "plots": "matplotlib.figure", "faiss": "faiss", "docs": "properdocs"}
"""What the program imports of each extra that people install."""


def test_the_wheel_declares_every_extra_and_pins_are_known(wheel: Path) -> None:
    declared, _ = metadata(wheel)
    assert set(declared.get_all("Provides-Extra") or ()) == {*EXTRAS, "dev"}
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))
    for line in declared.get_all("Requires-Dist") or ():
        name = re.split(r"[^\w.-]", line)[0]
        assert name.lower() in {one.lower() for one in pinned}, f"constraints.txt has no version of {line}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_can_be_imported(extra: str) -> None:
    if importlib.util.find_spec(EXTRAS[extra].partition(".")[0]) is None:
        pytest.skip(f"the extra {extra} is not installed")
    run(sys.executable, "-c", f"import {EXTRAS[extra]}", folder=ROOT)


def test_the_build_warns_of_nothing_in_the_packages(wheel: Path) -> None:
    """Folders of SQL, settings and styles are packages to setuptools, which warns of those that it is not told of."""
    said = (wheel.parent / "build.log").read_text("utf-8")
    assert "creating" in said
    assert "would be ignored" not in said


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path, in_packages: set[str]) -> None:
    assert {Path(name).suffix for name in in_packages} >= {".py", ".toml", ".sql", ".tcss", ".c"}
    names = set(zipfile.ZipFile(wheel).namelist())
    held = {name for name in names if ".dist-info/" not in name}
    assert in_packages - held == set(), "package-data in pyproject.toml leaves these out"
    assert held - in_packages == set(), "tests, benchmarks and builds stay out"


def test_the_wheel_carries_its_license_and_metadata(wheel: Path) -> None:
    fields, files = metadata(wheel)
    assert fields["Version"] == __version__
    assert fields["License-Expression"] == "MIT"
    assert fields["Author"] == "the sracl authors"
    assert fields["Description-Content-Type"] == "text/markdown"
    assert "licenses/LICENSE" in files
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        assert archive.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_installed_commands_start_and_find_their_presets(alone: Installation, in_packages: set[str]) -> None:
    assert alone.run("sracl", "--version").strip() == f"sracl {__version__}"
    assert alone.run("sracl-tui", "--version").strip() == f"sracl-tui {__version__}"
    listed = {line.split()[0] for line in alone.run("sracl", "run", "--presets").splitlines()}
    assert listed == {Path(name).stem for name in in_packages if re.search(r"/presets/[^/]+\.toml$", name)}


def test_an_installed_package_is_read_from_its_own_folder(alone: Installation) -> None:
    code = f"import sys, {', '.join(PACKAGES)}\nfor name in {PACKAGES}: print(sys.modules[name].__file__)"
    found = alone.run("python", "-c", code).splitlines()
    assert [Path(line) for line in found] == [alone.site / name / "__init__.py" for name in PACKAGES]


def test_the_installed_command_creates_a_store_by_its_migrations(alone: Installation, in_packages: set[str]) -> None:
    steps = sorted(Path(name).stem for name in in_packages if name.endswith(".sql"))
    both = "SELECT version, name FROM schema_version UNION ALL SELECT version, name FROM vectors.schema_version"
    rows = json.loads(alone.run("sracl", "sql", "--format", "json", both))
    assert sorted(f"{row['version']:04d}_{row['name']}" for row in rows) == steps


def test_the_installed_app_draws_a_screen_as_the_checkout_does(alone: Installation) -> None:
    """With a style sheet missing it would draw the screen all the same, but otherwise."""
    drawing = ("--screenshot", "runs", "--home", alone.folder / "home", "--out")
    alone.run("sracl-tui", *drawing, "installed.svg")
    start = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from sracl_tui.__main__ import main; main()"
    run(sys.executable, "-P", "-c", start, *drawing, "checkout.svg", folder=alone.folder)
    installed = (alone.folder / "installed.svg").read_text("utf-8")
    assert "</svg>" in installed
    assert installed == (alone.folder / "checkout.svg").read_text("utf-8")


def test_the_citation_agrees_with_the_program() -> None:
    text = (ROOT / "CITATION.cff").read_text("utf-8")
    cited = dict(re.findall(r"^([a-z-]+): (\S.*)$", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == __version__
    assert cited["license"] == project["license"]
    assert project["urls"]["Paper"] in text
    for author in project["authors"]:
        assert f"- name: {author['name']}" in text
