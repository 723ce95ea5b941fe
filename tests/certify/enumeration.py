"""The exact K-NN radius by enumeration of every assignment: the truth that the search is held against."""

from itertools import combinations

import cvxpy as cp
import numpy as np

from arml.qp import OPTIMAL, least_distance, normalise_rows


def by_active_set(A, b):
    A, b = np.ascontiguousarray(A), b.copy()
    zero = np.abs(A).max(axis=1, initial=0.0) < 1e-14
    if (b[zero] < -1e-12).any():
        return np.inf
    normalise_rows(A, b)
    outcome, delta, _ = least_distance(A, b, np.inf)
    return float(np.linalg.norm(delta)) if outcome == OPTIMAL else np.inf


def by_cvxpy(A, b):
    delta = cp.Variable(A.shape[1])
    problem = cp.Problem(cp.Minimize(cp.sum_squares(delta)), [A @ delta <= b])
    problem.solve(solver=cp.CLARABEL)
    return float(np.linalg.norm(delta.value)) if problem.status == cp.OPTIMAL else np.inf


def cell_value(P, c, low, high, solve, room=None):
    """Shortest delta with all low points before all high ones; ``room`` (2, d): how far features may go down and up."""
    if not len(low) or not len(high):
        return 0.0
    A = (P[high][None] - P[low][:, None]).reshape(-1, P.shape[1])
    b = ((c[high][None] - c[low][:, None]) / 2).ravel()
    if room is not None:
        unit = np.eye(P.shape[1])
        A, b = np.concatenate([A, -unit, unit]), np.concatenate([b, *room])
    return solve(A, b)


def majority_radius(P, c, own, k, solve=by_active_set, room=None):
    """Shortest delta after which k other-class points are before all but k - 1 points of the label."""
    others, same = np.flatnonzero(~own), np.flatnonzero(own)
    if len(same) < k:
        return 0.0
    cells = ((list(J), np.setdiff1d(same, S)) for J in combinations(others, k) for S in combinations(same, k - 1))
    return min((cell_value(P, c, low, high, solve, room) for low, high in cells), default=np.inf)


def plurality_radius(P, c, y, label, K, solve=by_active_set, room=None):
    """Shortest delta after which K nearest points can be chosen that hold as many of another class as of the label."""
    best = np.inf
    for nearest in combinations(range(len(y)), K):
        counts = np.bincount(y[list(nearest)], minlength=y.max() + 1)
        of_label, counts[label] = counts[label], -1
        if counts.max() >= of_label:
            rest = np.setdiff1d(np.arange(len(y)), nearest)
            best = min(best, cell_value(P, c, list(nearest), rest, solve, room))
    return best


def seen_from(x, X, G):
    """Rows ``M (x_i - x)`` and squared distances of the points X (n, d)."""
    Z = (X - x) @ G.T
    return Z @ G, np.einsum("nr,nr->n", Z, Z)


def random_problem(rng, *, n_max=12):
    """Points, labels, a factor of M (often singular), a test point and its label; at times with ties and duplicates."""
    n, d, n_classes = int(rng.integers(6, n_max + 1)), int(rng.integers(1, 5)), int(rng.integers(2, 5))
    X, x = rng.normal(size=(n, d)), rng.normal(size=d)
    if rng.random() < 0.3:
        X = np.round(X)
    y = rng.integers(0, n_classes, n)
    y[:n_classes] = np.arange(n_classes)
    return X, y, rng.normal(size=(int(rng.integers(1, d + 1)), d)), x, int(y[rng.integers(n)])
