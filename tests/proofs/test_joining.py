"""Joined proofs: the slices of every point are those it had, and nothing is joined that does not belong together."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from arml import recheck
from arml.neighbors import MahalanobisKNN
from arml.proofs.joining import joined
from arml.radii import RadiusBounds


def problem(k: int) -> tuple[MahalanobisKNN, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    return MahalanobisKNN(n_neighbors=k).fit(X[:45], y[:45]), X[45:], y[45:]


def solved(knn: MahalanobisKNN, X: np.ndarray, y: np.ndarray) -> RadiusBounds:
    more = {} if knn.n_neighbors == 1 else {"proofs": True}
    return knn.exact_radius(X, y, **more)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("cuts", [[0, 15], [0, 1, 15], [0, 4, 5, 11, 15]])
def test_a_joined_proof_proves_what_its_parts_do(k: int, cuts: list[int]) -> None:
    knn, X, y = problem(k)
    whole = solved(knn, X, y)
    parts = [solved(knn, X[a:b], y[a:b]) for a, b in pairwise(cuts)]
    proof = joined([part.certificate for part in parts], whole.certificate.claim)
    columns = ("lower", "upper", "status", "perturbation")
    merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in columns}
    bounds = replace(whole, **merged, certificate=proof)
    assert recheck(knn, X, y, bounds).ok.all()
    for name, array in whole.certificate.arrays().items():
        if array.dtype.kind == "f":
            np.testing.assert_allclose(proof.arrays()[name], array, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(proof.arrays()[name], array)


def test_only_what_belongs_together_is_joined() -> None:
    knn, X, y = problem(3)
    three = solved(knn, X, y).certificate
    with pytest.raises(ValueError, match="of one kind"):
        joined([], three.claim)
    one, more_X, more_y = problem(1)
    with pytest.raises(ValueError, match="of one kind"):
        joined([three, solved(one, more_X, more_y).certificate], three.claim)
    with pytest.raises(ValueError, match="claim the same"):
        joined([three], replace(three.claim, event="majority"))
