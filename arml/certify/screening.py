"""Lower bounds of all inner problems of eq. (13) at once, from the closed form (eq. 8) with a few anchors.

Any same-class point x_i bounds the problem of any other-class point x_j from below by eq. (8). The nearest same-class
points, the *anchors*, give nearly the best of these bounds, and one matrix product per anchor gives them for all j.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.training_set import TrainingSet

#: Same-class points used per test point.
ANCHORS = 2

_ROUND_OFF = 2.0**-50
_HALF = 0.5 * (1 - _ROUND_OFF)
_TINY = 1e-300


def screen(
    train: TrainingSet, own: slice, C: torch.Tensor, errors: torch.Tensor
) -> tuple[torch.Tensor, NDArray[np.int64]]:
    """Proven lower bounds for all other-class points of the test points of one class.

    Parameters
    ----------
    train : training set; own : rows of the test points' class
    C : (t, n) squared distances from the test points to all training points; errors : (t,) their rounding errors

    Returns
    -------
    lower : (t, n) proven bounds (rounding included), ``inf`` in the columns of the own class
    anchors : (t, a) rows of the anchors, nearest first
    """
    count = min(ANCHORS, own.stop - own.start)
    nearest = C[:, own].topk(count, dim=1, largest=False)
    anchors = nearest.indices + own.start
    half = C * _HALF
    lower = torch.zeros_like(C)
    for q in range(count):
        own_half = (nearest.values[:, q] + 2 * errors) * (0.5 * (1 + _ROUND_OFF))
        torch.maximum(lower, closed_form(train, half, own_half, anchors[:, q]), out=lower)
    lower[:, own] = torch.inf
    return lower, anchors.cpu().numpy()


def closed_form(train: TrainingSet, half: torch.Tensor, own_half: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
    """Eq. (8) for one anchor per test point against all training points, rounded down: (t, n).

    ``half`` (t, n) holds half the squared distances to all training points, rounded down; ``own_half`` (t,) half
    that to the anchor with all errors on top; ``anchor`` (t,) the anchors' rows. Negative where the other point is
    nearer than the anchor, or where rounding leaves nothing proven. The arrays are large: every pass over them counts.
    """
    rounding = train.rounding
    norm = torch.addmm(train.sq_norm_device, train.P_device[anchor], train.P_device.T, alpha=-2)
    # Rounded up, so that the quotient is rounded down; never 0, also for points that M cannot tell apart.
    norm += (train.sq_norm_device[anchor] + rounding.sq_row)[:, None]
    norm.clamp_(min=0).sqrt_().add_(rounding.row + _TINY)
    return torch.sub(half, own_half[:, None]).div_(norm)
