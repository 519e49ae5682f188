"""Every figure by name: what it needs, and how it is made. A new figure is a module here, one in `drawing`, and an entry."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import ConfigError
from sracl_tui.services.figures.options import FigureOptions
from store.atomic_write import atomic_write

if TYPE_CHECKING:
    from store.database.database import Store

FORMATS = ("svg", "pdf", "png")
EXTRA = "pip install matplotlib, which is the extra `plots` of sracl-tui"


@dataclass(frozen=True)
class FigureKind:
    """A figure that can be written."""

    about: str
    needs: str
    """What has to be named for it."""
    module: str
    """In this folder: its `collect` reads the data."""
    drawing: str
    """Module and function in `drawing`."""
    options: frozenset[str]
    """Fields of FigureOptions that it takes."""
    one_run: bool = False

    def collect(self, store: Store, names: Sequence[str], options: FigureOptions) -> Any:
        """The data of the figure.

        Raises:
            ConfigError: the runs do not have what it needs; the message says what.
            LookupFailed: a name is neither a run nor a group.
        """
        found: Callable[..., Any] = importlib.import_module(f"{__package__}.{self.module}").collect
        return found(store, names, options)


FIGURES = {
    "forest": FigureKind(
        "differences from the baseline with their intervals, a row per configuration",
        "runs of two or more configurations, such as a group with a backbone",
        "forest",
        "intervals.forest",
        frozenset({"metric", "split", "baseline"}),
    ),
    "k-curve": FigureKind(
        "a metric over the number of neighbors k, with its interval over seeds",
        "a group of several k: sracl run --vary k=1,5,10 --seeds 3 --group NAME",
        "k_curve",
        "intervals.k_curve",
        frozenset({"metric", "split", "baseline"}),
    ),
    "epochs": FigureKind(
        "a validation metric or loss by epoch: mean and spread over seeds",
        "runs or groups that have trained",
        "epochs",
        "epochs.epochs",
        frozenset({"metric"}),
    ),
    "weights": FigureKind(
        "learned weight against similarity, over all users",
        "one run with neighbors",
        "weights",
        "neighbors.weights",
        frozenset(),
        one_run=True,
    ),
    "user": FigureKind(
        "the neighbors of one user: similarity and weight beside each other",
        "one run with neighbors, and --user",
        "user",
        "neighbors.user",
        frozenset({"user"}),
        one_run=True,
    ),
    "map": FigureKind(
        "the users' vectors with and without the module; of one configuration h and h+",
        "runs of one configuration or two, on the same data",
        "vector_map",
        "maps.vector_map",
        frozenset(),
    ),
    "cost": FigureKind(
        "seconds, memory or dollars against the gain over the baseline",
        "runs of two or more configurations, such as a group with a backbone",
        "cost",
        "intervals.cost",
        frozenset({"metric", "split", "baseline", "cost"}),
    ),
}


def listed() -> str:
    """A line for each figure: its name, what it shows, what it needs."""
    return "\n".join(f"{name}: {kind.about}. Needs {kind.needs}." for name, kind in FIGURES.items())


def check(name: str, names: Sequence[str], options: FigureOptions, path: Path) -> FigureKind:
    """The figure of a name, before anything is read.

    Raises:
        ConfigError: there is no such figure, file ending, or option of it, or matplotlib is missing.
    """
    kind = FIGURES.get(name)
    if kind is None:
        raise ConfigError(f"there is no figure {name!r}", where="--figure", hint=f"There are:\n{listed()}")
    if path.suffix.lower().removeprefix(".") not in FORMATS:
        raise ConfigError(
            f"{path.name} does not say the format of a figure", where="--out", hint="End it with .svg, .pdf or .png."
        )
    if kind.one_run and len(names) != 1:
        raise ConfigError(f"the figure {name} is of one run; these are {len(names)}", where=f"--figure {name}")
    foreign = [option for option in options.given() if option not in kind.options]
    if foreign:
        takes = ", ".join(f"--{option}" for option in sorted(kind.options)) or "no option"
        raise ConfigError(
            f"the figure {name} takes no --{foreign[0]}", where=f"--{foreign[0]}", hint=f"It takes {takes}."
        )
    require_matplotlib()
    return kind


def require_matplotlib() -> None:
    """Check that figures can be drawn, without importing anything heavy.

    Raises:
        ConfigError: matplotlib is not installed; the hint is the command.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError("figures are drawn by matplotlib, which is not installed", where="--figure", hint=EXTRA)


def write(store: Store, name: str, names: Sequence[str], options: FigureOptions, path: Path) -> None:
    """Write a figure as the path's ending says.

    Raises:
        ConfigError: as `check` and the figure's `collect` say, or the file cannot be written.
        LookupFailed: a name is neither a run nor a group.
    """
    kind = check(name, names, options, path)
    write_drawn(kind.drawing, kind.collect(store, names, options), path)


def write_drawn(drawing: str, data: Any, path: Path) -> None:
    """Write data of a figure as the path's ending says.

    Args:
        drawing: module and function in `drawing`.

    Raises:
        ConfigError: the file cannot be written.
    """
    content = drawn(drawing, data, path.suffix.lower().removeprefix("."))
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror or error}", where=str(path)) from None


def drawn(drawing: str, data: Any, format_: str) -> bytes:
    """A figure's file, the same for the same data.

    Args:
        drawing: module and function in `drawing`.
        format_: one of FORMATS.
    """
    from sracl_tui.services.figures.drawing import style

    module, _, function = drawing.partition(".")
    draw = getattr(importlib.import_module(f"{__package__}.drawing.{module}"), function)
    return style.render(draw, data, format_)
