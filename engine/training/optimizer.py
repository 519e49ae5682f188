"""Adam as torch computes it, without the import of torch's compiler."""

from __future__ import annotations

from inspect import unwrap

import torch


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
