"""An import before it is one: source, options, and what is wrong with each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.data.importing import ImportOptions
from engine.data.preview import Preview
from engine.data.readers.base import Head
from engine.errors import ConfigError, EngineError
from engine.extension_points import READERS
from sracl_tui.services import dataset_import
from sracl_tui.services.dataset_import import FIELDS
from store.errors import StoreError

SOURCE = "path"
"""Key of errors about the source."""


class Draft:
    """Source and options of an import that has not started, with the errors of each."""

    def __init__(self, sets: Mapping[str, str]) -> None:
        """Args: sets: names of the data sets that are there, by id."""
        self.sets = dict(sets)
        self.path: Path | None = None
        self.found: Preview | None = None
        self.glance: Head | None = None
        """The first rows where no preview is possible, such as where a column has to be named."""
        self.values: dict[str, Any] = {field.key: self._standard(field.key) for field in FIELDS}
        self.trouble = ""
        """Why the source cannot be read or stored, with its place and what to do."""
        self._named = False
        self._typed: dict[str, str] = {}
        self._told: dict[str, str] = {}

    @staticmethod
    def _standard(key: str) -> Any:
        return getattr(ImportOptions(), key, "")

    @property
    def name(self) -> str:
        """Name of the new data set."""
        return self.values["name"]

    @property
    def options(self) -> ImportOptions:
        """The options in the engine's own type."""
        return ImportOptions(**{key: value for key, value in self.values.items() if key != "name"})

    @property
    def changed(self) -> set[str]:
        """Options that differ from the defaults."""
        return {key for key, value in self.values.items() if key != "name" and value != self._standard(key)}

    @property
    def errors(self) -> dict[str, str]:
        """By field; what is wrong with the source is under `path`."""
        taken = {"name": "there is a data set of this name"} if self.name in self.sets.values() else {}
        return {**self._told, **taken, **self._typed}

    def set_source(self, path: Path) -> bool:
        """Take another source; returns whether it differs from the one before."""
        if path == self.path:
            return False
        self.path = path
        self._told, self.trouble = {}, ""
        if not self._named:
            self.values["name"] = dataset_import.name_for(path.absolute(), set(self.sets.values()))
        return True

    def set(self, key: str, text: str) -> None:
        """Parse a typed value; an invalid one stays as an error and leaves the option unchanged."""
        self._told.pop(key, None)
        try:
            self.values[key] = dataset_import.parse(key, text)
        except ConfigError as error:
            self._typed[key] = error.message
        else:
            self._typed.pop(key, None)
            self._named = self._named or key == "name"

    def reset(self, key: str) -> None:
        """Set an option back to its default."""
        for errors in (self._typed, self._told):
            errors.pop(key, None)
        self.values[key] = self._standard(key)
        if key == "name":
            self._named, path, self.path = False, self.path, None
            if path is not None:
                self.set_source(path)

    def blame(self, error: EngineError | StoreError | OSError | None) -> None:
        """Assign an error of reading or storing to the field it is about; none clears the last one."""
        self._told, self.trouble = {}, "" if error is None else str(error)
        if isinstance(error, EngineError | StoreError):
            place = dataset_import.place_of(error)
            self._told[place or SOURCE] = error.message if place else self.trouble
        elif error is not None:
            self._told[SOURCE] = self.trouble

    def proposal(self, key: str) -> str:
        """Initial text of the field that edits an option."""
        value = self.values[key]
        if key == "items" and value is None and self.found is not None:
            value = self.found.items_candidate
        return dataset_import.text_of(key, value)

    def choices(self, key: str) -> list[str]:
        """Values to choose from, where they are known; an empty text stands for none."""
        if dataset_import.BY_KEY[key].choices:
            return list(dataset_import.BY_KEY[key].choices)
        if key == "format":
            return ["", *READERS.names()]
        head = self.head(texts=key == "title_column")
        return ["", *dict.fromkeys(head.names)] if head is not None and key.endswith("_column") else []

    def head(self, *, texts: bool) -> Head | None:
        """The first rows of the interactions, or of the items' texts where another file has them."""
        if self.found is None:
            return self.glance
        return self.found.items_head if texts and self.found.items_head else self.found.head

    @property
    def command(self) -> str:
        """The command line that makes the same import."""
        return dataset_import.command_of((self.path or Path()).absolute(), self.name, self.options)
