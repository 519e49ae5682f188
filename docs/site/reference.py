"""Pages of the site that are made of the program itself: commands, settings, methods, keys. Markdown, one function a page."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, get_args, get_origin

from pydantic_core import PydanticUndefined


def commands_page() -> str:
    """Every command of `sracl` with its arguments, options and examples, as `--help` has them."""
    import importlib

    from typer.main import get_group

    root = get_group(importlib.import_module("sracl_tui.cli.main").app)
    context = root.make_context("sracl", [], resilient_parsing=True)
    lines = ["# Commands", "", f"{root.help}", ""]
    lines += [
        "`sracl COMMAND --help` prints the same; `--debug` shows the traceback of an error, `-h` is `--help`.",
        "",
    ]
    for name in root.list_commands(context):
        if (command := root.get_command(context, name)) is not None and not command.hidden:
            lines += _command(command, f"sracl {name}", "##")
    return "\n".join(lines)


def _command(command: Any, path: str, level: str) -> Iterator[str]:
    text, examples = _split(inspect.cleandoc(command.help or ""))
    yield from (f"{level} {path}", "", text, "")
    context = command.make_context(path, [], resilient_parsing=True)
    if hasattr(command, "list_commands"):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                yield from _command(below, f"{path} {name}", f"{level}#")
        return
    shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name not in ("help", "debug")]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    options = [one for one in shown if one.param_type_name == "option"]
    words = [path, *(["[OPTIONS]"] if options else []), *(one.display_name_raw for one in arguments)]
    yield from ("```text", " ".join(words), "```", "")
    rows = [(f"`{one.display_name_raw}`", _help(one)) for one in arguments]
    rows += [(_names(one, context), _help(one)) for one in options]
    if rows:
        yield from table(("argument or option", "meaning"), rows)
    if examples:
        yield from ("", "```sh", *examples, "```")
    yield ""


def _split(text: str) -> tuple[str, list[str]]:
    """A help text without its examples, and these, one a line."""
    before, _, after = text.partition("\b\nExamples:\n")
    lines = [line.strip() for line in after.splitlines() if line.strip()]
    return before.replace("\b\n", "").replace("\b", "").strip(), lines


def _names(option: Any, context: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    takes = re.sub(r"list\[(\w+)\]", r"\1", option.display_type(context))
    return names if not takes or takes == "<bool>" else f"{names} `{takes}`"


def _help(one: Any) -> str:
    default = one.default
    plain = (
        isinstance(default, str | int | float) and not isinstance(default, bool) and default != "" and one.show_default
    )
    return f"{one.help or ''}{f' Default: `{default}`.' if plain else ''}"


def settings_page() -> str:
    """Every setting: path, default, values, meaning, by section of the tree."""
    from engine.config import Config
    from engine.setting_paths import described_fields

    lines = [
        "# Settings", "",
        "`sracl run --set PATH=VALUE`, a line of a TOML file, a field of the screen Launch. The last word of a path is enough where only one "
        "setting has it. `sracl run --dry-run` shows what a run would take.", "",
    ]  # fmt: skip
    section, rows = "", list[tuple[str, ...]]()
    for path, field in described_fields().items():
        if (head := path.rpartition(".")[0]) != section:
            lines += _section(section, rows)
            section, rows = head, []
        default = field.default if field.default is not PydanticUndefined else ""
        rows.append(
            (f"`{path}`", f"`{_value(default)}`", _kind(field.annotation, field.metadata), field.description or "")
        )
    lines += _section(section, rows)
    assert Config.__doc__
    return "\n".join(lines)


def _section(name: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield from (f"## {name}", "", *table(("setting", "default", "values", "meaning"), rows), "")


def _value(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _kind(annotation: Any, metadata: Iterable[Any]) -> str:
    """The values that a setting takes, in words."""
    from typing import Literal

    if get_origin(annotation) is Literal:
        return ", ".join(f"`{_value(one)}`" for one in get_args(annotation))
    names = {int: "whole number", float: "number", bool: "true, false", str: "text", type(None): "none"}
    words = [
        names.get(one, "list" if get_origin(one) in (tuple, list) else "")
        for one in get_args(annotation) or [annotation]
    ]
    if get_origin(annotation) in (tuple, list):
        words = ["list"]
    limits = [
        f"{sign} {getattr(one, name)}"
        for one in metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if getattr(one, name, None) is not None
    ]
    return ", ".join([" or ".join(filter(None, words)), *limits])


def methods_page() -> str:
    """Every method with what it needs, what it costs, and the settings of its parts."""
    from sracl_tui.services.method_list import list_methods

    lines = [
        "# Settings of each method",
        "",
        "What `sracl methods NAME` prints. [Methods](../methods.md) says what is faithful in each.",
        "",
    ]
    for one in list_methods():
        lines += [f"## {one['name']}", "", one["description"] + ".", ""]
        facts = [("family", one["family"]), ("parts", ", ".join(one["parts"])), ("needs", ", ".join(one["needs"]) or "-"),
                 ("encoder passes", one["passes"]), ("source", one["source"]), ("ours", one["ours"] or "-")]  # fmt: skip
        lines += [*table(("", ""), facts), ""]
        rows = [(f"`{row['path']}`", f"`{_value(row['default'])}`", row["meaning"]) for row in one["settings"]]
        lines += [*table(("setting", "default here", "meaning"), rows), ""]
    return "\n".join(lines)


def keys_page() -> str:
    """Every key of the app, by the section that `keys.toml` names."""
    from sracl_tui.tui.keymap import bindings

    lines = [
        "# Keys", "", "A line `[runs]`, `mark = \"x\"` in `keys.toml`, in the home or in the user's config folder, gives an action another key; "
        "`?` in the app lists those of a screen.", "",
    ]  # fmt: skip
    section, rows = "", list[tuple[str, ...]]()
    for name, (keys, text) in bindings().items():
        head, _, action = name.partition(".")
        if head != section:
            lines += _keys(section, rows)
            section, rows = head, []
        rows.append((", ".join(f"`{key}`" for key in keys.split(",")), f"`{action}`", text))
    return "\n".join([*lines, *_keys(section, rows)])


def _keys(section: str, rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        yield from (f"## {section}", "", *table(("keys", "action", "what it does"), rows), "")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        cells = (" ".join(str(cell).split()).replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"


PAGES = {
    "reference/commands.md": commands_page,
    "reference/settings.md": settings_page,
    "reference/methods.md": methods_page,
    "reference/keys.md": keys_page,
}
"""What is made anew with each build: path in the site to its text."""
