"""The exact K-NN radius by enumeration of every assignment: the truth that the search is held against."""

from itertools import combinations

import cvxpy as cp
import numpy as np
from scipy.optimize import nnls

# A row no longer than this, relative to the longest, is one of zeros: points that M cannot tell apart.
_ZERO = 1e-14
# Squared residual from which on a problem scaled to a solution of norm 1 or so has none: one of norm 1e6 would be.
_NO_SOLUTION = 1e-12


def by_nnls(A, b):
    """Norm of the shortest delta with ``A delta <= b``, infinite where there is none, by Lawson and Hanson's LDP.

    The residual r of ``min ||E u - f||`` over u >= 0, with ``E = [-A, -b]'`` and f the last unit vector, gives delta =
    ``-r[:-1] / r[-1]``. It is solved twice: with b scaled by what one row alone demands, and by the norm so found,
    because digits are lost where the norm is far from 1.
    """
    length = np.linalg.norm(A, axis=1)
    zero = length <= _ZERO * max(length.max(initial=0.0), 1e-300)
    if (b[zero] < -1e-12).any():
        return np.inf
    A, b = A[~zero] / length[~zero, None], b[~zero] / length[~zero]
    norm = -b.min(initial=0.0)
    if norm == 0:
        return 0.0
    for _ in range(2):
        E = np.vstack([-A.T, -b / norm])
        f = np.append(np.zeros(A.shape[1]), 1.0)
        residual = E @ nnls(E, f)[0] - f
        if residual @ residual <= _NO_SOLUTION:
            return np.inf
        norm *= float(np.linalg.norm(residual[:-1]) / -residual[-1])
    return norm


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


def majority_radius(P, c, own, k, solve=by_nnls, room=None):
    """Shortest delta after which k other-class points are before all but k - 1 points of the label."""
    others, same = np.flatnonzero(~own), np.flatnonzero(own)
    if len(same) < k:
        return 0.0
    cells = ((list(J), np.setdiff1d(same, S)) for J in combinations(others, k) for S in combinations(same, k - 1))
    return min((cell_value(P, c, low, high, solve, room) for low, high in cells), default=np.inf)


def plurality_radius(P, c, y, label, K, solve=by_nnls, room=None):
    """Shortest delta after which K nearest points can be chosen that hold as many of another class as of the label."""
    return vote_radius(P, c, y, label, K, np.zeros(y.max() + 1, dtype=int), solve, room)


def predict_radius(P, c, y, label, K, solve=by_nnls, room=None):
    """Shortest delta after which K nearest points can be chosen with which the classifier may answer another class."""
    return vote_radius(P, c, y, label, K, np.arange(y.max() + 1) > label, solve, room)


def vote_radius(P, c, y, label, K, more, solve, room):
    """Shortest delta after which K nearest points can be chosen that hold of another class as many as of the label and
    ``more`` (C,)."""
    best = np.inf
    for nearest in combinations(range(len(y)), K):
        counts = np.bincount(y[list(nearest)], minlength=len(more))
        ahead = (counts >= counts[label] + more) & (counts > 0)
        ahead[label] = False
        if ahead.any():
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
