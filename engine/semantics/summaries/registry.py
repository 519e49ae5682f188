"""Builds the provider of summaries that a config names: by rule, or a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.config import SemanticsConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.semantics.summaries.llm_provider import EndpointProvider
from engine.semantics.summaries.provider import Provider
from engine.semantics.summaries.raw_text_provider import TitlesProvider
from engine.semantics.summaries.rule_provider import OfflineProvider

BUILDERS: dict[str, Callable[[Dataset, int], Provider]] = {
    "offline": lambda dataset, max_length: OfflineProvider(dataset, max_length=max_length),
    "titles": lambda dataset, max_length: TitlesProvider(dataset, max_length=max_length),
}
"""Providers without an endpoint; their names are `RESERVED` among endpoints. Any other name is an endpoint's."""


def build_provider(config: SemanticsConfig, dataset: Dataset, *, max_length: int, home: Path | None = None) -> Provider:
    """The provider that `semantics.provider` names.

    Args:
        max_length: number of newest items of a prefix that a summary covers.
        home: folder with `providers.toml`, `.env` and `prompts`; None allows the built-in endpoints and prompts only.

    Raises:
        ConfigError: the name is unknown, or a setting has no effect with this provider.
    """
    build = BUILDERS.get(config.provider)
    if build is None:
        return EndpointProvider.build(config, dataset, max_length=max_length, home=home)
    if config.llm is not None:
        raise ConfigError(
            f"provider {config.provider!r} asks no model, so {config.llm!r} would do nothing",
            where="semantics.llm",
            hint="Leave it out, or name an endpoint as semantics.provider.",
        )
    provider = build(dataset, max_length)
    if config.prompt not in ("auto", provider.prompt_version):
        raise ConfigError(
            f"provider {config.provider!r} has no prompt {config.prompt!r}",
            where="semantics.prompt",
            hint=f"Use auto or {provider.prompt_version}.",
        )
    return provider
