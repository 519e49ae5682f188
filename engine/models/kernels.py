"""Kernels of our own for the CPU (kernels.c): what a training step does beside and within its products with weights.

Where they cannot be had (kernel_library.py says why), torch's operators compute the same up to rounding, with the same random numbers, in about
1.5 times the time. Their arguments are checked here, as C does not check them.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.cpu import by_hand
from engine.models.dropout import KEEP_ALL
from engine.models.kernel_library import SWITCH, NoKernels, compiled, give_up, switched_off

NAMES = {torch.float32: "float", torch.float64: "double"}
STEP = 32
"""Widths of products are multiples of this."""
WIDEST = 1024
"""Items of a sequence, and columns of a row, at most."""
LANES = 16
"""Kept attention weights of a token fill whole lanes."""
SIGNATURES = {
    "linear": "tt?t iii",
    "linear_backward": "ttttt? iii",
    "feed_forward": "tttt?t iii",
    "feed_forward_backward": "tttttttttt iii",
    "norm": "t?ktttdkttt ii",
    "norm_backward": "ttttkkttttt ii",
    "add_rows": "tnt iiii",
    "cross_entropy": "tntt ii",
    "attend": "tnn iiiiktt",
    "attend_backward": "tnn iiiikttt",
    "pool": "ttnn iiikttt",
    "pool_backward": "ttnn iiikttttt",
}
"""Arguments of each function: tensors of the numbers' type (t; ? may be none), of 64-bit integers (n), dropout (k), numbers (i, d)."""


class _Keep(ctypes.Structure):
    _fields_ = (
        ("words", ctypes.c_void_p),
        ("bits", ctypes.c_int64),
        ("cut", ctypes.c_int64),
        ("scale", ctypes.c_double),
    )


class Kernels:
    """The functions of kernels.c for one type of numbers, by name."""

    linear: Callable[..., None]
    linear_backward: Callable[..., None]
    feed_forward: Callable[..., None]
    feed_forward_backward: Callable[..., None]
    norm: Callable[..., None]
    norm_backward: Callable[..., None]
    add_rows: Callable[..., None]
    cross_entropy: Callable[..., None]
    attend: Callable[..., None]
    attend_backward: Callable[..., None]
    pool: Callable[..., None]
    pool_backward: Callable[..., None]

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        for name, signature in SIGNATURES.items():
            setattr(self, name, _checked(getattr(library, name), name, signature.replace(" ", ""), dtype))


def _checked(function: Any, name: str, signature: str, dtype: torch.dtype) -> Callable[..., None]:
    function.restype = None
    function.argtypes = [
        {"i": ctypes.c_int64, "d": ctypes.c_double, "k": ctypes.POINTER(_Keep)}.get(kind, ctypes.c_void_p)
        for kind in signature
    ]

    def call(*arguments: Any) -> None:
        assert len(arguments) == len(signature), f"{name} takes {len(signature)} arguments, not {len(arguments)}"
        function(*(_as_c(value, kind, dtype) for value, kind in zip(arguments, signature, strict=True)))

    return call


def _as_c(value: Any, kind: str, dtype: torch.dtype) -> Any:
    if kind == "k":
        words: Tensor | None = value.words
        bits = 8 if words is None else 8 * words.element_size()
        return _Keep(None if words is None else words.data_ptr(), bits, value.cut, value.scale)
    if kind in "id" or (value is None and kind == "?"):
        return value
    assert isinstance(value, Tensor)
    wanted = torch.int64 if kind == "n" else dtype
    assert value.dtype == wanted, f"{value.dtype} in place of {wanted}"
    assert value.is_contiguous(), value.stride()
    return value.data_ptr()


def kernels_for(x: Tensor, *, products: tuple[int, ...] = (), rows: tuple[int, ...] = ()) -> Kernels | None:
    """The kernels for tensors of the type and device of x; none where torch's operators are to be used.

    Args:
        products: widths of what is multiplied.
        rows: columns of rows, or items of sequences.
    """
    if not by_hand(x) or x.dtype not in NAMES or switched_off():
        return None
    if any(width % STEP for width in products) or max(rows, default=0) > WIDEST:
        return None
    return _loaded(x.dtype)[0]


def first_derivative_alone() -> None:
    """To begin the gradient of a kernel with.

    Raises:
        RuntimeError: a gradient of the gradient is wanted, which no kernel has.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(f"the kernels for the CPU have no second derivative; set {SWITCH}=off to go without them")


def missing() -> str:
    """Why there are no kernels on this machine; empty where there are."""
    return _loaded(torch.float32)[1]


@lru_cache
def _loaded(dtype: torch.dtype) -> tuple[Kernels | None, str]:
    """The kernels, or why there are none."""
    try:
        kernels = Kernels(ctypes.CDLL(str(compiled(NAMES[dtype]))), dtype)
        why = "" if _agrees(kernels, dtype) else "on this machine they do not compute what they should"
    except NoKernels as error:
        return None, str(error)
    except (OSError, AttributeError) as error:
        kernels, why = None, f"they cannot be loaded: {error}"
    if why:
        give_up(NAMES[dtype], why)
    return (None, why) if why else (kernels, "")


def _agrees(kernels: Kernels, dtype: torch.dtype) -> bool:
    """Whether they agree with torch's operators on a small example, as a compiler or a machine may be at fault."""
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype) / math.sqrt(shape[-1])

    x, w1, b1, w2, qkv = drawn(9, 64), drawn(96, 64), drawn(96), drawn(64, 96), drawn(9, 192)
    inner, fed, normed, normal, inverse = (x.new_full((9, size), math.nan) for size in (96, 64, 64, 64, 1))
    kernels.feed_forward(x, w1, b1, w2, inner, fed, 9, 64, 96)
    kernels.norm(fed, None, KEEP_ALL, x, b1[:64], b1[32:], 1e-5, KEEP_ALL, normed, normal, inverse, 9, 64)
    attended, weights = torch.full_like(x, math.nan), x.new_empty(2 * 9 * LANES)
    one, nine = torch.tensor([1]), torch.tensor([9])
    kernels.attend(qkv, one, nine, 1, 2, 64, 1, KEEP_ALL, attended, weights)
    fed_there = F.gelu(F.linear(x, w1, b1)) @ w2.T
    normed_there = F.layer_norm(fed_there + x, (64,), b1[:64], b1[32:], 1e-5)
    q, k, v = qkv.view(9, 3, 2, 32).permute(1, 2, 0, 3)
    attended_there = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(0, 1).reshape(9, 64)
    pairs = ((fed, fed_there), (normed, normed_there), (attended, attended_there))
    return all(torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5) for ours, theirs in pairs)
