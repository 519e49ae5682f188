"""Encodes what all parts of a method ask for: one packed batch, one pass of the backbone.

Views that see their sequence both ways, that are encoded without gradient, or that are read at other tokens than the last have a batch of
their own.
Edits are applied part by part over the whole row of tokens. That order, of views, of edits, and of the random numbers that they draw, is what makes a run
repeatable.

Legend: C sequences of a view, T packed tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from engine.data.batching.windows import Batch, Packed, Runs, Windows
from engine.errors import ConfigError
from engine.methods.base import Edit, States, Tokens, View
from engine.models.backbone import Backbone, weight_of


def encode_views(
    backbone: Backbone, views: Sequence[View], windows: Windows, *, grad: bool = True, bfloat16: bool = False
) -> list[Tensor | States]:
    """What each view reads, (C, D) or `States`, in the order of the views.

    Args:
        grad: false encodes everything without gradient.
        bfloat16: whether products of the encoder are computed in bfloat16; what it returns is float32 then, too.

    Raises:
        ConfigError: views of one key cannot share a pass, or the backbone cannot give what a view wants.
    """
    places: dict[str, int] = {}
    distinct: list[View] = []
    index: list[int] = []
    for view in views:
        place = len(distinct) if view.key is None else places.setdefault(view.key, len(distinct))
        if place < len(distinct):
            distinct[place] = _joined(distinct[place], view, windows)
        else:
            distinct.append(view)
        index.append(place)
    found: dict[int, Tensor | States] = {}
    for group in _layouts(distinct):
        chosen = [distinct[number] for number in group]
        with nullcontext() if grad and chosen[0].grad else torch.no_grad():
            found |= dict(zip(group, _encode(backbone, chosen, windows, bfloat16), strict=True))
    return [_read(view, found[number]) for view, number in zip(views, index, strict=True)]


def _joined(one: View, other: View, windows: Windows) -> View:
    """The pass that two views of one key share.

    Raises:
        ConfigError: no pass is what both want.
    """
    read = max(one.read, other.read, key=_READS.index)
    if (one.causal, one.grad) != (other.causal, other.grad):
        problem = "differ in causal or grad"
    elif one.edit is not None and other.edit is not None and one.edit != other.edit:
        problem = "have two edits"
    elif (
        (one.read == "last") != (other.read == "last")
        and windows.shared
        and one.causal
        and isinstance(one.sequences, Tensor)
    ):
        problem = "are read at the last item and at others, which prefixes that share windows cannot be"
    else:
        return replace(one, edit=one.edit or other.edit, read=read)
    raise ConfigError(f"views with the key {one.key!r} {problem}", hint="Give them keys of their own.")


def _read(view: View, found: Tensor | States) -> Tensor | States:
    """What a view wants of its pass, which may have been read at more tokens for another view."""
    return found.last(len(view)) if view.read == "last" and isinstance(found, States) else found


def _layouts(views: Sequence[View]) -> list[list[int]]:
    """Numbers of the views that can be encoded together."""
    groups: dict[tuple[bool, bool, str], list[int]] = {}
    for number, view in enumerate(views):
        groups.setdefault(_how(view), []).append(number)
    return list(groups.values())


_READS = ("last", "edited", "every")
"""What may be read, in order: each is at all tokens of the one before, and at more."""


def _how(view: View) -> tuple[bool, bool, str]:
    return view.causal, view.grad, view.read


def _encode(backbone: Backbone, views: Sequence[View], windows: Windows, bfloat16: bool) -> list[Tensor] | list[States]:
    """States of views of one layout."""
    batch = windows.gather(_sequences(backbone, views, windows), weight_of(backbone).device)
    if not views[0].causal:
        batch = replace(batch, packed=replace(batch.packed, causal=False))
    tokens = _edited(backbone, views, batch)
    if views[0].read != "last":
        return _states(backbone, views, batch, tokens, bfloat16)
    packed = batch.packed if tokens is None else replace(batch.packed, items=tokens.items)
    vectors = None if tokens is None else tokens.vectors
    hidden = _hidden(backbone, packed, batch.indices, vectors, bfloat16)
    return list(hidden.split([len(view) for view in views]))


def _sequences(backbone: Backbone, views: Sequence[View], windows: Windows) -> list[Tensor | Runs]:
    """What each view encodes. A window that several prefixes share shows more than each of them: only last states are read there."""
    causal, _, read = _how(views[0])
    name = type(backbone).__name__
    if read != "last" and not backbone.causal:
        raise ConfigError(f"backbone {name} gives no state at every item, which a part reads", where="model.backbone")
    if not causal and not backbone.both_ways:
        raise ConfigError(f"backbone {name} cannot see a sequence both ways, as a part wants", where="model.backbone")
    whole = causal and read == "last"
    return [
        windows.anchor_runs(view.sequences) if isinstance(view.sequences, Tensor) and not whole else view.sequences
        for view in views
    ]


def _hidden(
    backbone: Backbone,
    packed: Packed,
    indices: Tensor | None,
    vectors: Tensor | None,
    bfloat16: bool,
    *,
    few: bool = False,
) -> Tensor:
    weight = weight_of(backbone)
    encode = backbone.encode_few if few else backbone.encode_at
    with torch.autocast(weight.device.type, torch.bfloat16) if bfloat16 else nullcontext():
        hidden = backbone(packed, vectors) if indices is None else encode(packed, indices, vectors)
    return hidden.to(weight.dtype)  # the losses need more than a bfloat16's 8 bits


def _edited(backbone: Backbone, views: Sequence[View], batch: Batch) -> Tokens | None:
    """All tokens after the edits; none where there is no edit."""
    spans = list(pairwise([0, *torch.tensor(batch.sequences).cumsum(0).tolist()]))
    edits: dict[Edit, list[int]] = {}
    for number, view in enumerate(views):
        if view.edit is not None:
            edits.setdefault(view.edit, []).append(number)
    packed = batch.packed
    plain = type(backbone).input_vectors is Backbone.input_vectors
    embedding = backbone.item_embedding if plain else backbone.input_vectors
    tokens = None
    for edit, numbers in edits.items():
        mine = tokens_of(packed, [spans[number] for number in numbers])
        if tokens is None:
            tokens = Tokens(packed, mine, packed.items, None, embedding)
        tokens = edit(replace(tokens, mine=mine))
    return tokens


def tokens_of(packed: Packed, spans: Sequence[tuple[int, int]]) -> Tensor:
    """(T,) which tokens, but for padding, belong to the sequences with numbers in any of the spans (first, stop), as requested."""
    chosen = torch.zeros(len(packed.last), dtype=torch.bool, device=packed.last.device)
    for first, stop in spans:
        chosen[packed.restore[first:stop]] = True  # by packed order
    if packed.padding_mask is not None:
        return (chosen[:, None] & ~packed.padding_mask).flatten()
    return torch.repeat_interleave(
        chosen, packed.lengths, output_size=len(packed.items)
    )  # with the size given, no wait for the GPU


def _states(
    backbone: Backbone, views: Sequence[View], batch: Batch, tokens: Tokens | None, bfloat16: bool
) -> list[States]:
    """States at every token, or at the last and edited ones, view by view; tokens that pad are left out."""
    packed = batch.packed
    items = packed.items if tokens is None else tokens.items
    vectors = None if tokens is None else tokens.vectors
    changed = items != packed.items
    if vectors is not None:
        with torch.no_grad():
            changed = changed | (vectors != backbone.input_vectors(packed.items)).any(1)
    if views[0].read == "every":
        read = torch.arange(len(packed.items), device=packed.items.device)
    else:
        wanted = changed.clone() if packed.padding_mask is None else changed & ~packed.padding_mask.flatten()
        wanted[packed.last] = True
        read = wanted.nonzero()[:, 0]
    hidden = _hidden(
        backbone, replace(packed, items=items), read, vectors, bfloat16, few=views[0].read == "edited"
    )  # (R, D) of R tokens that are read
    requested = torch.empty_like(packed.restore)
    requested[packed.restore] = torch.arange(len(requested), device=requested.device)
    rows = (
        requested[packed.sequences]
        if packed.padding_mask is None
        else requested.repeat_interleave(packed.padding_mask.shape[1])
    )
    real = torch.ones_like(changed) if packed.padding_mask is None else ~packed.padding_mask.flatten()
    rows, before_edit, changed, real = rows[read], packed.items[read], changed[read], real[read]
    if len(views) == 1 and packed.padding_mask is None:
        return [States(hidden, rows, before_edit, changed)]
    found: list[States] = []
    before = 0
    for count in batch.sequences:
        kept = (rows >= before) & (rows < before + count) & real
        found.append(States(hidden[kept], rows[kept] - before, before_edit[kept], changed[kept]))
        before += count
    return found
