"""Builds the provider of summaries that a config names: by rule, or a model behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.config import SemanticsConfig
from engine.data.dataset import Dataset
from engine.errors import ConfigError
from engine.extension_points import PROVIDERS
from engine.semantics.summaries.llm_provider import EndpointProvider
from engine.semantics.summaries.provider import Provider, RuleProvider
from engine.semantics.summaries.rule_provider import OfflineProvider

EARLIER: dict[tuple[str, str], Callable[..., RuleProvider]] = {
    ("offline", OfflineProvider.prompt_version): OfflineProvider
}
"""Rules of earlier versions by provider and prompt version: their stored texts stay in use where they are named."""


def build_provider(config: SemanticsConfig, dataset: Dataset, *, max_length: int, home: Path | None = None) -> Provider:
    """The provider that `semantics.provider` names.

    Args:
        max_length: number of newest items of a prefix that a summary covers.
        home: folder with `providers.toml`, `.env` and `prompts`; None allows the built-in endpoints and prompts only.

    Raises:
        ConfigError: the name is unknown, one that is not ours cannot be built, or a setting has no effect with this
            provider.
    """
    if not PROVIDERS.has(config.provider):
        return EndpointProvider.build(config, dataset, max_length=max_length, home=home)
    if config.llm is not None:
        raise ConfigError(
            f"provider {config.provider!r} asks no model, so {config.llm!r} would do nothing",
            where="semantics.llm",
            hint="Leave it out, or name an endpoint as semantics.provider.",
        )
    earlier = EARLIER.get((config.provider, config.prompt))
    if earlier is not None:
        return earlier(dataset, max_length=max_length)
    provider: RuleProvider = PROVIDERS.build(config.provider, dataset, max_length=max_length)
    provider.name = PROVIDERS.label_of(config.provider)
    if config.prompt not in ("auto", provider.prompt_version):
        raise ConfigError(
            f"provider {config.provider!r} has no prompt {config.prompt!r}",
            where="semantics.prompt",
            hint=f"Use auto, {', '.join([provider.prompt_version, *(old for name, old in EARLIER if name == config.provider)])}.",
        )
    return provider
