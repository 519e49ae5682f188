"""Several processes that share the batches of a training.

Every process draws the same batches and the same views of them, encodes its share of the sequences, and computes the same losses of the
gathered states; gradients are summed. So the mathematics is that of one process, while dropout draws other numbers.

Legend: N processes, C rows of all of them together, P parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError, TrainingError
from engine.methods.model import Losses
from engine.models.backbone import weight_of
from engine.processes import Found, Processes, pick_device
from engine.training import checkpoint
from engine.training.checkpoint import OWN_STATES
from engine.training.optimizer import Optimizers
from engine.training.transport import Transport

APART = 1e-3
"""Relative difference of one loss in two processes beyond which they do not compute the same."""


class _Gathered(torch.autograd.Function):
    """Rows of all processes, of which all compute the same: the gradient needs no communication."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, group: ProcessGroup, sizes: Sequence[int]) -> Tensor:
        first = sum(sizes[: group.number])
        ctx.count, ctx.span = group.count, slice(first, first + len(rows))
        return group.transport.join(rows.detach(), sizes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0][ctx.span] * ctx.count, None, None


class ProcessGroup(Processes):
    """This process and the others."""

    def __init__(self, transport: Transport, number: int, count: int, *, local: int) -> None:
        """Process `number` of `count`.

        Args:
            local: number among the processes of this machine, which is that of its GPU.
        """
        self.transport, self.number, self.count, self.local = transport, number, count, local
        self._device = torch.device("cpu")
        self._states: dict[str, Tensor] = {}
        self._apart: Tensor | None = None  # the largest relative difference of a loss that all processes compute

    def device(self, name: str) -> torch.device:
        device = pick_device(name)
        if device.type == "cpu":
            return device
        torch.cuda.set_device(self.local)
        return torch.device("cuda", self.local)

    def begin(self, state: Any, model: Any, optimizers: Optimizers, own_states: Mapping[str, Tensor]) -> Any:
        self._device = weight_of(model).device
        state, states, tensors = self.shared(
            lambda: (state, dict(own_states), checkpoint.tensors_of(model, optimizers))
        )
        if self.number:
            checkpoint.restore(tensors, model=model, optimizers=optimizers)
        first = f"{OWN_STATES}{self.number}."
        self._states = {name.removeprefix(first): value for name, value in states.items() if name.startswith(first)}
        if not self._states:
            self._seed_own(state.seed, state.epoch)
        return state

    def _seed_own(self, seed: int, epoch: int) -> None:
        """Let the own random numbers begin at an epoch of a seed."""
        device = self._device
        text = f"{seed} {epoch} {self.number} of {self.count}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
        self._states = {"cpu": torch.Generator().manual_seed(number).get_state()}
        if device.type == "cuda":
            self._states["cuda"] = torch.Generator(device).manual_seed(number).get_state()

    def share_model(self, model: nn.Module) -> None:
        tensors = self.shared(lambda: checkpoint.tensors_of(model))
        if self.number:
            checkpoint.restore(tensors, model=model)

    def share_buffers(self, model: nn.Module) -> None:
        children = [child for name, child in model.named_children() if name != "backbone"]
        named = [(child.state_dict(), [name for name, _ in child.named_buffers()]) for child in children]
        buffers = [state[name] for state, names in named for name in names if name in state]
        found, random = self.shared(lambda: ([value.cpu() for value in buffers], self._current()))
        if self.number:
            for value, other in zip(buffers, found, strict=True):
                value.copy_(other)
            self._exchanged(random)

    def summed(self, losses: Losses, optimizers: Optimizers, updates: str) -> Losses:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A parameter has a gradient then where it has one in any process."""
        values = torch.stack([losses.total, *losses.terms.values()]).detach()
        total, *terms = self._sum_gradients(optimizers.parameters(updates), values)
        found = replace(losses, total=total, terms=dict(zip(losses.terms, terms, strict=True)))
        for name in losses.by_all:
            one = self.count * losses.terms[name].detach()
            apart = (found.terms[name] - one).abs() / (1 + one.abs())
            self._apart = apart if self._apart is None else torch.maximum(self._apart, apart)
        return found

    def _sum_gradients(self, parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
        """Sum gradients, and in the same call some values."""
        sums = values
        for number, kind in enumerate(dict.fromkeys(parameter.dtype for parameter in parameters)):
            chosen = [parameter for parameter in parameters if parameter.dtype == kind]
            has = values.new_tensor([parameter.grad is not None for parameter in chosen])  # (P,)
            gradients = [
                parameter.new_zeros(parameter.numel()) if parameter.grad is None else parameter.grad.flatten()
                for parameter in chosen
            ]
            whole = torch.cat([values.to(kind), has.to(kind), *gradients])
            self.transport.sum(whole)
            summed, has, *parts = whole.split([len(values), len(chosen), *(len(gradient) for gradient in gradients)])
            sums = summed if number == 0 else sums
            # A GPU is asked only where this process has no gradient of its own.
            known = has.tolist() if any(parameter.grad is None for parameter in chosen) else [1.0] * len(chosen)
            for parameter, part, one in zip(chosen, parts, known, strict=True):
                parameter.grad = part.view_as(parameter) if one else None
        return sums

    def check_same_losses(self) -> None:
        apart, self._apart = self._apart, None
        if apart is not None and float(apart) > APART:
            raise TrainingError(
                "a loss of the whole batch is not the same in all processes",
                where="train.processes",
                hint="Does code of your own draw random numbers elsewhere than from torch? Use train.processes = 1 with it.",
            )

    @contextmanager
    def own_random(self) -> Iterator[None]:
        common = self._exchanged(self._states)
        try:
            yield
        finally:
            self._states = self._exchanged(common)

    def _current(self) -> dict[str, Tensor]:
        """The states of the global generators."""
        states = {"cpu": torch.get_rng_state()}
        return states | ({"cuda": torch.cuda.get_rng_state(self._device)} if self._device.type == "cuda" else {})

    def _exchanged(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The states of the global generators, which these replace."""
        before = self._current()
        torch.set_rng_state(states["cpu"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self._device)
        return before

    def random_states(self) -> dict[str, Tensor]:
        found = self.together(lambda: self._states)
        return {
            f"{OWN_STATES}{number}.{name}": state
            for number, states in enumerate(found)
            for name, state in states.items()
        }

    def gathered(self, rows: Tensor, sizes: Sequence[int]) -> Tensor:
        return _Gathered.apply(rows, self, sizes)  # pyright: ignore[reportReturnType]

    def lengths(self, length: int) -> list[int]:
        return self.transport.join(torch.tensor([length]), [1] * self.count).tolist()

    def agreed(self, *wishes: bool) -> tuple[bool, ...]:
        counts = torch.tensor(wishes, dtype=torch.int32)  # on the CPU: a GPU is not waited for
        self.transport.sum(counts)
        return tuple(count > 0 for count in counts.tolist())

    def together(self, work: Callable[[], Found]) -> list[Found]:
        found, error = None, None
        try:
            found = work()
        except EngineError as raised:
            error = raised
        except Exception as raised:
            error = TrainingError(f"process {self.number} of {self.count}: {type(raised).__name__}: {raised}")
            error.__cause__ = raised
        every = self.transport.every((found, error))
        if error is not None:
            raise error
        for _, other in every:
            if other is not None:
                raise other
        return [one for one, _ in every]

    def shared(self, make: Callable[[], Found]) -> Found:
        return self.transport.first(make() if self.number == 0 else None)
