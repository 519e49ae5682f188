"""A training's state in one file: weights, optimizer, random number generators and loop state.

One safetensors file, replaced atomically: a reader finds the old one or the new one whole. A digest of its content tells
whether its bytes have changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import CheckpointError
from engine.files import atomic_write, flush_to_disk
from engine.training.optimizer import Optimizers

FORMAT = "sracl-checkpoint-2"
READABLE = (FORMAT, "sracl-checkpoint-1")
"""Formats that are read: 1 has one optimizer, whose names are those of a single group."""


@dataclass(frozen=True)
class LoopState:
    """Where the training loop stands: after an epoch, or after some steps of the next one."""

    config_hash: str
    dataset_sha256: str
    seed: int
    epoch: int
    step: int
    best_epoch: int
    best_score: float
    bad_epochs: int
    done: int = 0
    """Steps done in the epoch after `epoch`; `step` counts the steps of whole epochs."""
    sums: tuple[float, ...] = ()
    """Sums over these steps of the loss and of its terms, in the order of the method's parts."""
    seconds: float = 0.0
    """Duration of these steps."""


def save(
    path: Path,
    *,
    model: nn.Module,
    state: LoopState,
    optimizers: Optimizers | None = None,
    previous: Path | None = None,
) -> None:
    """Write a checkpoint; with the optimizers it can be trained on from, and holds the generators' states too.

    Args:
        previous: path at which the current checkpoint of `path` is kept.

    Raises:
        CheckpointError: the file cannot be written; an older one is unchanged.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimizers is not None:
        tensors |= {f"optimizer.{name}": value for name, value in optimizers.slots().items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        device = next(model.parameters()).device
        if device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(
                device  # that trains, which need not be the first
            )
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(asdict(state))
    metadata = {"format": FORMAT, "state": text, "digest": _digest(tensors, text)}
    try:
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata)
            flush_to_disk(temporary)
            if previous is not None and path.exists():
                _keep(path, previous)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot be written: {error}", where=str(path), hint="Is the disk full?") from error


def _keep(path: Path, to: Path) -> None:
    """Give a file a second name; a file that had this name is replaced."""
    with atomic_write(to) as link:
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, link)


def load(path: Path, *, model: nn.Module, optimizers: Optimizers | None = None) -> LoopState:
    """Read a checkpoint into a model, and into optimizers and the generators where optimizers are given.

    Raises:
        CheckpointError: the file is missing, damaged, or of another shape.
    """
    tensors, state = _read(path)
    try:
        model.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        raise CheckpointError(f"does not fit this model: {error}", where=str(path)) from None
    if optimizers is not None:
        if "rng.cpu" not in tensors:
            raise CheckpointError("this checkpoint has no optimizer: it cannot be trained on from", where=str(path))
        optimizers.load(_under("optimizer.", tensors))
        torch.set_rng_state(tensors["rng.cpu"])
        device = next(model.parameters()).device
        if device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], device)
    return state


def read_state(path: Path) -> LoopState:
    """The loop state alone.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    return _read(path)[1]


def read_weights(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The model's weights whose name begins with `prefix`, by the rest of their name.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    return _under(f"model.{prefix}", _read(path)[0])


def _read(path: Path) -> tuple[dict[str, Tensor], LoopState]:
    if not path.exists():
        raise CheckpointError("there is no such checkpoint", where=str(path))
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") not in READABLE:
                raise CheckpointError("this is not a checkpoint of ours", where=str(path))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["digest"] != _digest(tensors, metadata["state"]):
            raise ValueError("its content has changed since it was written")
        values = json.loads(metadata["state"])
        state = LoopState(**values | {"sums": tuple(values.get("sums", ()))})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"damaged: {error}", where=str(path), hint="Start the run anew.") from None
    return tensors, state


def _digest(tensors: dict[str, Tensor], state: str) -> str:
    """SHA-256 of everything in a checkpoint, in order of the names."""
    digest = hashlib.sha256(state.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"\n{name} {value.dtype} {list(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
