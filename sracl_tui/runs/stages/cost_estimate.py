"""The bill before it comes: prompts by kind, how many are known, tokens, dollars and minutes. It needs no key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from engine.config import Config
from sracl_tui.runs.dataset_access import DEMO, open_dataset
from store.database.database import Store
from store.home import Home
from store.opening import open_store
from store.queries import caches, costs, datasets

if TYPE_CHECKING:
    from engine.semantics.kinds import Kind
    from engine.semantics.summaries.provider import Provider
    from sracl_tui.runs.stages.needs import Needs


def quote(needs: Needs, store: Store, provider: Provider, *, vectors: bool = True) -> dict[str, Any]:
    """Counts by kind and in all; `usd` has null for a price that is not known, and 0 for what is written here."""
    kinds = {
        kind: _quote_kind(store, provider, kind, np.unique(needs.asked(kind, owners)))
        for kind, owners in sorted(needs.summary_owners().items())
    }
    encoding = _quote_vectors(needs, store, provider, kinds) if kinds and vectors else None
    parts = [*kinds.values(), *([encoding] if encoding else [])]
    priced = all(part["usd"]["high"] is not None for part in parts)
    return {
        **{name: sum(part[name] for part in kinds.values()) for name in ("prompts", "cached", "identical")},
        "tokens": sum(part["tokens"] for part in parts),
        "usd": {
            edge: round(sum(part["usd"][edge] for part in parts), 6) if priced else None for edge in ("low", "high")
        },
        "minutes": round(sum(part["minutes"] for part in parts), 2),
        "kinds": kinds,
        **({"vectors": encoding} if encoding else {}),
    }


def _quote_kind(store: Store, provider: Provider, kind: Kind, owners: Any) -> dict[str, Any]:
    from engine.semantics.summaries.llm_provider import EndpointProvider
    from sracl_tui.runs.stages.llm_batches import at_provider

    keys = provider.request_keys(kind, owners)
    distinct = list(dict.fromkeys(keys))
    found = caches.known_summaries(store, distinct)
    sent = at_provider(store.home, provider.name) & (set(distinct) - set(found))
    part: dict[str, Any] = {
        "prompts": len(keys),
        "cached": len(found),
        "identical": len(keys) - len(distinct),
        "in_batches": len(sent),
        "to_write": len(distinct) - len(found) - len(sent),
    }
    if not isinstance(provider, EndpointProvider):
        minutes = part["to_write"] / 10_000 / 60
        return part | {"tokens": 0, "usd": {"low": 0.0, "high": 0.0}, "minutes": minutes, "basis": "written here"}
    from engine.semantics.summaries.token_estimates import Seen, estimate

    letters = dict(zip(keys, map(_letters, provider.requests.messages(kind, owners)), strict=True))
    used = costs.tokens_of(store, list(found))
    seen = Seen(
        answers=len(used),
        letters=sum(letters[key] for key in used),
        tokens_in=sum(tokens[0] for tokens in used.values()),
        tokens_out=sum(tokens[1] for tokens in used.values()),
        tokens_cached=sum(tokens[2] for tokens in used.values()),
    )
    pace = costs.mean_call_seconds(store, provider.name, provider.model or "")
    guess = estimate(
        provider,
        kind,
        [letters[key] for key in distinct if key not in found and key not in sent],
        seen=seen,
        call_seconds=pace,
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


def _quote_vectors(needs: Needs, store: Store, provider: Provider, kinds: dict[str, Any]) -> dict[str, Any] | None:
    """What an endpoint's encoder would take; none where texts are encoded here."""
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
    shas = {text_sha256(text): len(text) for text in texts}
    done = caches.known_vectors(store, encoder.name, list(shas))[0] if shas else []
    letters = sum(shas.values()) - sum(shas[sha] for sha in done)
    pace = costs.mean_call_seconds(store, *encoder.name.split(":", 1))
    return {"texts": len(shas) + unwritten, "cached": len(done)} | estimate_vectors(
        encoder, written=len(shas) - len(done), letters=letters, unwritten=unwritten, call_seconds=pace
    )


def _letters(messages: list[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages)


def quote_summaries(
    home: Home, config: Config, kinds: tuple[str, ...], *, vectors: bool = False, batch: bool = False
) -> dict[str, Any]:
    """The document behind `sracl summarize --dry-run`; with `vectors`, what a run pays for beside the summaries too.

    Args:
        batch: asked by the provider's Batch API, at its prices.

    Raises:
        LookupFailed: there is no such dataset.
        ConfigError: a setting does not fit the provider.
    """
    from sracl_tui.runs.stages import factories
    from sracl_tui.runs.stages.llm_batches import plan_batches
    from sracl_tui.runs.stages.needs import needs_of

    with open_store(home) as store:
        name = config.data.dataset
        if name == DEMO and datasets.find(store, name) is None:
            from engine.data.demo import make_demo

            dataset = make_demo().first_users(config.data.max_users)
        else:
            dataset = open_dataset(store, name, max_users=config.data.max_users)
        needs = needs_of(config, dataset, kinds)
        provider = factories.provider(needs, home)
        plan_batches(provider, store, None, None, send=batch, wait=False)
        found = quote(needs, store, provider, vectors=vectors)
        own = {"provider": provider.name, "model": provider.model, "prompt": provider.prompt_version}
        return own | {"batch": _batches(provider, found) if batch else None} | found


def _batches(provider: Any, found: dict[str, Any]) -> dict[str, Any]:
    """How many batches it takes, and how long at most."""
    own = provider.endpoint.batch
    files = sum(-(-part["to_write"] // own.requests) for part in found["kinds"].values())
    return {"files": files, "window": own.window, "price_factor": own.price_factor}


def dollars(usd: float | None) -> str:
    """`$0.0123`, `$12.30`, or `unknown`."""
    if usd is None:
        return "unknown"
    return f"${usd:.4f}" if 0 < usd < 0.1 else f"${usd:.2f}"


def cost_line(usd: dict[str, float | None]) -> str:
    """Low and high as words."""
    return "unknown price" if usd["high"] is None else f"{dollars(usd['low'])} to {dollars(usd['high'])}"
