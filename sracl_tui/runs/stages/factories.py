"""The summary provider and the text encoder that a run's settings name; the stages are handed what is built here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from engine.extension_points import ENCODERS
from store.home import Home

if TYPE_CHECKING:
    from engine.semantics.encoders.encoder import Encoder
    from engine.semantics.summaries.provider import Provider
    from sracl_tui.runs.stages.needs import Needs


def provider(needs: Needs, home: Home) -> Provider:
    """The provider that writes the summaries.

    Raises:
        ConfigError: there is no such provider, or its settings do not fit it.
    """
    from engine.semantics.summaries.registry import build_provider

    config = needs.config
    return build_provider(config.semantics, needs.text_dataset, max_length=config.data.max_length, home=home.path)


def encoder(needs: Needs, home: Home, corpus: Sequence[str]) -> Encoder:
    """The encoder of texts.

    Args:
        corpus: texts that an encoder without pretrained weights (TF-IDF) is fitted on.

    Raises:
        ConfigError: there is no such encoder, or its endpoint has no key.
    """
    from engine.semantics.encoders.registry import build_encoder
    from engine.semantics.encoders.remote import EndpointEncoder

    semantics = needs.config.semantics
    built = build_encoder(semantics.encoder, corpus, pooling=semantics.pooling, home=home.path, budget=semantics.budget)
    if isinstance(built, EndpointEncoder):
        built.check_key()
    return built


def encoder_factory(needs: Needs, home: Home) -> Callable[[Sequence[str]], Encoder]:
    """Builds the encoder once its corpus is known."""
    return lambda corpus: encoder(needs, home, corpus)


def check_encoder(needs: Needs, home: Home) -> None:
    """Find out what is wrong with an encoder before any summary is paid for.

    Raises:
        ConfigError: its endpoint is not known, or has no key; or it is not ours and cannot be imported.
    """
    from engine.semantics.encoders.remote import names_endpoint

    name = needs.config.semantics.encoder
    if names_endpoint(name) or needs.config.semantics.pooling != "auto":
        encoder(needs, home, [])
    elif ENCODERS.has(name) and name not in ENCODERS.ours:
        ENCODERS.load(name)
