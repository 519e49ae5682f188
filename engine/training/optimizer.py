"""Adam as torch computes it, without the import of torch's compiler; and Adam of the rows that a step touches."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn


class Adam(torch.optim.Adam):
    """The same updates, state and hooks as `torch.optim.Adam`, ready seconds earlier in a new process.

    Torch wraps these methods so that `torch.compile` leaves them alone, and the first call of any wrapper imports
    `torch._dynamo` with sympy and scikit-learn, which takes about as long as torch itself (seen in torch 2.13). Nothing
    is compiled here. A method that a later torch no longer wraps is taken as it is.
    """

    add_param_group = unwrap(torch.optim.Adam.add_param_group)
    zero_grad = unwrap(torch.optim.Adam.zero_grad)
    state_dict = unwrap(torch.optim.Adam.state_dict)
    load_state_dict = unwrap(torch.optim.Adam.load_state_dict)
    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class RowAdam(Adam):
    """Adam of the rows that have a gradient in a step; others keep their values and moments (torch's `SparseAdam`, on dense gradients, too).

    As Adam where every step touches every row, and for a row up to its second touch: Adam moves a row by its momentum in the steps
    between two touches, and lets its moments decay, and this does not. So it is another optimizer, for tables of which a step sees little.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    gradient = weight.grad if weight.grad.is_sparse else weight.grad.to_sparse(1)
                    self._update(weight, gradient.coalesce(), group)

    def _update(self, weight: Tensor, gradient: Tensor, group: Mapping[str, Any]) -> None:
        state, (beta1, beta2) = self.state[weight], group["betas"]
        if not state:
            state |= {"step": torch.tensor(0.0)}
            state |= {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        state["step"] += 1
        step, rows, values = float(state["step"]), gradient.indices()[0], gradient.values()
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)  # (R, D)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        scale = square.sqrt_().div_((1 - beta2**step) ** 0.5).add_(group["eps"])
        weight.index_add_(0, rows, mean.div_(scale), alpha=-group["lr"] / (1 - beta1**step))


ROWS = ":rows"
"""Ends the name of a group's parameters that `RowAdam` updates."""


class Optimizers:
    """One Adam for each group of parameters that is updated apart from the others; most methods have one group, `all`."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[nn.Parameter]],
        *,
        lr: float,
        weight_decay: float,
        by_row: Collection[nn.Parameter] = (),
    ) -> None:
        """All of them at their first step.

        Args:
            by_row: parameters of the groups of which a step updates the rows with a gradient alone.
        """
        chosen = {id(parameter) for parameter in by_row}
        self.by_group: dict[str, Adam] = {}
        for name, parameters in groups.items():
            whole = [parameter for parameter in parameters if id(parameter) not in chosen]
            rows = [parameter for parameter in parameters if id(parameter) in chosen]
            if whole:
                self.by_group[name] = Adam(whole, lr=lr, weight_decay=weight_decay, fused=True)
            if rows:
                self.by_group[name + ROWS] = RowAdam(rows, lr=lr)

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.by_group.values():
            optimizer.zero_grad(set_to_none=True)

    def step(self, updates: str) -> None:
        """Update the parameters of a group; `all` updates every group."""
        for optimizer in self._of(updates):
            optimizer.step()

    def parameters(self, updates: str) -> list[nn.Parameter]:
        """What `step` updates."""
        return [parameter for one in self._of(updates) for group in one.param_groups for parameter in group["params"]]

    def _of(self, updates: str) -> list[Adam]:
        return [one for name, one in self.by_group.items() if updates in ("all", name.removesuffix(ROWS))]

    def slots(self) -> dict[str, Tensor]:
        """The states of all parameters: `<n>.<slot>` of a single group, `<group>.<n>.<slot>` of several."""
        alone = len(self.by_group) == 1
        return {
            f"{number}.{slot}" if alone else f"{name}.{number}.{slot}": value
            for name, optimizer in self.by_group.items()
            for number, slots in optimizer.state_dict()["state"].items()
            for slot, value in slots.items()
        }

    def load(self, slots: Mapping[str, Tensor]) -> None:
        """Take states back as `slots` gave them; before its first step an optimizer has none."""
        alone = len(self.by_group) == 1
        for name, optimizer in self.by_group.items():
            states: dict[int, dict[str, Tensor]] = {}
            for key, value in slots.items():
                group, _, rest = (name, "", key) if alone else key.partition(".")
                if group == name:
                    number, slot = rest.split(".", 1)
                    states.setdefault(int(number), {})[slot] = value
            whole: dict[str, Any] = optimizer.state_dict()
            optimizer.load_state_dict({"state": states, "param_groups": whole["param_groups"]})
