"""Dual norms of the rows ``M (x_i - x_j)``, rounded up: the denominators of the closed form for l2, l1 and l-infinity.

A perturbation delta changes ``d_M(x, x_i) - d_M(x, x_j)`` by ``2 (x_j - x_i)' M delta``, at most twice the product of
delta's norm and the dual norm of ``M (x_i - x_j)`` (Hoelder).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from arml.classifier.rounding import gamma
from arml.classifier.training_set import TrainingSet

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Norm of a perturbation: 1, 2 or ``math.inf``.
Norm = float

NORMS: tuple[Norm, ...] = (2, 1, math.inf)

_DUAL = {2: 2.0, 1: math.inf, math.inf: 1.0}
_SCIPY_NAME = {1: "chebyshev", math.inf: "cityblock"}


def norms_to_all(train: TrainingSet, mapped: torch.Tensor, norm: Norm) -> torch.Tensor:
    """Dual norms of ``q - M x_i`` for rows q of ``mapped`` (t, d) and all training points: (t, n), rounded up.

    The q are taken as they are; the rounding of the training points' rows is included.
    """
    if norm != 2:
        distances = torch.cdist(mapped, train.P_device, p=_DUAL[norm])
        return distances.mul_(_up(train)).add_(_stretch(train, norm) * train.p_error_device)
    # An expansion errs by the squares of both: (a + b)^2 <= 2 a^2 + 2 b^2.
    growth = 1 + 2 * gamma(mapped.shape[1] + 8)
    sq = (mapped @ train.P_device.T).mul_(-2)
    sq += growth * (mapped * mapped).sum(-1)[:, None] + growth * train.sq_norm_device
    return sq.clamp_(min=0).sqrt_().mul_(_up(train)).add_(train.p_error_device)


def norms_between(train: TrainingSet, rows: Integers, others: Integers | slice, norm: Norm) -> Array:
    """Dual norms of ``M (x_j - x_i)`` for the training points ``rows`` and ``others``: (b, m), rounded up, not 0."""
    A, B = train.P[rows], train.P[others]
    if norm == 2:
        result = A @ B.T
        result *= -2
        growth = 1 + 2 * gamma(train.X.shape[1] + 8)
        result += growth * train.sq_norm[rows][:, None]
        result += growth * train.sq_norm[others]
        np.sqrt(np.maximum(result, 0, out=result), out=result)
    else:
        result = cdist(A, B, _SCIPY_NAME[norm])
    result *= _up(train)
    result += _stretch(train, norm) * (train.p_error[rows][:, None] + train.p_error[others])
    return np.asarray(result)


def _up(train: TrainingSet) -> float:
    return 1 + 2 * gamma(train.X.shape[1] + 4)


def _stretch(train: TrainingSet, norm: Norm) -> float:
    """A row's error in the dual norm: its l2 error bounds the l-infinity error, and sqrt(d) times it the l1 error."""
    return math.sqrt(train.X.shape[1]) if norm == math.inf else 1.0
