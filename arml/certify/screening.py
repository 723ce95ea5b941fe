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
ANCHORS = 4


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
    lower = torch.zeros_like(C)
    for q in range(count):
        bound = closed_form(train, C, nearest.values[:, q], anchors[:, q], errors)
        torch.maximum(lower, bound, out=lower)
    lower[:, own] = torch.inf
    return lower, anchors.cpu().numpy()


def closed_form(
    train: TrainingSet, C: torch.Tensor, c_anchor: torch.Tensor, anchor: torch.Tensor, errors: torch.Tensor
) -> torch.Tensor:
    """Eq. (8) for one anchor per test point against all training points, rounded down: (t, n).

    ``c_anchor`` and ``anchor`` (t,) are the squared distances and rows of the anchors. Negative where the other point
    is nearer than the anchor, or where rounding leaves nothing proven.
    """
    rounding = train.rounding
    sq_norm = train.P_device[anchor] @ train.P_device.T
    sq_norm.mul_(-2).add_(train.sq_norm_device).add_(train.sq_norm_device[anchor][:, None])
    # Rounded up, so that the quotient is rounded down.
    norm = sq_norm.clamp_(min=0).add_(rounding.sq_row).sqrt_().add_(rounding.row)
    margin = C - (c_anchor + 2 * errors)[:, None]
    return torch.where(norm > 0, margin / (2 * norm), torch.zeros_like(norm)).mul_(1 - 2.0**-50)
