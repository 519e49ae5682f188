"""Operators that augment sequences of items: crop, mask, reorder, insert, substitute, and who may have which; the masks and
segments of a pretraining.

All rows at once and without a loop over them: a row is padded behind its last item, and each operator is index work on the
whole block, so that it runs on a GPU without waiting for it.

Legend: C rows, n the window, O operators, V items, N items of a long row. A place is counted from 0, the oldest item of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """C sequences of at most n items, the oldest at place 0; what stands behind a row's length is 0."""

    items: Tensor
    """(C, n) item ids."""
    lengths: Tensor
    """(C,) from 1 to n."""
    masked: Tensor
    """(C, n) places whose item is hidden."""

    @classmethod
    def of(cls, items: Tensor, lengths: Tensor) -> Rows:
        """Items (C, n) and lengths (C,), none of them masked; what stands behind the lengths may be anything."""
        return cls(torch.where(_real(items, lengths), items, 0), lengths, torch.zeros_like(items, dtype=torch.bool))

    def equals(self, other: Rows) -> Tensor:
        """(C,) whether a row is that of `other`, with nothing masked in either."""
        same = (self.items == other.items).all(1) & (self.lengths == other.lengths)
        return same & ~self.masked.any(1) & ~other.masked.any(1)

    @classmethod
    def joined(cls, first: Rows, second: Rows) -> Rows:
        """Both, one behind the other."""
        pairs = [(getattr(first, name), getattr(second, name)) for name in ("items", "lengths", "masked")]
        return cls(*(torch.cat(pair) for pair in pairs))

    def at(self, numbers: Tensor) -> Rows:
        """Some of the rows, by number."""
        numbers = numbers.to(self.items.device)
        return Rows(self.items[numbers], self.lengths[numbers], self.masked[numbers])

    def where(self, chosen: Tensor, other: Rows) -> Rows:
        """These rows where `chosen` (C,) is true, those of `other` elsewhere."""
        wide = chosen[:, None]
        return Rows(
            torch.where(wide, self.items, other.items),
            torch.where(chosen, self.lengths, other.lengths),
            torch.where(wide, self.masked, other.masked),
        )


def amounts(ratio: float, lengths: Tensor, *, window: int, least: int = 0) -> Tensor:
    """(C,) floor of ratio times length, as Python rounds it down, from `least` to the length."""
    table = [min(max(int(ratio * length), least), length) for length in range(window + 1)]
    return torch.tensor(table, device=lengths.device)[lengths]


def crop(rows: Rows, count: Tensor) -> Rows:
    """A contiguous run of `count` (C,) items, at least 1, from a uniform start."""
    kept = count.clamp(min=1)
    begin = _start(rows.lengths, kept)
    places = (_places(rows.items) + begin[:, None]).clamp(max=rows.items.shape[1] - 1)
    real = _real(rows.items, kept)
    return Rows(torch.where(real, rows.items.gather(1, places), 0), kept, real & rows.masked.gather(1, places))


def mask(rows: Rows, count: Tensor) -> Rows:
    """`count` (C,) distinct places hidden, the last one as likely as any."""
    return replace(rows, masked=rows.masked | _some_places(rows, count))


def mask_last(rows: Rows, share: float) -> Rows:
    """Each place hidden with probability `share`, and the last one always."""
    drawn = torch.rand(rows.items.shape, device=rows.items.device) < share
    last = _places(rows.items) == rows.lengths[:, None] - 1
    return replace(rows, masked=rows.masked | (_real(rows.items, rows.lengths) & (drawn | last)))


def segments(rows: Rows, source: Tensor) -> tuple[Rows, Rows, Rows]:
    """What surrounds a segment of each row, the segment alone, and another one of as many items from `source` (N,) in its place.

    A segment is a contiguous run of 1 to L // 2 items, each number as likely, from a uniform start; what is not there is hidden.
    A row of one item has none: all three are the row.
    """
    half = rows.lengths // 2
    count = torch.minimum(1 + (torch.rand(len(half), device=half.device) * half).long(), half)  # (C,)
    begin = _start(rows.lengths, count)[:, None]
    places = _places(rows.items)
    inside = (places >= begin) & (places < begin + count[:, None])
    drawn = torch.rand(
        len(half), device=half.device, dtype=torch.float64
    )  # float32 does not reach every item of a long row
    starts = torch.minimum((drawn * (len(source) - count + 1)).long(), len(source) - count)[:, None]
    index = (starts + places - begin).clamp(min=0, max=len(source) - 1)
    outside = _real(rows.items, rows.lengths) & ~inside & (count > 0)[:, None]
    other = torch.where(inside, source[index], rows.items)
    return (
        replace(rows, masked=rows.masked | inside),
        replace(rows, masked=rows.masked | outside),
        Rows(other, rows.lengths, rows.masked | outside),
    )


