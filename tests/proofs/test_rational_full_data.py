"""The exact checker on results of the real datasets, a few points of each."""

from __future__ import annotations

import os

import numpy as np
import pytest

import arml
from arml.proofs import rational
from tests.proofs.results import Metric, as_result, honest

pytestmark = [
    pytest.mark.full_data,
    pytest.mark.skipif("ARML_DATA" not in os.environ, reason="needs the full datasets: set ARML_DATA to their folder"),
]

N_POINTS = 5


def whitening(X):
    """A dense factor that evens out the directions of the data."""
    sizes, directions = np.linalg.eigh(np.cov(X.T))
    return (directions / np.sqrt(sizes + 0.02 * sizes.max())).T


@pytest.mark.parametrize(
    ("name", "n_neighbors", "dense"),
    [
        ("splice", 1, True),
        ("splice", 11, True),
        ("pendigits", 1, True),
        ("pendigits", 11, False),
        ("satimage", 1, True),
        ("satimage", 11, True),
        ("usps", 1, True),
        ("usps", 11, False),
        ("mnist", 1, False),
    ],
)
def test_honest_results_are_confirmed(name, n_neighbors, dense):
    data = arml.load_dataset(name, download=False)
    metric = Metric(whitening(data.X_train)) if dense else "euclidean"
    knn = arml.MahalanobisKNN(n_neighbors=n_neighbors, metric=metric).fit(data.X_train, data.y_train)
    bounds = knn.exact_radius(*data.evaluation_subset(N_POINTS, seed=42), proofs=True, max_nodes=1000)
    report = rational.check(honest(as_result(bounds)))
    assert report.ok.all(), report.problems
