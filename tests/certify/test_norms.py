import math
from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
import torch

from arml.certify.knn.norms import NORMS, norms_between, norms_to_all
from arml.geometry import Mahalanobis
from arml.neighbors import MahalanobisKNN
from tests.certify.fitted import fit

FINE = np.longdouble
_DUAL_NORM = {
    2: lambda rows: np.sqrt((rows * rows).sum(axis=-1)),
    1: lambda rows: np.abs(rows).max(axis=-1),
    math.inf: lambda rows: np.abs(rows).sum(axis=-1),
}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(8))
def test_one_triplet_is_the_shortest_way_to_its_half_space(norm, seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    X, G = rng.normal(size=(2, d)), rng.normal(size=(int(rng.integers(1, d + 1)), d))
    M, y = G.T @ G, np.array([0, 1])
    knn = MahalanobisKNN(1, metric=Mahalanobis.from_components(G)).fit(X, y)
    x = X[0] + 0.3 * rng.normal(size=d)
    label = int(knn.predict(x[None])[0])
    near, far = X[label], X[1 - label]
    delta = cp.Variable(d)
    half_space = [2 * ((near - far) @ M) @ delta <= (near - x) @ M @ (near - x) - (far - x) @ M @ (far - x)]
    problem = cp.Problem(cp.Minimize(cp.norm(delta, norm)), half_space)
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert knn.certified_radius(x[None], [label], norm=norm).lower[0] == pytest.approx(problem.value, rel=1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("rank", [1, 4])
def test_dual_norms_are_rounded_up_but_not_by_much(norm, rank):
    rng = np.random.default_rng(rank)
    X, G, y = rng.normal(size=(40, 4)), rng.normal(size=(rank, 4)), np.arange(40) % 2
    X[7] = X[3]
    train = fit(G, X, y).train
    G = train.metric.components.astype(FINE)
    P = train.X.astype(FINE) @ G.T @ G
    rows, others = np.array([3, 0, 21]), np.arange(5, 40)
    # The expanded square of a difference is off by eps times the squares, its root by the root of that.
    room = 1e-7 * float(np.abs(P).max())
    for columns in (others, slice(5, 40)):
        exact = _DUAL_NORM[norm](P[rows][:, None] - P[others])
        computed = norms_between(train, rows, columns, norm)
        assert (computed > 0).all()
        assert (computed >= exact).all()
        np.testing.assert_allclose(computed, exact.astype(float), rtol=1e-9, atol=room)
    mapped = rng.normal(size=(6, 4))
    exact = _DUAL_NORM[norm](mapped.astype(FINE)[:, None] - P)
    computed = norms_to_all(train, torch.from_numpy(mapped), norm).numpy()
    assert (computed >= exact).all()
    np.testing.assert_allclose(computed, exact.astype(float), rtol=1e-9, atol=room)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(20))
def test_no_dual_norm_of_rows_that_nearly_coincide_is_rounded_down(norm, seed):
    """Where their difference is of the order of what the expansion of its square rounds off."""
    rng = np.random.default_rng(seed)
    X = np.concatenate([rng.normal(size=(10, 3)), np.zeros((10, 3))])
    X[10:] = X[:10] + 10.0 ** -rng.uniform(7, 9) * rng.normal(size=(10, 3))
    train = fit(np.eye(3), X, np.arange(20) % 2).train
    P = train.X.astype(FINE)
    exact = _DUAL_NORM[norm](P[:, None] - P)
    everything = np.arange(20)
    assert (norms_between(train, everything, slice(0, 20), norm) >= exact).all()
    # Also without the errors of the rows, which are none here.
    off = replace(train, p_error_device=torch.zeros(20, dtype=torch.float64), p_error=np.zeros(20))
    assert (norms_between(off, everything, slice(0, 20), norm) >= exact).all()
    assert (norms_to_all(off, off.P_device, norm).numpy() >= exact).all()


def shortening(rows, norm):
    """For each row (n, d) the unit step, in the l2 norm, that takes most off its dual norm."""
    if norm == 2:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)
    largest = np.abs(rows) == np.abs(rows).max(axis=1, keepdims=True)
    return np.sign(rows) * largest if norm == 1 else np.sign(rows) / math.sqrt(rows.shape[1])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(10))
def test_declared_errors_of_rows_at_their_worst_leave_no_dual_norm_too_small(norm, seed):
    rng = np.random.default_rng([seed, 17])
    train = fit(np.eye(3), rng.normal(size=(8, 3)), np.arange(8) % 2).train
    P, q, errors = train.P, rng.normal(size=3), 10.0 ** -rng.uniform(2, 9) * rng.random(8)

    def moved(steps):
        rows = P + (1 - 1e-9) * errors[:, None] * steps
        squares = (rows * rows).sum(axis=1)
        on_device = {
            "P_device": torch.from_numpy(rows),
            "sq_norm_device": torch.from_numpy(squares),
            "p_error_device": torch.from_numpy(errors),
        }
        return replace(train, P=rows, sq_norm=squares, p_error=errors, **on_device)

    exact = _DUAL_NORM[norm](q.astype(FINE) - P.astype(FINE))
    assert (norms_to_all(moved(shortening(q - P, norm)), torch.from_numpy(q[None]), norm)[0].numpy() >= exact).all()
    for j in range(1, 8):
        # The first row and another, each seen too near the other.
        steps = np.zeros((8, 3))
        steps[j] = shortening((P[0] - P[j])[None], norm)
        steps[0] = -steps[j]
        exact = _DUAL_NORM[norm](P[0].astype(FINE) - P[j].astype(FINE))
        assert norms_between(moved(steps), np.array([0]), np.array([j]), norm)[0, 0] >= exact


@pytest.mark.parametrize("K", [1, 5, 11])
def test_radii_grow_with_the_length_that_the_norm_gives_a_perturbation(K):
    # The l-infinity norm is at most the l2 norm, which is at most the l1 norm.
    rng = np.random.default_rng(K)
    X, G, points = rng.normal(size=(150, 4)), rng.normal(size=(4, 4)), rng.normal(size=(60, 4))
    y = np.argmax(X @ G[:3].T, axis=1)
    knn = MahalanobisKNN(K, metric=Mahalanobis.from_components(G)).fit(X, y)
    labels = knn.predict(points)
    smallest, middle, largest = (knn.certified_radius(points, labels, norm=norm).lower for norm in (math.inf, 2, 1))
    assert (smallest <= middle * (1 + 1e-9)).all()
    assert (middle <= largest * (1 + 1e-9)).all()
    certain = middle > 0
    assert certain.sum() > 20
    assert (smallest[certain] < middle[certain]).any()
    assert (middle[certain] < largest[certain]).any()
    assert (largest <= 4 * smallest * (1 + 1e-9)).all()  # in four dimensions the norms differ by at most that factor
