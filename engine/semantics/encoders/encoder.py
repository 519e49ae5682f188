"""What the vectors stage asks of a text encoder. Legend: N texts, S size of a vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.events import Columns
from engine.semantics.llm.budget import Budget


class Encoder(Protocol):
    """Turns texts into vectors, the same text always into the same vector (paper section 3.2)."""

    name: str
    """Key of the vector cache, together with a text: equal name and text, equal vector."""

    @property
    def dimension(self) -> int | None:
        """S; None until the model is loaded."""
        ...

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors (N, S); (0, S) for no texts.

        Raises:
            SemanticsError: the model cannot be loaded.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class EncoderContext:
    """What an encoder may use besides its name."""

    corpus: Sequence[str] = ()
    """Training texts, for an encoder with `needs_corpus`."""
    home: Path | None = None
    """Folder with `providers.toml` and `.env`."""
    budget: float | None = None
    """Dollars that the calls of an endpoint may cost; None sets no cap."""


class TextEncoder(ABC):
    """An encoder that runs on this machine."""

    name: str = ""
    """As in `Encoder`; of one that is not ours, what the setting names, with the hash of its file and of its corpus."""
    needs_corpus: ClassVar[bool] = False
    """Whether it is fitted to the training texts: these are then read from the store also where all vectors are known."""

    def __init__(self, context: EncoderContext) -> None:
        """Cheap: a model is loaded with the first texts, so that a run whose vectors are stored loads none."""
        self.context = context

    @property
    def dimension(self) -> int | None:
        """S; None until the model is loaded."""
        return None

    @property
    def guess(self) -> str | None:
        """What is assumed of the model and should be told to whoever reads a result; None for nothing."""
        return None

    @abstractmethod
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Vectors (N, S), with the same S for every call; (0, S) for no texts."""


@dataclass(frozen=True)
class Encoded:
    """Some of the vectors of a request to a paid encoder, and the calls that returned them."""

    rows: list[int]
    """Indices of the texts in the request."""
    vectors: NDArray[np.float32]
    """(len(rows), S)"""
    calls: Columns | None
    """HTTP attempts, failed ones too, as in `ApiCalled`."""
    note: str
    """Progress in a few words: rate, retries, dollars."""


@runtime_checkable
class RemoteEncoder(Protocol):
    """An encoder behind an endpoint, whose vectors cost calls."""

    name: str

    @property
    def budget(self) -> Budget:
        """Dollars spent and the cap."""
        ...

    def encode_remotely(self, texts: list[str]) -> Iterator[Encoded]:
        """Vectors as they arrive, in any order."""
        ...

    def drain(self) -> None:
        """Send no further calls; `encode_remotely` ends when those in flight have ended."""
        ...
