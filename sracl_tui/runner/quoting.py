"""The bill before it comes: prompts by kind, how many are known, tokens, dollars and minutes. It needs no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import Config
from sracl_tui.runner.datasets import DEMO, open_dataset
from store import caches, costs, datasets
from store.database import Store
from store.home import Home

if TYPE_CHECKING:
    from engine.semantics.providers import Kind, Provider
    from sracl_tui.runner.stages import Needs


def quote(needs: Needs, store: Store, provider: Provider) -> dict[str, Any]:
    """Counts by kind and in all; `usd` has null for a price that is not known, and 0 for what is written here."""
    import numpy as np

    kinds = {
        kind: _quote_kind(store, provider, kind, np.unique(needs.asked(kind, owners)))
        for kind, owners in sorted(needs.summary_owners().items())
    }
    priced = all(part["usd"]["high"] is not None for part in kinds.values())
    return {
        **{name: sum(part[name] for part in kinds.values()) for name in ("prompts", "cached", "identical", "tokens")},
        "usd": {
            edge: round(sum(part["usd"][edge] for part in kinds.values()), 6) if priced else None
            for edge in ("low", "high")
        },
        "minutes": round(sum(part["minutes"] for part in kinds.values()), 2),
        "kinds": kinds,
    }


def _quote_kind(store: Store, provider: Provider, kind: Kind, owners: Any) -> dict[str, Any]:
    from engine.semantics.endpoint_provider import EndpointProvider

    keys = provider.request_keys(kind, owners)
    distinct = list(dict.fromkeys(keys))
    found = caches.known_summaries(store, distinct)
    part: dict[str, Any] = {
        "prompts": len(keys),
        "cached": len(found),
        "identical": len(keys) - len(distinct),
        "to_write": len(distinct) - len(found),
    }
    if not isinstance(provider, EndpointProvider):
        minutes = part["to_write"] / 10_000 / 60
        return part | {"tokens": 0, "usd": {"low": 0.0, "high": 0.0}, "minutes": minutes, "basis": "written here"}
    from engine.semantics.estimates import Seen, estimate

    letters = dict(zip(keys, map(_letters, provider.requests.messages(kind, owners)), strict=True))
    used = costs.tokens_of(store, list(found))
    seen = Seen(
        answers=len(used),
        letters=sum(letters[key] for key in used),
        tokens_in=sum(tokens[0] for tokens in used.values()),
        tokens_out=sum(tokens[1] for tokens in used.values()),
        tokens_cached=sum(tokens[2] for tokens in used.values()),
    )
    pace = costs.pace(store, provider.name, provider.model or "")
    guess = estimate(
        provider, kind, [letters[key] for key in distinct if key not in found], seen=seen, call_seconds=pace
    )
    low, high = guess.usd or (None, None)
    return part | {
        "tokens": guess.tokens,
        "tokens_in": round(guess.tokens_in[1]),
        "tokens_out": round(guess.tokens_out[1]),
        "usd": {"low": low, "high": high},
        "minutes": guess.seconds / 60,
        "basis": guess.basis,
    }


def _letters(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def quote_summaries(place: Home, config: Config, kinds: tuple[str, ...]) -> dict[str, Any]:
    """The document behind `sracl summarize --dry-run`.

    Raises:
        LookupFailed: there is no such dataset.
        ConfigError: a setting does not fit the provider.
    """
    from sracl_tui.runner.summarizing import needs_of

    with Store.open(place) as store:
        name = config.data.dataset
        if name == DEMO and datasets.find(store, name) is None:
            from engine.data.demo import make_demo

            dataset = make_demo().first_users(config.data.max_users)
        else:
            dataset = open_dataset(store, name, max_users=config.data.max_users)
        needs = needs_of(config, dataset, kinds)
        provider = needs.provider(place)
        return {"provider": provider.name, "model": provider.model, "prompt": provider.prompt_version} | quote(
            needs, store, provider
        )


def dollars(usd: float | None) -> str:
    """`$0.0123`, `$12.30`, or `unknown`."""
    if usd is None:
        return "unknown"
    return f"${usd:.4f}" if 0 < usd < 0.1 else f"${usd:.2f}"


def cost_line(usd: dict[str, float | None]) -> str:
    """Low and high as words."""
    return "unknown price" if usd["high"] is None else f"{dollars(usd['low'])} to {dollars(usd['high'])}"
