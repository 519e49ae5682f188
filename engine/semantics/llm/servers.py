"""The servers of one endpoint: a call goes to that with the fewest in flight, and one that has just failed rests while others do not."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import AsyncOpenAI

REST_SECONDS = 20.0
"""For which a server that gave no answer is asked only if all others rest, too."""


@dataclass
class Server:
    """A server of an endpoint."""

    url: str
    client: AsyncOpenAI
    in_flight: int = 0
    rests_until: float = 0.0

    def rest(self) -> None:
        """Note that it gave no answer."""
        self.rests_until = time.monotonic() + REST_SECONDS


class Servers:
    """All servers of an endpoint; for one event loop."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = list(servers)

    @contextmanager
    def one(self) -> Iterator[Server]:
        """The server for a call, which is in flight until the context is left."""
        now = time.monotonic()
        server = min(self._servers, key=lambda each: (each.rests_until > now, each.in_flight))
        server.in_flight += 1
        try:
            yield server
        finally:
            server.in_flight -= 1
            self._servers.append(
                self._servers.pop(self._servers.index(server))
            )  # of equals, the next call takes another
