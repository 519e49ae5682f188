"""Which studies there are: those that are shipped, and those of a home."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from engine.errors import ConfigError
from sracl_tui.runs import own_code
from sracl_tui.studies.definition import Study
from sracl_tui.studies.parsing import read_study
from store.home import Home

SHIPPED = Path(__file__).with_name("shipped")
FOLDER = "studies"
"""Folder of a home with a person's own studies."""


@dataclass(frozen=True)
class StudyFile:
    """A study's file; it may not be readable."""

    name: str
    path: Path
    shipped: bool


def study_files(home: Home) -> list[StudyFile]:
    """The files of the shipped studies in the order in which a newcomer needs them, then those of the home by name."""
    order = ("quick", "sracl-paper", "baselines", "backbones")
    shipped = sorted(SHIPPED.glob("*.toml"), key=lambda path: (path.stem not in order, path.stem))
    shipped.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    own = sorted((home.path / FOLDER).glob("*.toml"))
    return [StudyFile(path.stem, path, True) for path in shipped] + [
        StudyFile(path.stem, path, False) for path in own if not path.name.startswith(".")
    ]


def find_study(home: Home, name: str) -> Study:
    """The study of a name, or of a path that ends in `.toml`, with the code that it names where the file is one's own.

    Raises:
        ConfigError: there is no such study, two files have the name, or the file is not valid.
    """
    if name.endswith(".toml"):
        own_code.allow_settings(home, Path(name))
        study = read_study(Path(name).expanduser())
        other = [file for file in study_files(home) if file.name == study.name and not file.path.samefile(study.path)]
        if other:
            raise _two(study.name, study.path, other[0].path)
        inside = any(file.name == study.name for file in study_files(home))
        return study if inside else replace(study, reference=name)
    files = study_files(home)
    found = [file for file in files if file.name == name]
    if not found:
        names = [file.name for file in files]
        close = get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Studies: {', '.join(names)}; or the path of a .toml file."
        raise ConfigError(f"there is no study {name!r}", where="STUDY", hint=hint)
    if len(found) > 1:
        raise _two(name, found[1].path, found[0].path)
    own_code.allow_settings(home, found[0].path)
    return read_study(found[0].path)


def _two(name: str, own: Path, other: Path) -> ConfigError:
    return ConfigError(
        f"{other} is also called {name!r}, and verdicts are kept by name",
        where=str(own),
        hint="Rename the file.",
    )
