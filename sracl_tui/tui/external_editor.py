"""Edits a text in the editor that a person has chosen for the terminal, while the app waits."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from textual.app import App, SuspendNotSupported

from sracl_tui.tui.navigation import Unavailable

USUAL = ("editor", "nano", "vi")
"""Editors that are looked for where neither VISUAL nor EDITOR names one."""


def editor_words() -> list[str]:
    """The command of the editor.

    Raises:
        Unavailable: there is none, or the one that is named is not installed.
    """
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        words = shlex.split(named)
    except ValueError:
        words = [named]
    if not words:
        words = [next(filter(shutil.which, USUAL), "")]
    if not words[0] or shutil.which(words[0]) is None:
        text = f"{words[0]} is not installed" if words[0] else "no editor is installed"
        raise Unavailable(f"{text}: set EDITOR to the command of one, such as nano.")
    return words


def edit_outside(app: App[Any], text: str, *, suffix: str = ".txt") -> str:
    """The text as the editor has left it, without line breaks at its end.

    Raises:
        Unavailable: there is no editor, this terminal cannot be lent to one, or it ended with an error.
    """
    words = editor_words()
    with tempfile.TemporaryDirectory(prefix="sracl-") as folder:
        file = Path(folder, f"text{suffix}")
        file.write_text(text, "utf-8")
        try:
            with app.suspend():
                code = subprocess.run([*words, str(file)], check=False).returncode
        except SuspendNotSupported:
            raise Unavailable("This terminal cannot be lent to another program.") from None
        except OSError as error:
            raise Unavailable(f"{words[0]} cannot be started: {error.strerror or error}.") from None
        if code:
            raise Unavailable(f"{words[0]} ended with exit code {code}: the text is as it was.")
        return file.read_text("utf-8", errors="replace").rstrip("\n")
