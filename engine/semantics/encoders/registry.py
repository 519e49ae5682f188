"""Builds the text encoder that `semantics.encoder` names: an entry of `ENCODERS`, `ENDPOINT:MODEL`, or a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.config import content_hash
from engine.errors import ConfigError
from engine.extension_points import ENCODERS
from engine.semantics.encoders.encoder import Encoder, EncoderContext, TextEncoder
from engine.semantics.encoders.local import SentenceEncoder
from engine.semantics.encoders.remote import EndpointEncoder, names_endpoint


def build_encoder(
    name: str,
    corpus: Sequence[str],
    *,
    pooling: str = "auto",
    home: Path | None = None,
    budget: float | None = None,
) -> Encoder:
    """The encoder of a name; its model is loaded with the first texts, not here.

    Args:
        pooling: see `semantics.pooling`.
        corpus, home, budget: see `EncoderContext`.

    Raises:
        ConfigError: there is no such endpoint, a budget is set and the price is unknown, an encoder that is not ours cannot
            be built, or `pooling` would have no effect.
    """
    if pooling != "auto" and not names_model(name):
        raise ConfigError(
            f"the encoder {name!r} has a pooling of its own, so {pooling!r} would do nothing",
            where="semantics.pooling",
            hint="Leave it out, or name a model or a folder as semantics.encoder.",
        )
    if ENCODERS.has(name):
        encoder: TextEncoder = ENCODERS.build(name, EncoderContext(corpus=corpus, home=home, budget=budget))
        if name not in ENCODERS.ours:
            encoder.name = _stored_name(name, encoder, corpus)
        return encoder
    if names_endpoint(name):
        return EndpointEncoder(name, home=home, cap=budget)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return SentenceEncoder.of_folder(folder, pooling=pooling)
    return SentenceEncoder(name, source=name, pooling=pooling)


def names_model(name: str) -> bool:
    """Whether an encoder is a sentence-transformers model, by name or folder."""
    return not ENCODERS.has(name) and not names_endpoint(name)


def is_download(name: str) -> bool:
    """Whether an encoder's model has to be downloaded before it can be used."""
    if not names_model(name) or Path(name).expanduser().is_dir():
        return False
    from huggingface_hub import try_to_load_from_cache

    return not isinstance(try_to_load_from_cache(name, "config.json"), str)


def needs_corpus(name: str) -> bool:
    """Whether the vectors of an encoder depend on the training texts.

    Raises:
        ConfigError: it is not ours and cannot be imported.
    """
    return ENCODERS.has(name) and ENCODERS.load(name).needs_corpus


def _stored_name(name: str, encoder: TextEncoder, corpus: Sequence[str]) -> str:
    """Key of the vector cache: other code, and another corpus where it counts, are another encoder."""
    label = encoder.name if encoder.name and ENCODERS.entry_point(name) else ENCODERS.label_of(name)
    return f"{label}-{content_hash(sorted(set(corpus)))}" if encoder.needs_corpus else label