def draw_outside(rows: Rows, items: int) -> tuple[Tensor, Tensor]:
    """For each place (C, n) an item of 1..`items`, each that its row does not hold as likely, and whether there is one (C,); where
    there is none the item says nothing.
    """
    none = items + 1
    held = torch.where(_real(rows.items, rows.lengths), rows.items, none).sort(dim=1).values  # (C, n)
    repeated = held[:, 1:] == held[:, :-1]
    held[:, 1:] = torch.where(repeated, none, held[:, 1:])
    held = held.sort(dim=1).values  # each item once, ascending
    free = items - (held < none).sum(1)  # (C,)
    below = torch.where(held < none, held - 1 - _places(held), items)  # (C, n) free items below each that is held
    drawn = torch.rand(held.shape, device=held.device, dtype=torch.float64)
    number = torch.minimum((drawn * free[:, None]).long(), free[:, None] - 1).clamp(
        min=0
    )  # which of the free items, from 0
    return (number + 1 + torch.searchsorted(below, number, right=True)).clamp(max=items), free > 0


def reorder(rows: Rows, count: Tensor) -> Rows:
    """A contiguous run of `count` (C,) items from a uniform start, permuted."""
    places = _places(rows.items)  # (1, n)
    begin = _start(rows.lengths, count)[:, None]
    inside = (places >= begin) & (places < begin + count[:, None])
    drawn = begin + torch.rand(rows.items.shape, device=rows.items.device) * count[:, None]
    # A number that is rounded up to the end of the run ties with the place behind it, which a stable sort leaves behind.
    order = torch.where(inside, drawn, places.to(drawn.dtype)).argsort(dim=1, stable=True)
    return replace(rows, items=rows.items.gather(1, order), masked=rows.masked.gather(1, order))


def insert(rows: Rows, count: Tensor, similar: Tensor) -> Rows:
    """Before each of `count` (C,) distinct places the item that is most similar to the one there, by `similar` (V + 1,);
    then the last n items.
    """
    width = rows.items.shape[1]
    before = _some_places(rows, count)
    places = _places(rows.items) + before.cumsum(1)  # (C, n) where each item comes to stand
    real = _real(rows.items, rows.lengths)
    behind = 2 * width  # of no row
    longer = rows.items.new_zeros(len(rows.items), behind + 1)
    longer.scatter_(1, torch.where(real, places, behind), rows.items)
    longer.scatter_(1, torch.where(before, places - 1, behind), similar[rows.items])
    hidden = torch.zeros_like(longer, dtype=torch.bool)
    hidden.scatter_(1, torch.where(real, places, behind), rows.masked)
    lengths = rows.lengths + before.sum(1)
    kept = lengths.clamp(max=width)
    source = _places(rows.items) + (lengths - kept)[:, None]  # (C, n)
    shown = _real(rows.items, kept)
    return Rows(torch.where(shown, longer.gather(1, source), 0), kept, shown & hidden.gather(1, source))


def substitute(rows: Rows, count: Tensor, similar: Tensor) -> Rows:
    """`count` (C,) distinct places become the item that is most similar to the one there, by `similar` (V + 1,)."""
    return replace(rows, items=torch.where(_some_places(rows, count), similar[rows.items], rows.items))


def choose_different(allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Two different operators (B,) for each row, from those that are `allowed` (B, O), each pair as likely.

    A row with one allowed operator has it and one that is not allowed: allow at least two.
    """
    order = _shuffled(allowed)
    return order[:, 0], order[:, 1]


def choose_independent(allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Two operators (B,) for each row, each drawn from all that are `allowed` (B, O), maybe twice the same."""
    return _shuffled(allowed)[:, 0], _shuffled(allowed)[:, 0]


def _shuffled(allowed: Tensor) -> Tensor:
    """(B, O) operators of each row in random order, those that are not allowed last."""
    return (torch.rand(allowed.shape, device=allowed.device) + (~allowed)).argsort(dim=1, stable=True)


def allowed_operators(lengths: Tensor, lists: Sequence[Sequence[int]], *, short_length: int, total: int) -> Tensor:
    """(B, O) which of `total` operators a row may have: those of the second list up to `short_length` items, else of the first."""
    table = torch.zeros(2, total, dtype=torch.bool)
    for row, numbers in enumerate(lists):
        table[row, list(numbers)] = True
    return table.to(lengths.device)[(lengths <= short_length).long()]


def _places(items: Tensor) -> Tensor:
    return torch.arange(items.shape[1], device=items.device)[None]  # (1, n)


def _real(items: Tensor, lengths: Tensor) -> Tensor:
    """(C, n) the places of a row's items."""
    return _places(items) < lengths[:, None]


def _start(lengths: Tensor, count: Tensor) -> Tensor:
    """(C,) uniform starts of runs of `count` (C,) items."""
    last = lengths - count
    drawn = (torch.rand(len(lengths), device=lengths.device) * (last + 1)).long()
    return torch.minimum(drawn, last)  # float32 can round up to the number behind


def _some_places(rows: Rows, count: Tensor) -> Tensor:
    """(C, n) `count` (C,) distinct places of each row, each set as likely."""
    drawn = torch.rand(rows.items.shape, device=rows.items.device)
    drawn = torch.where(_real(rows.items, rows.lengths), drawn, 2.0)
    ranks = torch.empty_like(rows.items)
    ranks.scatter_(1, drawn.argsort(dim=1, stable=True), _places(rows.items).expand_as(ranks))
    return ranks < count[:, None]
