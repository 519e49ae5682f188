"""What the shell completes: names of runs, groups, data sets, presets, methods, studies and settings.

A completion never fails and never prints: without a home, or with one that cannot be read now, nothing is offered. It reads what
is published and takes nothing in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, get_type_hints

import typer
from typer.models import ParameterInfo

from store.home import Home

ASKED = "_SRACL_COMPLETE"
"""The environment variable by which the shell's script asks for completions."""

MOST = 200
"""Newest runs that are offered: a person types the first letters of others."""
Given = ParamSpec("Given")


def _quiet(found: Callable[Given, Iterable[Any]]) -> Callable[Given, list[Any]]:
    @wraps(found)
    def complete(*given: Given.args, **named: Given.kwargs) -> list[Any]:
        with suppress(Exception):
            return list(found(*given, **named))
        return []

    return complete


def _home(context: Any) -> Home | None:
    """The home that the words so far name, if it has a database."""
    named: Path | None = context.params.get("home")
    home = Home.resolve(named)
    return home if home.database.exists() else None


@_quiet
def run_names(ctx: Any, incomplete: str) -> Iterable[tuple[str, str]]:
    """Names and ids of runs with what they are, newest first; `last`."""
    return _runs(ctx, incomplete, groups=False)


@_quiet
def run_and_group_names(ctx: Any, incomplete: str) -> Iterable[tuple[str, str]]:
    """The same, and names of groups."""
    return _runs(ctx, incomplete, groups=True)


def _runs(ctx: Any, incomplete: str, *, groups: bool) -> Iterable[tuple[str, str]]:
    from store.database.database import Store
    from store.queries.runs import names

    offered: dict[str, str] = {}
    if (home := _home(ctx)) is not None:
        with Store(home) as store:
            for row in names(store, incomplete, limit=MOST):
                text = f"{row['state']}, {row['preset'] or row['kind']} on {row['dataset_name'] or '?'}"
                for name in (row["name"], row["run_id"]):
                    offered.setdefault(name, text)
                if groups and row["group_name"]:
                    offered.setdefault(row["group_name"], "group")
    if not groups:
        offered.setdefault("last", "the newest run")
    return [(name, text) for name, text in offered.items() if name.startswith(incomplete)]


@_quiet
def removed_names(ctx: Any, incomplete: str) -> Iterable[tuple[str, str]]:
    """Names, ids and groups of the runs in the trash, those removed last first; `last`."""
    from store.database.database import Store
    from store.queries.removed import in_trash

    offered: dict[str, str] = {}
    if (home := _home(ctx)) is not None:
        with Store(home) as store:
            for row in in_trash(store)[:MOST]:
                named = ((row["name"], "removed"), (row["run_id"], "removed"), (row["group_name"], "group"))
                offered |= {name: text for name, text in named if name and name not in offered}
    offered.setdefault("last", "the run removed last")
    return [(name, text) for name, text in offered.items() if name.startswith(incomplete)]


@_quiet
def group_names(ctx: Any, incomplete: str) -> Iterable[str]:
    """Names of groups."""
    return [name for name, text in _runs(ctx, incomplete, groups=True) if text == "group"]


@_quiet
def finding_names(ctx: Any, incomplete: str) -> Iterable[tuple[str, str]]:
    """Ids of findings with their notes, newest first; `last`."""
    from store.database.database import Store
    from store.queries.findings import list_findings

    offered: dict[str, str] = {}
    if (home := _home(ctx)) is not None:
        with Store(home) as store:
            for removed in (False, True):
                found = list_findings(store, removed=removed)[:MOST]
                offered |= {one["finding_id"]: " ".join(one["note"].split())[:70] for one in found}
    offered.setdefault("last", "the newest finding")
    return [(name, text) for name, text in offered.items() if name.startswith(incomplete)]


@_quiet
def dataset_names(ctx: Any, incomplete: str) -> Iterable[tuple[str, str]]:
    """Data sets of the home, and those that are generated."""
    from engine.data.synthetic import GENERATED
    from store.database.database import Store
    from store.queries.datasets import listed

    offered = dict.fromkeys(GENERATED, "synthetic")
    if (home := _home(ctx)) is not None:
        with Store(home) as store:
            offered |= {row["name"]: f"{row['users']:,} users, {row['items']:,} items" for row in listed(store)}
    return [(name, text) for name, text in offered.items() if name.startswith(incomplete)]


@_quiet
def preset_names(incomplete: str) -> Iterable[str]:
    """Presets."""
    from engine.config_files import preset_names as every

    return [name for name in every() if name.startswith(incomplete)]


@_quiet
def method_names(incomplete: str) -> Iterable[str]:
    """Methods, installed ones too."""
    from engine.method_table import METHODS

    return [name for name in METHODS.names() if name.startswith(incomplete)]


@_quiet
def study_names(ctx: Any, incomplete: str) -> Iterable[str]:
    """Shipped studies and those of the home; a path is completed by the shell."""
    from sracl_tui.studies.library import study_files

    names = [file.name for file in study_files(Home.resolve(ctx.params.get("home")))]
    return [name for name in names if name.startswith(incomplete)]


@_quiet
def assignments(incomplete: str) -> Iterable[Any]:
    """`name=` of each setting with its meaning, and behind the sign the values of those that have a list of them."""
    from engine.setting_paths import choices, described_fields, leaf_paths, registries

    name, sign, begun = incomplete.partition("=")
    paths, fields = leaf_paths(), described_fields()
    if not sign:
        words = [word for word, path in paths.items() if word.startswith(incomplete) and path in fields]
        return [(f"{word}=", " ".join((fields[paths[word]].description or "").split())[:70]) for word in words]
    path = paths[name]
    if fields[path].annotation is bool:
        values: Iterable[Any] = ("true", "false")
    else:
        values = registries()[path].names() if path in registries() else choices(path)
    return [f"{name}={value}" for value in values if str(value).startswith(begun)]


OFFERED: dict[str, Callable[..., list[Any]]] = {
    "assignments": assignments,
    "baseline": run_names,
    "dataset": dataset_names,
    "grid": assignments,
    "finding": finding_names,
    "findings": finding_names,
    "group": group_names,
    "names": run_and_group_names,
    "preset": preset_names,
    "resume": run_names,
    "run": run_names,
    "runs": run_names,
    "study": study_names,
    "vary": assignments,
    "data.name": dataset_names,
    "methods.name": method_names,
    "remove.runs": run_and_group_names,
    "restore.runs": removed_names,
}
"""What is offered for a parameter, by its name, or by its command's and its own."""


def offer(command: str, found: typer.Typer | Callable[..., Any]) -> None:
    """Give the parameters of a command, or of each one below it, their completions; nothing is done unless a shell asks."""
    if ASKED not in os.environ:
        return
    functions = [one.callback for one in found.registered_commands] if isinstance(found, typer.Typer) else [found]
    for function in filter(None, functions):
        for name, hint in get_type_hints(function, include_extras=True).items():
            complete = OFFERED.get(f"{command}.{name}") or OFFERED.get(name)
            for info in getattr(hint, "__metadata__", ()):
                if complete is not None and isinstance(info, ParameterInfo):
                    info.autocompletion = complete
