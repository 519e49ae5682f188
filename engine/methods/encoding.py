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
from engine.processes import ALONE, Processes


def encode_views(
    backbone: Backbone,
    views: Sequence[View],
    windows: Windows,
    *,
    grad: bool = True,
    bfloat16: bool = False,
    processes: Processes = ALONE,
    by_rows: Sequence[bool] = (),
) -> list[Tensor | States]:
    """What each view reads, (C, D) or `States`, in the order of the views.

    Args:
        grad: false encodes everything without gradient.
        bfloat16: whether products of the encoder are computed in bfloat16; what it returns is float32 then, too.
        processes: they have the same views, and each encodes its share of their sequences.
        by_rows: whether of a view this share is read and not all sequences; none: all are read.

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
            encode = _encode if processes.count == 1 else _encode_share
            found |= dict(zip(group, encode(backbone, chosen, windows, bfloat16, processes), strict=True))
    if processes.count == 1:
        return [_read(found[number], view.read, len(view)) for view, number in zip(views, index, strict=True)]
    asked = list(zip(views, index, by_rows or [False] * len(views), strict=True))
    whole = {
        number: _whole(found[number], len(distinct[number]), processes)
        for number in sorted({number for _, number, own in asked if not own})
    }
    own_counts = [processes.sizes(len(view))[processes.number] for view in views]
    return [
        _read(found[number], view.read, count) if own else _read(whole[number], view.read, len(view))
        for (view, number, own), count in zip(asked, own_counts, strict=True)
    ]


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


def _read(found: Tensor | States, read: str, count: int) -> Tensor | States:
    """What a view of so many sequences wants of its pass, which may have been read at more tokens for another view."""
    return found.last(count) if read == "last" and isinstance(found, States) else found


def _encode_share(
    backbone: Backbone, views: Sequence[View], windows: Windows, bfloat16: bool, processes: Processes
) -> list[Tensor] | list[States]:
    """States of this process's sequences of views of one layout."""
    numbers: dict[Edit, list[Tensor]] = {}
    before: dict[Edit, int] = {}
    spans = [processes.span(len(view)) for view in views]
    empty = all(span.start == span.stop for span in spans)  # a backbone wants one sequence at least
    spans = [slice(0, 1), *spans[1:]] if empty else spans
    for view, span in zip(views, spans, strict=True):
        if view.edit is not None:
            first = before.get(view.edit, 0)
            numbers.setdefault(view.edit, []).append(torch.arange(first + span.start, first + span.stop))
            before[view.edit] = first + len(view)
    chosen = {edit: torch.cat(parts) for edit, parts in numbers.items()}
    edits = {edit: _edit_of(edit, some) for edit, some in chosen.items() if len(some)}
    own = [
        replace(
            view, sequences=_some_of(view.sequences, span), edit=None if view.edit is None else edits.get(view.edit)
        )
        for view, span in zip(views, spans, strict=True)
    ]
    found = _encode(backbone, own, windows, bfloat16)
    if not empty:
        return found
    one = found[0]
    nothing = one[:0] if isinstance(one, Tensor) else States(*(value[:0] for value in vars(one).values()))
    return [nothing, *found[1:]]  # pyright: ignore[reportReturnType]


def _edit_of(edit: Edit, numbers: Tensor) -> Edit:
    some = getattr(edit, "of_sequences", None)
    return edit if some is None else some(numbers)


def _some_of(sequences: Tensor | Runs, span: slice) -> Tensor | Runs:
    if isinstance(sequences, Tensor):
        return sequences[span]
    return replace(sequences, starts=sequences.starts[span], lengths=sequences.lengths[span])


def _whole(found: Tensor | States, count: int, processes: Processes) -> Tensor | States:
    """States of all C sequences of a view, of which this process has encoded its share."""
    if isinstance(found, Tensor):
        return processes.gathered(found, processes.sizes(count))
    tokens = processes.lengths(len(found.rows))
    columns = torch.stack([found.rows + processes.span(count).start, found.items, found.edited.long()], 1)  # (T, 3)
    rows, items, edited = processes.gathered(columns, tokens).unbind(1)
    return States(processes.gathered(found.hidden, tokens), rows, items, edited.bool())


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


def _encode(
    backbone: Backbone, views: Sequence[View], windows: Windows, bfloat16: bool, processes: Processes = ALONE
) -> list[Tensor] | list[States]:
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
