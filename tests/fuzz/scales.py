"""Kinds of data whose numbers differ in size, or lie where floats end: sentinels, offsets, units, conditions."""

from __future__ import annotations

import numpy as np

from tests.fuzz.geometry import N_TEST, Geometry, factor, kind, normal, rotation, rounded, sizes


@kind()
def ill_conditioned(rng: np.random.Generator) -> Geometry:
    """G with singular values down to 1e-8."""
    n, d = sizes(rng, 2)
    left, right = rotation(rng, d), rotation(rng, d)
    G = left @ np.diag(np.geomspace(1, 10.0 ** rng.uniform(-9, -3), d)) @ right
    return Geometry(rng.normal(size=(n, d)), G, rng.normal(size=(N_TEST, d)))


@kind()
def far_where_hardly_seen(rng: np.random.Generator) -> Geometry:
    """Data 1e4 to 1e7 long in the direction whose singular value is the inverse of that."""
    n, d = sizes(rng, 2)
    far, right = 10.0 ** rng.uniform(4, 7), rotation(rng, d)
    scales = np.append(np.ones(d - 1), float(far))
    X_train, X = (rng.normal(size=(n, d)) * scales) @ right, (rng.normal(size=(N_TEST, d)) * scales) @ right
    return Geometry(X_train, np.diag(1 / scales) @ right, X)


@kind()
def far_row(rng: np.random.Generator) -> Geometry:
    """One training point is a sentinel of 1e5 to 1e12."""
    base = normal(rng)
    value = 10.0 ** rng.choice([5, 6, 7, 8, 10, 12]) * rng.choice([-1, 1])
    row = np.full(base.X.shape[1], value) if rng.random() < 0.5 else value * rng.normal(size=base.X.shape[1])
    return Geometry(np.concatenate([base.X_train[:-1], [row]]), base.G, base.X)


@kind()
def missing_values(rng: np.random.Generator) -> Geometry:
    """-999 or -9999 where a value is missing, in training and test points."""
    base, code = normal(rng, 2), float(rng.choice([-999, -9999]))
    return Geometry(
        np.where(rng.random(base.X_train.shape) < 0.15, code, base.X_train),
        base.G,
        np.where(rng.random(base.X.shape) < 0.1, code, base.X),
    )


@kind()
def two_groups(rng: np.random.Generator) -> Geometry:
    """Two groups 1e3 to 1e8 apart, each with structure of size 1; a test point near either or between."""
    base = normal(rng)
    shift = 10.0 ** rng.choice([3, 4, 5, 6, 7, 8]) * (1.0 if rng.random() < 0.5 else rng.normal(size=base.X.shape[1]))
    away = rng.random((len(base.X_train), 1)) < 0.5
    return Geometry(base.X_train + away * shift, base.G, base.X + rng.choice([0, 0, 1, 0.5], size=(N_TEST, 1)) * shift)


@kind()
def offset(rng: np.random.Generator) -> Geometry:
    """Everything near a common point 1e5 to 1e8 away from 0."""
    base = normal(rng)
    shift = 10.0 ** rng.choice([5, 6, 8]) * (1.0 if rng.random() < 0.5 else rng.normal(size=base.X.shape[1]))
    return Geometry(base.X_train + shift, base.G, base.X + shift)


@kind()
def column_scales(rng: np.random.Generator) -> Geometry:
    """Columns of scales 1e-5 to 1e8 side by side."""
    base = normal(rng, 2)
    scales = 10.0 ** rng.uniform(-5, 8, size=base.X.shape[1])
    return Geometry(base.X_train * scales, base.G, base.X * scales)


@kind()
def constant_columns(rng: np.random.Generator) -> Geometry:
    """One column is the same number everywhere, 0 or large."""
    base, value = normal(rng, 2), float(rng.choice([0, 1, 0.1, 1e7, -3e8]))
    X_train, X = base.X_train.copy(), base.X.copy()
    X_train[:, -1] = value
    X[:, -1] = value if rng.random() < 0.7 else value + rng.normal()
    return Geometry(X_train, base.G, X)


@kind()
def far_test_point(rng: np.random.Generator) -> Geometry:
    """Test points 1e3 to 1e9 away from the training points."""
    base = normal(rng)
    return Geometry(base.X_train, base.G, base.X * 10.0 ** rng.uniform(3, 9))


@kind(may_refuse=True)
def tiny_scale(rng: np.random.Generator) -> Geometry:
    """Points of size 1e-100 to 1e-160, whose squares leave the range of floats."""
    base, scale = normal(rng), float(10.0 ** -rng.choice([100, 150, 160]))
    return Geometry(base.X_train * scale, base.G, base.X * scale)


@kind(may_refuse=True)
def huge_scale(rng: np.random.Generator) -> Geometry:
    """Points of size 1e100 to 1e160."""
    base, scale = normal(rng), 10.0 ** int(rng.choice([100, 150, 160]))
    return Geometry(base.X_train * scale, base.G, base.X * scale)


@kind(may_refuse=True)
def metric_scale(rng: np.random.Generator) -> Geometry:
    """M of size 1e-300 to 1e300."""
    base = normal(rng)
    return Geometry(base.X_train, base.G * 10.0 ** int(rng.choice([-150, -100, -50, 50, 100, 150])), base.X)


@kind(may_refuse=True)
def denormal(rng: np.random.Generator) -> Geometry:
    """Points of a few thousand times the smallest float."""
    n, d = sizes(rng)
    size = int(rng.choice([10, 5000]))
    X_train, X = rng.integers(-size, size + 1, size=(n, d)), rng.integers(-size, size + 1, size=(N_TEST, d))
    G = np.eye(d) if rng.random() < 0.5 else factor(rng, d)
    return Geometry(X_train.astype(np.float64) * 5e-324, G, X.astype(np.float64) * 5e-324)


@kind()
def single_precision(rng: np.random.Generator) -> Geometry:
    """Everything rounded to float32, the metric too."""
    base = normal(rng)
    X_train, G, X = base.X_train.astype(np.float32), base.G.astype(np.float32), base.X.astype(np.float32)
    return Geometry(X_train.astype(np.float64), G.astype(np.float64), X.astype(np.float64))


@kind()
def learned_on_raw_features(rng: np.random.Generator) -> Geometry:
    """Features from 1e-5 to 500 as measured, rounded like real tables, with a metric that makes up for it."""
    n, d = sizes(rng, 2)
    spread = 10.0 ** rng.uniform(-5, 2.7, size=d)
    mean = spread * rng.uniform(0, 20, size=d)
    X_train = rounded(mean + spread * rng.normal(size=(n, d)))
    G = rotation(rng, d) @ np.diag(rng.uniform(0.1, 10, size=d) / spread)
    return Geometry(X_train, G, rounded(mean + spread * rng.normal(size=(N_TEST, d))))
