"""A device that no machine needs to have: tensors on it are of another device to torch, and computed on the CPU.

To torch it is the device `meta`; what it holds is real. As with a GPU, an operation on tensors of both devices is refused, but
for single numbers, and for indices that lie on the CPU.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
MOVES = ("aten::_to_copy", "aten::copy_", "aten::_local_scalar_dense")
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")
WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::repeat_interleave")
"""What makes the host wait for a GPU; a move to the CPU does too."""


class Pretended(torch.Tensor):
    """A tensor on the device."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Any:
        """What torch sees of `inner`."""
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    def __repr__(self) -> str:  # pyright: ignore
        return f"Pretended({self.inner!r})"

    def tolist(self) -> Any:
        """Its numbers."""
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        return _run(func, args, kwargs or {}, Counter())


class Machine(TorchDispatchMode):
    """While it is entered there is such a device; `waits` counts what would have made the host wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """One operation."""
        return _run(func, args, kwargs or {}, self.waits)


def _run(func: Any, args: Any, kwargs: dict[str, Any], waits: Counter[str]) -> Any:
    name, asked = func._schema.name, kwargs.get("device")
    tensors = [each for each in tree_flatten((args, kwargs))[0] if isinstance(each, torch.Tensor)]
    ours = any(isinstance(each, Pretended) for each in tensors)
    if ours and name not in MOVES:
        _refuse_mixtures(name, args, tensors)
    if ours and (name in WAITS or (name == "aten::_to_copy" and torch.device(asked or DEVICE).type == "cpu")):
        waits[name] += 1
    plain: dict[str, Any] = tree_map(_inner, kwargs)
    if asked is not None:
        plain["device"] = torch.device("cpu")
    out = func(*tree_map(_inner, args), **plain)
    if name.endswith("_") and isinstance(args[0], torch.Tensor):
        return args[0]
    here = ours if asked is None else torch.device(asked) == DEVICE
    return tree_map(lambda each: Pretended(each) if here and isinstance(each, torch.Tensor) else each, out)


def _inner(each: Any) -> Any:
    return each.inner if isinstance(each, Pretended) else each


def _refuse_mixtures(name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    strangers = [each for each in tensors if not isinstance(each, Pretended) and each.dim()]
    if name in INDEXING and isinstance(args[0], Pretended):
        strangers = [each for each in strangers if not any(each is index for index in args[1])]
    if strangers:
        raise RuntimeError(
            f"{name}: {[tuple(each.shape) for each in strangers]} on the CPU beside the device's tensors"
        )
