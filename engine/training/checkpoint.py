"""A training's state in one file: weights, optimizer, random number generators and loop state.

One safetensors file, replaced atomically: a reader finds the old one or the new one whole. A digest of its content tells
whether its bytes have changed since.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import CheckpointError
from engine.files import atomic_write, flush_to_disk
from engine.training.checkpoint_files import BEST, LAST, PREVIOUS
from engine.training.optimizer import Optimizers

FORMAT = "sracl-checkpoint-2"
READABLE = (FORMAT, "sracl-checkpoint-1")
"""Formats that are read: 1 has one optimizer, whose names are those of a single group."""
OWN_STATES = "rng.process."
"""Begins the names of the states of generators that processes have of their own."""


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
    own_states: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint; with the optimizers it can be trained on from, and holds the generators' states too.

    Args:
        previous: path at which the current checkpoint of `path` is kept.
        own_states: states of the generators that each of several processes has of its own, by name.

    Raises:
        CheckpointError: the file cannot be written; an older one is unchanged.
    """
    tensors = tensors_of(model, optimizers) | dict(own_states or {})
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


def tensors_of(model: nn.Module, optimizers: Optimizers | None = None) -> dict[str, Tensor]:
    """What a checkpoint of a model holds, by name, on the CPU; with optimizers the generators' states too."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if optimizers is not None:
        tensors |= {f"optimizer.{name}": value for name, value in optimizers.slots().items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        device = next(model.parameters()).device
        if device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(
                device  # that trains, which need not be the first
            )
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


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
    if optimizers is not None and "rng.cpu" not in tensors:
        raise CheckpointError("this checkpoint has no optimizer: it cannot be trained on from", where=str(path))
    try:
        restore(tensors, model=model, optimizers=optimizers)
    except RuntimeError as error:
        raise CheckpointError(f"does not fit this model: {error}", where=str(path)) from None
    return state


def restore(tensors: Mapping[str, Tensor], *, model: nn.Module, optimizers: Optimizers | None = None) -> None:
    """Take over what `tensors_of` gave."""
    model.load_state_dict(_under("model.", tensors))
    if optimizers is not None:
        optimizers.load(_under("optimizer.", tensors))
        torch.set_rng_state(tensors["rng.cpu"])
        device = next(model.parameters()).device
        if device.type == "cuda" and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"], device)


def find(folder: Path, ours: LoopState, *, processes: int, warn: Callable[[str], None]) -> Path | None:
    """The checkpoint of a folder to go on from: the last one, the previous one where it is damaged; none where both are.

    Args:
        ours: of the training that goes on.
        processes: of that training.
        warn: is told of what is otherwise than it was, such as a damaged checkpoint.

    Raises:
        CheckpointError: there is none, it is that of another training, or other processes are within an epoch.
    """
    paths = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for path in paths or [folder / LAST]:
        try:
            tensors, state = _read(path)
            if state.best_epoch:
                read_state(folder / BEST)  # the best weights are read at the end
        except CheckpointError as error:
            if not paths:
                raise
            warn(f"a checkpoint cannot be used, the one before is taken: {error.message}")
            continue
        for name in ("config_hash", "dataset_sha256", "seed"):
            if (was := getattr(state, name)) != (now := getattr(ours, name)):
                raise CheckpointError(
                    f"its {name} is {was}, this run's is {now}", where=str(path), hint="Start a new run."
                )
        _check_processes(path, state, processes_of(tensors), processes, warn)
        return path
    return None


def _check_processes(path: Path, state: LoopState, before: int, now: int, warn: Callable[[str], None]) -> None:
    if before == now:
        return
    if state.done:
        raise CheckpointError(
            f"{before} processes saved it within epoch {state.epoch + 1}, and this training has {now}",
            where=str(path),
            hint=f"Continue it with train.processes = {before}.",
        )
    warn(
        f"{now} processes go on from epoch {state.epoch + 1}, {before} were before: from here on the random numbers are others"
    )


def own_states(path: Path) -> dict[str, Tensor]:
    """States of the generators that each of several processes had of its own, by name; none of one process."""
    return {name: value for name, value in _read(path)[0].items() if name.startswith(OWN_STATES)}


def processes_of(states: Mapping[str, Tensor]) -> int:
    """How many processes there were, by what a checkpoint holds."""
    own = {name.removeprefix(OWN_STATES).partition(".")[0] for name in states if name.startswith(OWN_STATES)}
    return len(own) or 1


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


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
