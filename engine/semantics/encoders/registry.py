"""Builds the text encoder that `semantics.encoder` names: a name of ours, `ENDPOINT:MODEL`, or a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.semantics.encoders.encoder import Encoder
from engine.semantics.encoders.local import SentenceEncoder, TfidfEncoder
from engine.semantics.encoders.remote import EndpointEncoder, names_endpoint


@dataclass(frozen=True, kw_only=True)
class EncoderContext:
    """What a builder may use besides the name."""

    corpus: Sequence[str] = ()
    """Training texts: `tfidf` takes its vocabulary from them."""
    home: Path | None = None
    """Folder with `providers.toml` and `.env`."""
    budget: float | None = None
    """Dollars that the calls of an endpoint may cost; None sets no cap."""


Builder = Callable[[str, EncoderContext], Encoder]

BUILDERS: dict[str, Builder] = {
    "minilm": lambda name, context: SentenceEncoder(name, source=None),
    "tfidf": lambda name, context: TfidfEncoder(context.corpus),
}
"""By exact name; a new encoder adds one line here."""


def build_encoder(
    name: str, corpus: Sequence[str], *, home: Path | None = None, budget: float | None = None
) -> Encoder:
    """The encoder of a name; its model is loaded with the first texts, not here.

    Args:
        corpus, home, budget: see `EncoderContext`.

    Raises:
        ConfigError: there is no such endpoint, or a budget is set and the price is unknown.
    """
    context = EncoderContext(corpus=corpus, home=home, budget=budget)
    return _builder_of(name)(name, context)


def _builder_of(name: str) -> Builder:
    if name in BUILDERS:
        return BUILDERS[name]
    return _endpoint if names_endpoint(name) else _sentence_transformer


def _endpoint(name: str, context: EncoderContext) -> Encoder:
    return EndpointEncoder(name, home=context.home, cap=context.budget)


def _sentence_transformer(name: str, context: EncoderContext) -> Encoder:
    folder = Path(name).expanduser()
    return SentenceEncoder.of_folder(folder) if folder.is_dir() else SentenceEncoder(name, source=name)
