"""Versions of the prompts: text files that never change once used; a new wording is a new version.

A file `NAME-N.toml` has `domain` and the fixed instructions of both kinds, `user` and `item`, and with `task = "choices"` asks to
choose among phrases of the items (engine/semantics/llm/choices.py) rather than to write. The home's folder `prompts`
may contain further files; their version includes a hash of the text, so that an edited file is a new version.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from engine.config import content_hash
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.files import read_regular

TASKS = ("text", "choices")
"""What a prompt asks for: a text, or choices of which sentences are made."""
FOLDER = "prompts"
"""Name of the folder in the home."""
DOMAINS = {
    "films": {"genre", "genres", "director", "directors", "actors", "cast", "starring", "release_year", "movie_title"},
    "places": {"city", "address", "state", "latitude", "longitude", "hours", "neighborhood", "stars"},
    "products": {"brand", "brand_id", "price", "asin", "manufacturer", "features", "sales_rank"},
}
"""Names of item fields that identify a domain; the first domain that matches is used."""
_NAME = re.compile(r"([a-z][a-z0-9-]*?)-(\d+)")


@dataclass(frozen=True)
class Prompt:
    """The fixed instructions of one prompt version."""

    version: str
    domain: str
    user: str
    item: str
    source: str
    """`built in`, or the path of the file."""
    task: str = "text"
    """One of `TASKS`."""

    @property
    def template(self) -> str:
        """Both kinds with their placeholders, as stored in the database."""
        if self.task == "choices":
            listed = "<choices>\n{field}: {phrase} | {phrase}\n...\n</choices>"
            return (
                f"[user]\n{self.user}\n\n<history>\n{{name of an item}}\n...\n</history>\n{listed}\n\n"
                f"[item]\n{self.item}\n\n<item>\n{{title and fields}}\n</item>\n{listed}"
            )
        return (
            f"[user]\n{self.user}\n\n<history>\n1. {{oldest item}}\n...\n</history>\n\n"
            f"[item]\n{self.item}\n\n<item>\n{{title and fields}}\n</item>\n<histories>\n{{titles; titles}}\n</histories>"
        )


def read_prompts(home: Path | None) -> dict[str, Prompt]:
    """Every prompt by its file name without suffix; the home's override built-in ones.

    Raises:
        ConfigError: all problems of the home's files at once.
    """
    found = dict(_built_in())
    folder = None if home is None else home / FOLDER
    problems: list[str] = []
    for path in sorted(folder.glob("*.toml")) if folder is not None and folder.is_dir() else ():
        try:
            found[path.stem] = _prompt(path.stem, read_regular(path), source=str(path))
        except (ValueError, OSError) as error:  # TOML and UTF-8 errors are ValueErrors
            problems.append(f"{path.name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems), where=str(folder), hint="Fields: domain, user, item (docs/llm.md).")
    return found


@cache
def _built_in() -> dict[str, Prompt]:
    files = sorted(resources.files(__name__).iterdir(), key=lambda file: file.name)
    names = [(file, file.name.removesuffix(".toml")) for file in files if file.name.endswith(".toml")]
    return {name: _prompt(name, file.read_text("utf-8"), source="built in") for file, name in names}


def _prompt(name: str, text: str, *, source: str) -> Prompt:
    tree: dict[str, Any] = tomllib.loads(text)
    if not _NAME.fullmatch(name):
        raise ValueError("the name must be NAME-NUMBER, such as products-2")
    wrong = [field for field in ("user", "item") if not isinstance(tree.get(field), str) or not tree[field].strip()]
    wrong += sorted(set(tree) - {"domain", "user", "item", "task"})
    if wrong:
        raise ValueError(f"missing, empty or unknown fields: {', '.join(wrong)}")
    task = tree.get("task", "text")
    if task not in TASKS:
        raise ValueError(f"task = {task!r} is not one of {', '.join(TASKS)}")
    user, item = tree["user"].strip(), tree["item"].strip()
    hashed = [user, item] if task == "text" else [user, item, task]  # as in versions before there were tasks
    own = "" if source == "built in" else f"@{content_hash(hashed, length=6)}"
    return Prompt(f"{name}{own}", str(tree.get("domain", "generic")), user, item, source, task)


def choose_prompt(name: str, dataset: Dataset, home: Path | None, *, where: str = "semantics.prompt") -> Prompt:
    """The prompt of a name or version; for `auto`, the newest of the dataset's domain.

    Args:
        where: the setting that names it.

    Raises:
        ConfigError: there is no such prompt.
    """
    prompts = read_prompts(home)
    if name == "auto":
        domain = domain_of(dataset)
        fit = [key for key, prompt in prompts.items() if prompt.domain == domain]
        return prompts[max(fit or [key for key in prompts if prompts[key].domain == "generic"], key=_number)]
    for key, prompt in prompts.items():
        if name in (key, prompt.version):
            return prompt
    raise ConfigError(f"there is no prompt {name!r}", where=where, hint=f"Prompts: auto, {', '.join(prompts)}.")


def _number(name: str) -> tuple[int, str]:
    found = _NAME.fullmatch(name)
    return (int(found.group(2)) if found else 0, name)


def domain_of(dataset: Dataset) -> str:
    """The domain of a dataset's items, from the names of their fields; `generic` if none matches."""
    fields = {name.lower().split(":")[0] for more in dataset.items.attributes[:1000] for name in more}
    return next((domain for domain, telling in DOMAINS.items() if fields & telling), "generic")
