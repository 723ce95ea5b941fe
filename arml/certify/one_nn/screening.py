"""Lower bounds of all inner problems of eq. (13) at once, from the closed form (eq. 8) with a few anchors.

Any same-class point x_i bounds the problem of any other-class point x_j from below by eq. (8). The nearest same-class
points, the *anchors*, give nearly the best of these bounds, and one matrix product per anchor gives them for all j.

The numerator comes from distances that already err to the safe side (`TrainingSet.pessimistic`). The denominator
``||p_i - p_j||`` is rounded up, with the rounding of both rows: from the squares, ``(a + b)^2 <= (1 + t) a^2 + (1 +
1/t) b^2`` for every t > 0, which adds a number per point and no pass over all pairs.
"""

from __future__ import annotations

import torch

from arml.classifier.rounding import UNDERFLOW, gamma
from arml.classifier.training_set import TrainingSet

#: Same-class points used per test point.
ANCHORS = 2

_ROUND_OFF = 2.0**-50
_HALF = 0.5 * (1 - _ROUND_OFF)
# How much of the denominator's square is given away, so that the rows' own rounding hardly counts.
_GIVEN = 1e-11


def screen(train: TrainingSet, own: slice, C: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Proven lower bounds (t, n) for all other-class points of the test points of the class ``own``.

    They are infinite in the columns ``own``. C (t, n) are pessimistic squared distances, shares (t,) the test points'
    own shares of their rounding.
    """
    count = min(ANCHORS, own.stop - own.start)
    nearest = C[:, own].topk(count, dim=1, largest=False)
    anchors = nearest.indices + own.start
    squares = _squares(train)
    half = C * _HALF
    lower = torch.zeros_like(C)
    for q in range(count):
        own_half = (nearest.values[:, q] + 2 * shares) * (0.5 * (1 + _ROUND_OFF))
        torch.maximum(lower, closed_form(train, squares, half, own_half, anchors[:, q]), out=lower)
    lower[:, own] = torch.inf
    return lower


def _squares(train: TrainingSet) -> torch.Tensor:
    """What each training point (n,) adds to the rounded-up square of a denominator."""
    expansion = 1 + 2 * gamma(train.X.shape[1] + 8)
    return (1 + _GIVEN) * expansion * train.sq_norm_device + (2 + 2 / _GIVEN) * train.p_error_device**2


def closed_form(
    train: TrainingSet, squares: torch.Tensor, half: torch.Tensor, own_half: torch.Tensor, anchor: torch.Tensor
) -> torch.Tensor:
    """Eq. (8) for one anchor per test point against all training points, rounded down: (t, n).

    ``squares`` (n,) is `_squares`; ``half`` (t, n) holds half the squared distances to all training points, rounded
    down; ``own_half`` (t,) half that to the anchor with all errors on top; ``anchor`` (t,) the anchors' rows. Negative
    where the other point is nearer than the anchor, or where rounding leaves nothing proven. The arrays are large:
    every pass over them counts.
    """
    norm = torch.addmm(squares, train.P_device[anchor], train.P_device.T, alpha=-2 * (1 + _GIVEN))
    # Never 0, also for points that M cannot tell apart.
    norm += squares[anchor][:, None]
    norm.clamp_(min=UNDERFLOW).sqrt_().mul_(1 + _ROUND_OFF)
    return torch.sub(half, own_half[:, None]).div_(norm)
