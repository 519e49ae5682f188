"""Adam as torch computes it, without the import of torch's compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


class Optimizers:
    """One Adam for each group of parameters that is updated apart from the others; most methods have one group, `all`."""

    def __init__(self, groups: Mapping[str, Sequence[nn.Parameter]], *, lr: float, weight_decay: float) -> None:
        self.by_group = {
            name: Adam(parameters, lr=lr, weight_decay=weight_decay, fused=True) for name, parameters in groups.items()
        }

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer in self.by_group.values():
            optimizer.zero_grad(set_to_none=True)

    def step(self, updates: str) -> None:
        """Update the parameters of a group; `all` updates every group."""
        for name, optimizer in self.by_group.items():
            if updates in ("all", name):
                optimizer.step()

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
