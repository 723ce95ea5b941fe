"""Computed quantities against exact rational arithmetic: the errors stay within their bounds, and those are of use."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from arml.certify.rounding import gamma, magnitudes
from arml.certify.training_set import TrainingSet
from arml.geometry import Mahalanobis, sq_dist_matrix


def exact(values):
    return [Fraction(float(value)) for value in values]


def exact_embedding(G, x):
    return [sum((a * b for a, b in zip(exact(row), exact(x), strict=True)), Fraction(0)) for row in G]


def exact_sq_dist(G, x, z):
    return sum((a - b) ** 2 for a, b in zip(exact_embedding(G, x), exact_embedding(G, z), strict=True))


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e4])
def test_errors_stay_within_their_bounds(scale):
    rng = np.random.default_rng(9)
    # Ill-conditioned on purpose: singular values from 1e-6 to 1e2.
    G = scale * np.linalg.qr(rng.normal(size=(6, 6)))[0] * np.logspace(-6, 2, 6)
    metric = Mahalanobis.from_components(G @ np.linalg.qr(rng.normal(size=(6, 6)))[0])
    X, y, points = 10 + rng.normal(size=(25, 6)), rng.integers(2, size=25), 10 + rng.normal(size=(8, 6))
    train = TrainingSet.build(metric, X, y, torch.device("cpu"))
    U = torch.from_numpy(points) @ torch.from_numpy(metric.components).T
    C = sq_dist_matrix(U, train.Z_device).numpy()
    sizes = magnitudes(torch.from_numpy(points), torch.from_numpy(metric.components)).numpy()
    bounds = train.rounding.sq_dist(np.linalg.norm(U.numpy(), axis=1), sizes)
    for t, x in enumerate(points):
        for i, z in enumerate(train.X):
            error = abs(Fraction(float(C[t, i])) - exact_sq_dist(metric.components, x, z))
            assert error <= Fraction(float(bounds[t]))
    for i in range(5):
        difference = [a - b for a, b in zip(exact(train.X[i]), exact(train.X[i + 5]), strict=True)]
        embedded = [sum(a * b for a, b in zip(exact(row), difference, strict=True)) for row in metric.components]
        row = [sum(a * b for a, b in zip(exact(column), embedded, strict=True)) for column in metric.components.T]
        computed = exact(train.P[i] - train.P[i + 5])
        error = sum((a - b) ** 2 for a, b in zip(row, computed, strict=True))
        assert float(error) ** 0.5 <= train.rounding.row


def test_gamma_is_slightly_more_than_n_roundings():
    assert 10 * 2.0**-53 < gamma(10) < 10.001 * 2.0**-53
