"""What bounds are held against: squared distances, rows and dual bounds in rational arithmetic, no float anywhere."""

from fractions import Fraction

import numpy as np


def fractions(values):
    """An array of floats (n,) or (n, d) as it is stored."""
    values = np.asarray(values, dtype=float)
    return [Fraction(v) for v in values.tolist()] if values.ndim == 1 else [fractions(row) for row in values]


def minus(a, b):
    return [p - q for p, q in zip(a, b, strict=True)]


def dot(a, b):
    return sum((p * q for p, q in zip(a, b, strict=True)), Fraction(0))


def mapped(A, vector):
    """``A v`` for a matrix A of floats or rationals (m, d)."""
    return [dot([Fraction(v) for v in row], vector) for row in A]


def seen(G, X, x):
    """Squared distances (m,) and rows ``M (x_i - x)`` (m, d) of the points X (m, d) from x (d,), floats as stored."""
    G, columns, x = G.tolist(), G.T.tolist(), fractions(x)
    Z = [mapped(G, minus(point, x)) for point in fractions(X)]
    return [dot(z, z) for z in Z], [mapped(columns, z) for z in Z]


def at_most(bound, gain, square):
    """Whether a float bound is at most ``gain / sqrt(square)``, or 0."""
    bound = Fraction(float(bound))
    return bound == 0 or (gain > 0 and bound > 0 and bound * bound * square <= gain * gain)


def dual(c, P, j, rows, weights, room=None):
    """Gain ``-b'w`` and ``||A'w||^2`` of weights w on rows of j's problem, see `arml.certify.one_nn.kernels`."""
    d = len(P[0])
    gain, direction = Fraction(0), [Fraction(0)] * d
    for i, w in zip(rows, weights, strict=True):
        if i >= 0:
            gain -= w * (c[i] - c[j]) / 2
            direction = [a + w * r for a, r in zip(direction, minus(P[i], P[j]), strict=True)]
        else:
            low = i >= -d
            feature = -1 - i if low else -1 - d - i
            gain -= w * room[0 if low else 1][feature]
            direction[feature] += -w if low else w
    return gain, dot(direction, direction)


def hostile(seed, n=8):
    """Factor, points and a test point for which rounding matters: (G, X, x).

    By turns: two points far away and near each other, seen from near their bisector; directions that G hardly sees, and
    points far apart along them; an offset that leaves few digits; and plain ones.
    """
    rng = np.random.default_rng([seed, 77])
    d = int(rng.integers(2, 6))
    X, x = rng.normal(size=(n, d)), rng.normal(size=d)
    G = np.eye(d) if seed % 3 == 0 else rng.normal(size=(int(rng.integers(1, d + 1)), d))
    kind = seed % 4
    if kind == 0:
        far = rng.normal(size=d)
        X = 10.0 ** rng.uniform(1, 4) * far / np.linalg.norm(far) + 10.0 ** -rng.uniform(0, 3) * X
    elif kind == 1:
        G = np.ones((2, d)) + 10.0 ** -rng.uniform(1, 7) * rng.normal(size=(2, d))
        X = X + np.outer(rng.normal(size=n), np.eye(d)[0] - np.eye(d)[1]) * 10.0 ** rng.uniform(0, 4)
    elif kind == 2:
        offset = 10.0 ** rng.uniform(2, 6)
        X, x = X + offset, x + offset
    return G, X, x


def on_the_bisector(X, x, i, j, G):
    """x moved to where the points i and j are as far as each other, as nearly as floats can say."""
    row = (X[j] - X[i]) @ G.T @ G
    Z = (X - x) @ G.T
    ahead = Z[j] @ Z[j] - Z[i] @ Z[i]
    return x + row * ahead / (2 * row @ row)
