"""Small point sets whose radii are known: by hand, or from an independent convex solver over all subproblems."""

from __future__ import annotations

import cvxpy as cp
import numpy as np

# (X_train, y_train, x, label, radius), with the reasoning beside each.
BY_HAND = {
    # The bisector of two points on a line: halfway between 0 and 2, seen from 0.25.
    "bisector": ([[0.0], [2.0]], [0, 1], [0.25], 0, 0.75),
    # The nearest other-class point is shielded: the boundary of its cell is the corner where two bisectors meet.
    # Own points (0, 1) and (0, -1), other (2, 0): from the origin both bisectors 2a -+ b = 1.5 cross at (0.75, 0).
    "corner": ([[0.0, 1.0], [0.0, -1.0], [2.0, 0.0]], [0, 0, 1], [0.0, 0.0], 0, 0.75),
    # A second own-class point beyond the other-class point does not matter.
    "own point beyond": ([[0.0], [1.0], [3.0]], [0, 1, 0], [0.2], 0, 0.3),
    # Exactly as near to both classes: a tie is an attack.
    "tie": ([[-1.0], [1.0]], [0, 1], [0.0], 0, 0.0),
    # The same point with both labels, and the test point on it.
    "duplicate of two classes": ([[0.0], [0.0], [5.0]], [0, 1, 0], [0.0], 0, 0.0),
    # Already nearer to the other class.
    "misclassified": ([[0.0], [1.0]], [0, 1], [0.9], 0, 0.0),
    # A test point far away: the bisector of (0, 0) and (1, 0) is the line a = 0.5 wherever it starts.
    "far away": ([[0.0, 0.0], [1.0, 0.0]], [0, 1], [-1e6, 3e5], 0, 1e6 + 0.5),
    # A label the training set does not hold is always wrong.
    "unknown label": ([[0.0], [1.0]], [0, 1], [0.1], 7, 0.0),
}


def brute_force_radius(M, X_train, y_train, x, label, box=None):
    """Radius by eq. (13): all subproblems over all same-class points, by a second-order cone solver."""
    delta = cp.Variable(len(x))
    same = X_train[y_train == label]
    best = np.inf
    for x_j in X_train[y_train != label]:
        A = (same - x_j) @ M
        b = (_sq_dist(M, same - x) - _sq_dist(M, x_j - x)) / 2
        constraints = [A @ delta <= b]
        if box is not None:
            constraints += [x + delta >= np.minimum(box[0], x), x + delta <= np.maximum(box[1], x)]
        problem = cp.Problem(cp.Minimize(cp.norm(delta, 2)), constraints)
        value = problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-9, tol_gap_rel=1e-9, tol_feas=1e-9)
        if problem.status in ("optimal", "optimal_inaccurate"):
            best = min(best, float(value))
    return best


def _sq_dist(M, differences):
    return np.einsum("...d,de,...e->...", differences, M, differences)


def random_problem(rng, n, d, classes, rank=None):
    """Random training set, metric of the given rank (full by default) and test point."""
    X = rng.normal(size=(n, d))
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=n - classes)])
    G = rng.normal(size=(d if rank is None else rank, d))
    return G.T @ G, X, y, rng.normal(size=d)
