"""Certified radii (Theorem 1, K = 11): how the time per test point grows with the number of training points.

python -m benchmarks.knn_bound_growth [--largest 1000000] [--points 100] [--repetitions 3]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import arml
from benchmarks.exact_1nn import timed
from benchmarks.machine import describe, peak_memory_mib
from benchmarks.output import OUT, Measured, Row, middle, milliseconds, write_part

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
LIMIT_SLOPE = 1.05
K = 11
_D, _CLASSES = 16, 10

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def mixture(n: int, seed: int) -> tuple[Array, Integers]:
    """n points (n, 16) of ten classes, each normal around a mean of its own: some classes overlap. The means are fixed.

    Points are drawn in the order of their numbers, so that fewer points are the first of more.
    """
    means = np.random.default_rng(0).normal(size=(_CLASSES, _D))
    y = np.arange(n, dtype=np.int64) % _CLASSES
    return means[y] + np.random.default_rng(seed).normal(size=(n, _D)), y


def measure(sizes: Sequence[int], n_points: int, repetitions: int) -> Measured:
    """Seconds per point at each size (all repetitions), fit included, and the slopes of their medians in log-log."""
    X_train, y_train = mixture(max(sizes), seed=1)
    X, y = mixture(n_points, seed=2)
    seconds: dict[str, list[float]] = {str(n): [] for n in sizes}
    certified = {}
    for repetition in range(repetitions + 1):
        for n in sizes:
            if repetition == 0 and n != min(sizes):
                continue  # warming up takes one run of the smallest
            # mypy cannot infer a lambda whose default binds the loop's variable.
            elapsed, radii = timed(lambda n=n: certify(X_train[:n], y_train[:n], X, y))  # type: ignore[misc]
            if repetition > 0:
                seconds[str(n)].append(elapsed / n_points)
            certified[str(n)] = int((radii > 0).sum())
    medians = [middle(seconds[str(n)]) for n in sizes]
    return {
        "d": _D,
        "classes": _CLASSES,
        "k": K,
        "n_points": n_points,
        "n_train": list(sizes),
        "seconds_per_point": seconds,
        "median_seconds_per_point": medians,
        "slope": slope(sizes, medians),
        "slope_of_the_larger_half": slope(sizes[len(sizes) // 2 :], medians[len(sizes) // 2 :]),
        "certified_points": certified,
        "peak_memory_mib": peak_memory_mib(),
    }


def certify(X_train: Array, y_train: Integers, X: Array, y: Integers) -> Array:
    """Theorem 1's values at the points X (t, 16) with labels y (t,)."""
    return arml.MahalanobisKNN(K).fit(X_train, y_train).certified_radius(X, y).lower


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Exponent of the power of N that fits the times best (least squares of the logarithms)."""
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(seconds), 1).convert().coef[1])


def rows_of(result: Measured) -> list[Row]:
    """The summary's lines: the slopes, judged over the whole range that is required, and the times at its ends."""
    sizes, medians, found = result["n_train"], result["median_seconds_per_point"], result["slope"]
    judged = sizes[0] <= SIZES[0] and sizes[-1] >= SIZES[-1]
    half = sizes[len(sizes) // 2]
    return [
        Row(
            f"Theorem 1, time per point against N, {sizes[0]:,} to {sizes[-1]:,} training points, slope in log-log",
            f"{found:.3f}",
            required=f"{LIMIT_SLOPE:g}" if judged else "",
            met=found <= LIMIT_SLOPE if judged else None,
        ),
        Row(f"the same, from {half:,} on", f"{result['slope_of_the_larger_half']:.3f}"),
        *(
            Row(f"Theorem 1, {n:,} training points, per point", milliseconds(seconds))
            for n, seconds in ((sizes[0], medians[0]), (sizes[-1], medians[-1]))
        ),
        Row("Theorem 1, growth, peak memory", f"{result['peak_memory_mib']:.0f} MiB"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="training points at most (default: %(default)s)")
    parser.add_argument("--points", type=int, default=100, help="test points (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    sizes = [n for n in SIZES if n <= options.largest]
    if len(sizes) < 3:
        parser.error(f"a slope needs at least three sizes; --largest must be {SIZES[2]} or more")
    machine = describe()
    result = measure(sizes, options.points, options.repetitions)
    write_part(options.out, "knn_bound_growth", machine, rows_of(result), result)


if __name__ == "__main__":
    main()
