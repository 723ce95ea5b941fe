"""Kinds of data whose points lie in special places: ties, duplicates, lines, circles, walls of a box."""

from __future__ import annotations

import numpy as np

from tests.fuzz.geometry import N_TEST, Geometry, factor, kind, normal, sizes


@kind()
def random_normal(rng: np.random.Generator) -> Geometry:
    """Nothing hostile: the control group."""
    return normal(rng)


@kind()
def integer_grid(rng: np.random.Generator) -> Geometry:
    """Small integers everywhere, so that distances tie exactly."""
    n, d = sizes(rng)
    G = np.eye(d) if rng.random() < 0.5 else rng.integers(-2, 3, size=(d, d)).astype(np.float64)
    return Geometry(
        rng.integers(-2, 3, size=(n, d)).astype(np.float64), G, rng.integers(-4, 5, size=(N_TEST, d)).astype(float) / 2
    )


@kind()
def duplicates(rng: np.random.Generator) -> Geometry:
    """Few distinct points, each several times, labels at random."""
    base = normal(rng)
    few = base.X_train[: int(rng.integers(2, 4))]
    X_train = few[rng.integers(len(few), size=len(base.X_train))]
    return Geometry(X_train, base.G, np.where(rng.random((N_TEST, 1)) < 0.3, few[0], base.X))


@kind()
def collinear(rng: np.random.Generator) -> Geometry:
    """All points on a line through small integers: rows are parallel, exactly."""
    n, d = sizes(rng, 2)
    direction = rng.integers(1, 4, size=d).astype(np.float64)
    return Geometry(
        rng.integers(-8, 9, size=(n, 1)) * direction / 4,
        factor(rng, d),
        rng.integers(-8, 9, size=(3, 1)) * direction / 8,
    )


@kind()
def nearly_collinear(rng: np.random.Generator) -> Geometry:
    """Points within 1e-12 to 1e-6 of a line: rows are parallel up to rounding."""
    n, d = sizes(rng, 2)
    off = 10.0 ** rng.integers(-12, -5)
    direction = rng.normal(size=d)
    X_train = rng.normal(size=(n, 1)) * direction + off * rng.normal(size=(n, d))
    return Geometry(
        X_train, factor(rng, d), rng.normal(size=(N_TEST, 1)) * direction + off * rng.normal(size=(N_TEST, d))
    )


@kind()
def rank_one(rng: np.random.Generator) -> Geometry:
    """A metric that sees one direction only."""
    base = normal(rng, 2)
    return Geometry(base.X_train, rng.normal(size=(1, base.X.shape[1])), base.X)


@kind()
def unseen_difference(rng: np.random.Generator) -> Geometry:
    """Some training points differ only where G = [1 .. 1] sees nothing, exactly or up to rounding."""
    n, d = sizes(rng, 2)
    X_train = rng.normal(size=(n, d))
    if rng.random() < 0.7:
        X_train = np.round(X_train * 8) / 8
    shift = np.zeros(d)
    shift[:2] = (0.5, -0.5)
    X_train[n // 2 :] = X_train[: n - n // 2] + shift * rng.integers(0, 3, size=(n - n // 2, 1))
    return Geometry(X_train, np.ones((1, d)), np.round(rng.normal(size=(N_TEST, d)) * 8) / 8)


@kind()
def zero_metric(rng: np.random.Generator) -> Geometry:
    """M = 0: every point is as near as every other."""
    base = normal(rng)
    return Geometry(base.X_train, np.zeros((1, base.X.shape[1])), base.X)


@kind()
def at_a_training_point(rng: np.random.Generator) -> Geometry:
    """Test points that are training points."""
    base = normal(rng)
    return Geometry(base.X_train, base.G, base.X_train[rng.integers(len(base.X_train), size=N_TEST)])


@kind()
def on_a_bisector(rng: np.random.Generator) -> Geometry:
    """Test points in the middle of two training points, up to an ulp."""
    n, d = sizes(rng)
    X_train = np.round(rng.normal(size=(n, d)) * 4) / 4 if rng.random() < 0.5 else rng.normal(size=(n, d))
    pairs = rng.integers(n, size=(N_TEST, 2))
    X = (X_train[pairs[:, 0]] + X_train[pairs[:, 1]]) / 2
    X[1] = np.nextafter(X[1], np.inf)
    X[2] = np.nextafter(X[2], X_train[pairs[2, 0]])
    return Geometry(X_train, np.eye(d) if rng.random() < 0.6 else factor(rng, d), X)


@kind()
def cocircular(rng: np.random.Generator) -> Geometry:
    """Training points on a circle of whole numbers around the test point: many bisectors meet in one point."""
    ring = np.array([(3, 4), (4, 3), (5, 0), (0, 5), (-3, 4), (-4, 3), (3, -4), (4, -3), (-5, 0), (0, -5)], dtype=float)
    X_train = ring[rng.permutation(len(ring))[: int(rng.integers(6, 10))]]
    X = np.array([[0.0, 0.0], rng.normal(size=2), rng.integers(-3, 4, size=2)])
    return Geometry(X_train, np.eye(2) * float(rng.choice([1, 0.1, 3])), X)


@kind()
def near_duplicates(rng: np.random.Generator) -> Geometry:
    """Clusters of points 1e-9 apart, labels at random."""
    base = normal(rng)
    centres = base.X_train[: int(rng.integers(2, 5))]
    places = rng.integers(len(centres), size=len(base.X_train))
    X_train = centres[places] + 1e-9 * rng.normal(size=base.X_train.shape)
    return Geometry(X_train, base.G, np.where(rng.random((N_TEST, 1)) < 0.4, centres[0] + 1e-9 * base.X, base.X))


@kind()
def class_of_one(rng: np.random.Generator) -> Geometry:
    """One class has a single point."""
    base = normal(rng)
    y_train = rng.integers(1, 3, size=len(base.X_train))
    y_train[0], y_train[1] = 0, 1
    return Geometry(base.X_train, base.G, base.X, y_train)


@kind()
def many_classes(rng: np.random.Generator) -> Geometry:
    """Nearly as many classes as points, with labels of both signs."""
    base = normal(rng)
    y_train = rng.integers(-3, 4, size=len(base.X_train)) * 7
    y_train[:2] = (-7, 7)
    return Geometry(base.X_train, base.G, base.X, y_train)


@kind()
def outside_the_box(rng: np.random.Generator) -> Geometry:
    """A box that some coordinates of the test points are outside of."""
    base = normal(rng)
    centre = float(rng.normal())
    return Geometry(base.X_train, base.G, base.X, boxes=((centre, centre + 0.5), (centre, centre), (-0.3, 0.3)))


@kind()
def box_touches_solution(rng: np.random.Generator) -> Geometry:
    """The boundary of the classes lies on the wall of the box, or an ulp before or behind it."""
    n, d = sizes(rng)
    wall = abs(float(rng.normal())) + 0.1
    X_train = np.concatenate([np.zeros((1, d)), rng.normal(size=(n - 1, d))])
    X_train[1] = 2 * wall * np.eye(d)[0]
    X_train[2:, 0] = 4 * wall + np.abs(X_train[2:, 0])
    y_train = np.r_[0, 1, rng.integers(0, 3, size=n - 2)]
    walls = (wall, float(np.nextafter(wall, 0)), float(np.nextafter(wall, np.inf)))
    X = np.concatenate([np.zeros((1, d)), rng.uniform(-0.3, 0.3, size=(2, d)) * wall])
    return Geometry(X_train, np.eye(d), X, y_train, tuple((-4 * wall, high) for high in walls))
