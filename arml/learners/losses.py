"""The losses l of ARML's objective, eq. (5): monotone decreasing functions of the signed margin of eq. (9).

=============  ==========================  ==================================================
name           l(e)                        remark
=============  ==========================  ==================================================
hinge          [1 - e]_+                   no gradient from points with a margin above 1
exponential    exp(-e)                     dominated by the least robust points
logistic       log(1 + exp(-e))            evaluated as softplus(-e), which does not overflow
negative       -e                          the paper's choice in its experiments
=============  ==========================  ==================================================

A margin is in the units of the preprocessed input, so the first three depend on how the features are scaled.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import softplus

Loss = Callable[[Tensor], Tensor]


def hinge(margin: Tensor) -> Tensor:
    """``[1 - margin]_+``, elementwise."""
    return (1 - margin).clamp(min=0)


def exponential(margin: Tensor) -> Tensor:
    """``exp(-margin)``, elementwise."""
    return torch.exp(-margin)


def logistic(margin: Tensor) -> Tensor:
    """``log(1 + exp(-margin))``, elementwise, without overflow."""
    return softplus(-margin)


def negative(margin: Tensor) -> Tensor:
    """``-margin``, elementwise."""
    return -margin


#: The losses of the paper by name.
LOSSES = MappingProxyType(
    {"hinge": hinge, "exponential": exponential, "logistic": logistic, "negative": negative},
)


def loss_function(name: str) -> Loss:
    """The loss of that name: a differentiable function of a tensor of margins, elementwise.

    Raises
    ------
    ValueError
        If the name is unknown; the message lists the names.
    """
    if name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; use one of {', '.join(LOSSES)}")
    return LOSSES[name]
