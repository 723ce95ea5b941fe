"""Exact 1-NN radii against Algorithm 2, interleaved in one process; medians over the repetitions.

python -m benchmarks.exact_1nn [--datasets usps ...] [--points 100] [--repetitions 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

import arml
from arml.geometry import as_mahalanobis, sq_dist_matrix
from benchmarks.algorithm2 import Algorithm2, Variant
from benchmarks.machine import describe
from benchmarks.output import OUT, Measured, Row, middle, milliseconds, write_part

#: Required ratios over Algorithm 2 as published; None: none is set.
REQUIRED: dict[str, float | None] = {"splice": None, "pendigits": 10, "satimage": 10, "usps": 30}
VARIANTS: tuple[Variant, ...] = ("published", "tuned")
#: Largest allowed difference of two radii.
AGREEMENT = 1e-5
_N_EVAL = 1000
_PROBE = 8

Array = NDArray[np.float64]


class Contest:
    """One dataset's points and the ways to compute their radii, each returning the radii of the points it was given."""

    def __init__(self, dataset: str) -> None:
        self.data = arml.load_dataset(dataset)
        self.X, self.y = self.data.evaluation_subset(_N_EVAL, seed=42)
        self.threads: dict[str, int] = {}
        self.work: dict[str, dict[str, float]] = {}

    def ours(self, n: int) -> Array:
        """Exact radii of the first n points, mapping of the training set included."""
        knn = arml.MahalanobisKNN(n_neighbors=1).fit(self.data.X_train, self.data.y_train)
        return knn.exact_radius(self.X[:n], self.y[:n]).upper

    def algorithm2(self, variant: Variant, n: int) -> Array:
        """The same by Algorithm 2, on the number of BLAS threads that was found faster."""
        with threadpool_limits(self.threads.get(variant), user_api="blas"):
            metric = as_mahalanobis("euclidean", self.data.n_features)
            reference = Algorithm2(metric, self.data.X_train, self.data.y_train, variant)
            radii = reference.radii(self.X[:n], self.y[:n])
        steps = reference.n_steps / max(1, reference.n_problems)
        self.work[variant] = {"inner_problems_per_point": reference.n_problems / n, "steps_per_problem": steps}
        return radii

    def choose_threads(self, variant: Variant) -> None:
        """Small matrix products may lose by threads: try one and all on a few points."""
        seconds = {}
        for threads in (1, torch.get_num_threads()):
            self.threads[variant] = threads
            seconds[threads] = timed(lambda: self.algorithm2(variant, min(_PROBE, len(self.X))))[0]
        self.threads[variant] = min(seconds, key=lambda threads: seconds[threads])

    def product(self) -> Array:
        """The limit: one float64 matrix product gives the squared distances of all test and training points."""
        return sq_dist_matrix(torch.from_numpy(self.X), torch.from_numpy(self.data.X_train)).numpy()


def timed(work: Callable[[], Array]) -> tuple[float, Array]:
    """Wall seconds and result."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def measure(dataset: str, n_points: int, repetitions: int) -> Measured:
    """Seconds per point of each contender (all repetitions), the ratios of their medians, the differences of radii."""
    contest = Contest(dataset)
    n_all = len(contest.X)
    n = min(n_points, n_all)
    expected = contest.ours(n_all)  # untimed: also loads the compiled solver
    for variant in VARIANTS:
        contest.choose_threads(variant)
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", "ours_same_points", *VARIANTS, "product")}
    radii: dict[str, Array] = {}
    for _ in range(repetitions):
        seconds["ours"].append(timed(lambda: contest.ours(n_all))[0] / n_all)
        for variant in VARIANTS:
            # The subset between the references too, so that a change of the machine's load meets all alike.
            seconds["ours_same_points"].append(timed(lambda: contest.ours(n))[0] / n)
            # mypy cannot infer a lambda whose default binds the loop's variable.
            elapsed, radii[variant] = timed(lambda v=variant: contest.algorithm2(v, n))  # type: ignore[misc]
            seconds[variant].append(elapsed / n)
        seconds["product"].append(timed(contest.product)[0] / n_all)
    medians = {name: middle(values) for name, values in seconds.items()}
    return {
        "dataset": dataset,
        "n_points": n_all,
        "n_reference_points": n,
        "repetitions": repetitions,
        "seconds_per_point": seconds,
        "median_seconds_per_point": medians,
        "ratio": {variant: medians[variant] / medians["ours"] for variant in VARIANTS},
        "ratio_same_points": {variant: medians[variant] / medians["ours_same_points"] for variant in VARIANTS},
        "ours_over_product": medians["ours"] / medians["product"],
        "reference_threads": contest.threads,
        "reference_work": contest.work,
        "radii": {variant: differences(radii[variant], expected[:n]) for variant in VARIANTS},
    }


def differences(found: Array, expected: Array) -> dict[str, float]:
    """Largest absolute difference, and largest relative one where the radius is not 0."""
    absolute = np.abs(found - expected)
    positive = expected > 0
    relative = float((absolute[positive] / expected[positive]).max(initial=0.0))
    return {"largest_absolute": float(absolute.max()), "largest_relative": relative}


def rows_of(result: Measured) -> list[Row]:
    """The summary's lines for one dataset."""
    name, medians, required = result["dataset"], result["median_seconds_per_point"], REQUIRED[result["dataset"]]
    rows = []
    for variant in VARIANTS:
        ratio, needed = result["ratio"][variant], required if variant == "published" else None
        rows.append(
            Row(
                f"exact 1-NN, {name}, {result['n_points']} points, per point; Algorithm 2 {variant}",
                milliseconds(medians["ours"]),
                milliseconds(medians[variant]),
                f"{ratio:.3g}× (same {result['n_reference_points']} points: "
                f"{result['ratio_same_points'][variant]:.3g}×)",
                "" if needed is None else f"{needed:g}×",
                None if needed is None else ratio >= needed,
            )
        )
    worst = max(result["radii"][variant]["largest_absolute"] for variant in VARIANTS)
    rows.append(
        Row(
            f"exact 1-NN, {name}, largest difference of radii",
            f"{worst:.2g}",
            required=f"{AGREEMENT:g}",
            met=worst <= AGREEMENT,
        )
    )
    rows.append(
        Row(
            f"exact 1-NN, {name}, against the product that gives the distances",
            milliseconds(medians["ours"]),
            milliseconds(medians["product"]),
            f"takes {result['ours_over_product']:.3g} products",
        )
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", choices=list(REQUIRED), default=list(REQUIRED))
    parser.add_argument("--points", type=int, default=100, help="test points given to Algorithm 2 (default: 100)")
    parser.add_argument("--repetitions", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    results = [measure(dataset, options.points, options.repetitions) for dataset in options.datasets]
    write_part(options.out, "exact_1nn", machine, [row for result in results for row in rows_of(result)], results)


if __name__ == "__main__":
    main()
