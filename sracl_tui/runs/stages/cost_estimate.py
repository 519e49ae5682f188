"""Estimates calls, tokens, cost and duration of summaries and vectors before a run, without an API key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import Config
from sracl_tui.runs.dataset_access import preview_dataset
from store.database.database import Store
from store.home import Home
from store.opening import open_store
from store.queries import caches, costs

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind
    from engine.semantics.summaries.provider import Provider
    from sracl_tui.runs.stages.needs import Needs


def quote(needs: Needs, store: Store, provider: Provider, *, vectors: bool = True) -> dict[str, Any]:
    """Estimate by kind and in total; `usd` is null if a price is unknown, and 0 for texts generated locally."""
    kinds = {
        kind: _quote_kind(store, provider, kind, np.unique(needs.asked(kind, owners)))
        for kind, owners in sorted(needs.summary_owners().items())
    }
    vector_part = _quote_vectors(needs, store, provider, kinds) if kinds and vectors else None
    parts = [*kinds.values(), *([vector_part] if vector_part else [])]
    priced = all(part["usd"]["high"] is not None for part in parts)
    return {
        **{name: sum(part[name] for part in kinds.values()) for name in ("prompts", "cached", "identical")},
        "tokens": sum(part["tokens"] for part in parts),
        "usd": {
            bound: round(sum(part["usd"][bound] for part in parts), 6) if priced else None for bound in ("low", "high")
        },
        "minutes": round(sum(part["minutes"] for part in parts), 2),
        "kinds": kinds,
        **({"vectors": vector_part} if vector_part else {}),
    }


def _quote_kind(store: Store, provider: Provider, kind: Kind, owners: Any) -> dict[str, Any]:
    from engine.semantics.summaries.llm_provider import EndpointProvider
    from sracl_tui.runs.stages.llm_batches import at_provider

    keys = provider.request_keys(kind, owners)
    distinct = list(dict.fromkeys(keys))
    known = caches.known_summaries(store, distinct)
    sent = at_provider(store.home, provider.name) & (set(distinct) - set(known))
    part: dict[str, Any] = {
        "prompts": len(keys),
        "cached": len(known),
        "identical": len(keys) - len(distinct),
        "in_batches": len(sent),
        "to_write": len(distinct) - len(known) - len(sent),
    }
    if not isinstance(provider, EndpointProvider):
        minutes = part["to_write"] / 10_000 / 60
        return part | {"tokens": 0, "usd": {"low": 0.0, "high": 0.0}, "minutes": minutes, "basis": "written here"}
    from engine.semantics.summaries.token_estimates import Seen, estimate

    characters = dict(zip(keys, map(_count_characters, provider.requests.messages(kind, owners)), strict=True))
    measured_tokens = costs.tokens_of(store, list(known))
    measured = Seen(
        answers=len(measured_tokens),
        letters=sum(characters[key] for key in measured_tokens),
        tokens_in=sum(tokens[0] for tokens in measured_tokens.values()),
        tokens_out=sum(tokens[1] for tokens in measured_tokens.values()),
        tokens_cached=sum(tokens[2] for tokens in measured_tokens.values()),
    )
    call_seconds = costs.mean_call_seconds(store, provider.name, provider.model or "")
    estimated = estimate(
        provider,
        kind,
        [characters[key] for key in distinct if key not in known and key not in sent],
        seen=measured,
        call_seconds=call_seconds,
    )
    low, high = estimated.usd or (None, None)
    return part | {
        "tokens": estimated.tokens,
        "tokens_in": round(estimated.tokens_in[1]),
        "tokens_out": round(estimated.tokens_out[1]),
        "usd": {"low": low, "high": high},
        "minutes": estimated.seconds / 60,
        "basis": estimated.basis,
    }


def _quote_vectors(needs: Needs, store: Store, provider: Provider, kinds: dict[str, Any]) -> dict[str, Any] | None:
    """Estimate for an endpoint's text encoder; None if texts are encoded locally."""
    from engine.semantics.encoders.remote import EndpointEncoder, names_endpoint
    from engine.semantics.encoders.text_vectors import text_sha256
    from engine.semantics.summaries.token_estimates import estimate_vectors

    semantics = needs.config.semantics
    if not names_endpoint(semantics.encoder):
        return None
    encoder = EndpointEncoder(semantics.encoder, home=store.home.path, cap=semantics.budget)
    texts: set[str] = set()
    unwritten = 0
    for kind, owners in needs.summary_owners().items():
        if kind == "item" or semantics.vector == "text":
            keys = provider.request_keys(kind, np.unique(needs.asked(kind, owners)))
            texts |= set(caches.known_summaries(store, list(dict.fromkeys(keys))).values())
            unwritten += kinds[kind]["to_write"]
    lengths = {text_sha256(text): len(text) for text in texts}
    stored = caches.known_vectors(store, encoder.name, list(lengths))[0] if lengths else []
    characters = sum(lengths.values()) - sum(lengths[sha] for sha in stored)
    call_seconds = costs.mean_call_seconds(store, *encoder.name.split(":", 1))
    return {"texts": len(lengths) + unwritten, "cached": len(stored)} | estimate_vectors(
        encoder, written=len(lengths) - len(stored), letters=characters, unwritten=unwritten, call_seconds=call_seconds
    )


def _count_characters(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def quote_summaries(
    home: Home, config: Config, kinds: tuple[str, ...], *, vectors: bool = False, batch: bool = False
) -> dict[str, Any]:
    """The document of `sracl summarize --dry-run`.

    Args:
        vectors: include the text encoder, which a run also pays for.
        batch: use the provider's Batch API and its prices.

    Raises:
        LookupFailed: there is no such dataset.
        ConfigError: a setting does not fit the provider.
    """
    from sracl_tui.runs.stages import factories
    from sracl_tui.runs.stages.llm_batches import plan_batches
    from sracl_tui.runs.stages.needs import needs_of

    with open_store(home) as store:
        dataset = preview_dataset(store, config.data.dataset, max_users=config.data.max_users)
        needs = needs_of(config, dataset, kinds)
        provider = factories.provider(needs, home)
        plan_batches(provider, store, None, None, send=batch, wait=False)
        estimates = quote(needs, store, provider, vectors=vectors)
        source = {"provider": provider.name, "model": provider.model, "prompt": provider.prompt_version}
        return source | {"batch": _batch_estimate(provider, estimates) if batch else None} | estimates


def _batch_estimate(provider: Any, estimates: dict[str, Any]) -> dict[str, Any]:
    """Number of batches, maximum duration (`window`) and price factor."""
    limits = provider.endpoint.batch
    files = sum(-(-part["to_write"] // limits.requests) for part in estimates["kinds"].values())
    return {"files": files, "window": limits.window, "price_factor": limits.price_factor}


def dollars(usd: float | None) -> str:
    """Four decimals below 10 cents, else two: `$0.0123`, `$12.30`; `unknown` for None."""
    if usd is None:
        return "unknown"
    return f"${usd:.4f}" if 0 < usd < 0.1 else f"${usd:.2f}"


def cost_line(usd: dict[str, float | None]) -> str:
    """Range of an estimate: `$1.20 to $3.40`, one sum where both ends are the same, or `unknown price`."""
    if usd["high"] is None:
        return "unknown price"
    low, high = dollars(usd["low"]), dollars(usd["high"])
    return high if low == high else f"{low} to {high}"
