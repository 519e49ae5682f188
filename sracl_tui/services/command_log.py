"""What was done in the app, as commands that do the same in a shell."""

from __future__ import annotations

import shlex
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST = 500
"""Commands that are kept."""


def command_line(words: Sequence[str]) -> str:
    """`sracl` and the words, quoted for a shell."""
    return shlex.join(["sracl", *words])


@dataclass(frozen=True)
class Command:
    """A command and when it was given, as Unix time."""

    line: str
    at: float = field(default_factory=time.time)


class CommandLog:
    """The last commands of this start of the app, oldest first."""

    def __init__(self) -> None:
        self.commands: deque[Command] = deque(maxlen=MOST)

    def add(self, words: Sequence[str]) -> Command:
        """Remember a command by its words after `sracl`."""
        self.commands.append(Command(command_line(words)))
        return self.commands[-1]
