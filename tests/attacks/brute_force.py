"""The truth about tiny K-NN problems: every assignment enumerated, each a convex problem for an independent solver."""

from itertools import combinations

import cvxpy as cp
import numpy as np

from arml.geometry import triplet_margin


def majority_radius(M, X, y, x, label, n_neighbors, box=None):
    """Shortest perturbation after which ``label`` has lost its majority, by eq. (6) of the paper.

    All pairs of k other-class points (the front) and k - 1 same-class points (the spared): every point of the front
    must be at least as near as every same-class point that is not spared.
    """
    k = (n_neighbors + 1) // 2
    same, other = np.flatnonzero(y == label), np.flatnonzero(y != label)
    if len(same) < k:
        return 0.0
    pairs = [
        (np.array(front), np.setdiff1d(same, spared))
        for front in combinations(other, k)
        for spared in combinations(same, k - 1)
    ]
    return _least(M, X, x, pairs, box)


def vote_radius(M, X, y, x, label, n_neighbors, box=None):
    """Shortest perturbation after which another label than ``label`` wins the vote, over all sets of K neighbours.

    Labels are 0, 1, ...; of equal ones the smallest wins. Every neighbour is at least as near as every other point.
    """
    everyone = np.arange(len(X))
    pairs = [
        (np.array(nearest), np.setdiff1d(everyone, nearest))
        for nearest in combinations(everyone, n_neighbors)
        if np.bincount(y[list(nearest)]).argmax() != label
    ]
    return _least(M, X, x, pairs, box)


def shortest(A, b, below=None, above=None):
    """Norm of the shortest delta with ``A delta <= b`` and ``-below <= delta <= above``; infinite where none is."""
    problem, parameters = _program(*A.shape, below is not None)
    return _solve(problem, parameters, A, b, below, above)


def constraints(M, X, x, front, behind):
    """Rows A and limits b of: every point of the ``front`` is at least as near to ``x + delta`` as all ``behind``."""
    c = np.einsum("nd,de,ne->n", X - x, M, X - x)
    A = ((X[behind] - X[front][:, None]) @ M).reshape(-1, X.shape[1])
    return A, ((c[behind] - c[front][:, None]) / 2).ravel()


def _least(M, X, x, pairs, box):
    """Least norm over the (front, behind) pairs. Sorted by what one row alone demands, most need not be solved."""
    # Moving x_j before x_i takes at least the margin of the triplet (x, x_i, x_j).
    margin = triplet_margin(X[:, None], X[None], x, M)
    demands = [max(0.0, margin[np.ix_(behind, front)].max(initial=0.0)) for front, behind in pairs]
    room = (None, None) if box is None else (x - np.minimum(box[0], x), np.maximum(box[1], x) - x)
    best, programs = np.inf, {}
    for i in np.argsort(demands, kind="stable"):
        if demands[i] >= best:
            break
        A, b = constraints(M, X, x, *pairs[i])
        if A.shape not in programs:
            programs[A.shape] = _program(*A.shape, box is not None)
        best = min(best, _solve(*programs[A.shape], A, b, *room))
    return best


def _program(rows, d, boxed):
    """A least-distance problem whose numbers are parameters, so that it is translated for the solver only once."""
    delta, A, b = cp.Variable(d), cp.Parameter((rows, d)), cp.Parameter(rows)
    below, above = (cp.Parameter(d), cp.Parameter(d)) if boxed else (None, None)
    limits = [A @ delta <= b] + ([delta >= -below, delta <= above] if boxed else [])
    return cp.Problem(cp.Minimize(cp.norm(delta, 2)), limits), (A, b, below, above)


def _solve(problem, parameters, A, b, below, above):
    # Rows of 0 say 0 <= b: impossible, or nothing at all.
    size = np.linalg.norm(A, axis=1)
    if (b[size == 0] < 0).any():
        return np.inf
    scale = np.where(size == 0, 1.0, size)
    values = (A / scale[:, None], np.where(size == 0, 1.0, b / scale), below, above)
    for parameter, value in zip(parameters, values, strict=True):
        if parameter is not None:
            parameter.value = value
    problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
    return float(problem.value) if problem.status in ("optimal", "optimal_inaccurate") else np.inf
