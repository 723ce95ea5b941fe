"""Certified radii (Theorem 1, K = 11) against its plain evaluation, interleaved in one process; medians.

python -m benchmarks.knn_bound [--datasets usps ...] [--points 1000] [--plain-points 10] [--repetitions 5]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import arml
from arml.geometry import as_mahalanobis
from arml.learners import StoredMetric, load_metric
from benchmarks.exact_1nn import differences, timed
from benchmarks.machine import describe
from benchmarks.mnist_1nn import newest_metric
from benchmarks.output import OUT, ROOT, Measured, Row, middle, milliseconds, write_part
from benchmarks.theorem1 import PlainTheorem1, Variant, literal_radii

#: Required ratios over the plain evaluation.
REQUIRED = {"splice": 20.0, "pendigits": 100.0, "satimage": 50.0, "usps": 200.0}
VARIANTS: tuple[Variant, ...] = ("plain", "products")
#: Largest allowed relative difference from the theorem in float64.
AGREEMENT = 1e-9
K = 11
_PROBE = 1
# Radii below this fraction of the median are rounding.
_TIE = 1e-11

Array = NDArray[np.float64]


class Contest:
    """One dataset's points under one metric and the ways to certify them, each returning the values it found."""

    def __init__(self, dataset: str, metric: str | StoredMetric, n_points: int) -> None:
        self.data = arml.load_dataset(dataset)
        self.X, self.y = self.data.evaluation_subset(n_points, seed=42)
        self.given, self.metric = metric, as_mahalanobis(metric, self.data.n_features)
        self.threads: dict[Variant, int] = {}
        embedded = self.metric.embed(self.X), self.metric.embed(self.data.X_train)
        self.embedded, self.embedded_train = map(torch.from_numpy, embedded)

    def ours(self) -> Array:
        """Theorem 1 for all points, mapping of the training set and prediction included."""
        knn = arml.MahalanobisKNN(K, metric=self.given).fit(self.data.X_train, self.data.y_train)
        return knn.certified_radius(self.X, self.y).lower

    def plain(self, variant: Variant, n: int) -> Array:
        """The same for the first n points by the plain evaluation, on the number of threads that was found faster."""
        all_threads = torch.get_num_threads()
        torch.set_num_threads(self.threads.get(variant, all_threads))
        try:
            reference = PlainTheorem1(self.metric, self.data.X_train, self.data.y_train, K, variant)
            return reference.radii(self.X[:n], self.y[:n])
        finally:
            torch.set_num_threads(all_threads)

    def choose_threads(self, variant: Variant) -> None:
        """Small chunks may lose by threads: try one and all on a point, after a first one that warms up."""
        seconds = {}
        self.plain(variant, _PROBE)
        for threads in (1, torch.get_num_threads()):
            self.threads[variant] = threads
            seconds[threads] = timed(lambda: self.plain(variant, _PROBE))[0]
        self.threads[variant] = min(seconds, key=lambda threads: seconds[threads])

    def literal(self, n: int) -> Array:
        """The theorem in float64 for the first n points."""
        return literal_radii(self.metric, self.data.X_train, self.data.y_train, self.X[:n], self.y[:n], K)

    def product(self) -> Array:
        """The limit: the float64 matrix product that the distances of all test and training points come from."""
        return (self.embedded @ self.embedded_train.T).numpy()


def measure(dataset: str, metric_path: str, n_points: int, n_plain: int, n_literal: int, repetitions: int) -> Measured:
    """Seconds per point of each contender (all repetitions), the ratios of their medians, the differences of values."""
    contest = Contest(dataset, metric_path if metric_path == "euclidean" else load_metric(metric_path), n_points)
    n, n_plain, n_literal = len(contest.X), min(n_plain, len(contest.X)), min(n_literal, len(contest.X))
    found = contest.ours()  # untimed
    for variant in VARIANTS:
        contest.choose_threads(variant)
    seconds: dict[str, list[float]] = {name: [] for name in ("ours", *VARIANTS, "product")}
    plain: dict[str, Array] = {}
    for _ in range(repetitions):
        for variant in VARIANTS:
            # Ours before each reference, so that a change of the machine's load meets all alike.
            seconds["ours"].append(timed(contest.ours)[0] / n)
            # mypy cannot infer a lambda whose default binds the loop's variable.
            elapsed, plain[variant] = timed(lambda v=variant: contest.plain(v, n_plain))  # type: ignore[misc]
            seconds[variant].append(elapsed / n_plain)
        seconds["product"].append(timed(contest.product)[0] / n)
    medians = {name: middle(values) for name, values in seconds.items()}
    return {
        "dataset": dataset,
        "metric": metric_path if metric_path == "euclidean" else Path(metric_path).parent.name,
        "k": K,
        "n_points": n,
        "n_reference_points": n_plain,
        "n_literal_points": n_literal,
        "repetitions": repetitions,
        "seconds_per_point": seconds,
        "median_seconds_per_point": medians,
        "ratio": {variant: medians[variant] / medians["ours"] for variant in VARIANTS},
        "ours_over_product": medians["ours"] / medians["product"],
        "reference_threads": contest.threads,
        "differences_from_float64": agreement(found[:n_literal], contest.literal(n_literal)),
        "differences_from_float32": {name: differences(values, found[:n_plain]) for name, values in plain.items()},
        "certified_points": int((found > 0).sum()),
    }


def agreement(found: Array, literal: Array) -> Measured:
    """`differences` of our values from the theorem's in float64, with the ties counted separately.

    Where the theorem's value is 0 by a tie, float64 gives what its rounding leaves of it, of which a relative
    difference says nothing: values far below the median are compared absolutely.
    """
    positive = literal[literal > 0]
    tied = literal <= _TIE * (np.median(positive) if positive.size else 1.0)
    relative = differences(found[~tied], literal[~tied])["largest_relative"] if not tied.all() else 0.0
    return {
        "largest_relative": relative,
        "largest_absolute": float(np.abs(found - literal).max()),
        "largest_absolute_at_ties": float(np.abs(found - literal)[tied].max(initial=0.0)),
        "points_at_ties_or_uncertified": int(tied.sum()),
    }


def rows_of(result: Measured, label: str) -> list[Row]:
    """The summary's lines for one dataset and metric."""
    medians, required = result["median_seconds_per_point"], REQUIRED[result["dataset"]]
    what = f"Theorem 1, {result['dataset']}, {label}"
    rows = []
    for variant, name in (("plain", "plain evaluation"), ("products", "plain evaluation by products")):
        judged = variant == "plain" and result["n_points"] == 1000
        ratio = result["ratio"][variant]
        rows.append(
            Row(
                f"{what}, {result['n_points']} points, per point; {name} of {result['n_reference_points']}",
                milliseconds(medians["ours"]),
                milliseconds(medians[variant]),
                f"{ratio:.3g}×",
                f"{required:g}×" if judged else "",
                ratio >= required if judged else None,
            )
        )
    worst = result["differences_from_float64"]["largest_relative"]
    rows += [
        Row(
            f"{what}, largest relative difference from float64 ({result['n_literal_points']} points)",
            f"{worst:.2g}",
            required=f"{AGREEMENT:g}",
            met=worst <= AGREEMENT,
        ),
        Row(
            f"{what}, against the product that gives the distances",
            milliseconds(medians["ours"]),
            milliseconds(medians["product"]),
            f"takes {result['ours_over_product']:.3g} products",
        ),
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", choices=list(REQUIRED), default=list(REQUIRED))
    parser.add_argument("--points", type=int, default=1000, help="test points certified (default: %(default)s)")
    parser.add_argument("--plain-points", type=int, default=10, help="of these by the plain evaluation (default: 10)")
    parser.add_argument("--literal-points", type=int, default=200, help="of these compared in float64 (default: 200)")
    parser.add_argument("--repetitions", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "results" / "runs", help="where ARML's metrics are looked for"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    rows, results = [], []
    for dataset in options.datasets:
        learned = newest_metric(options.runs.resolve(), dataset, "arml")
        for label, metric in ({"Euclidean": "euclidean"} | ({"ARML": str(learned)} if learned else {})).items():
            sizes = options.points, options.plain_points, options.literal_points, options.repetitions
            results.append(measure(dataset, metric, *sizes))
            rows += rows_of(results[-1], label)
        if not learned:
            rows.append(Row(f"Theorem 1, {dataset}, ARML", f"not measured: no {dataset}-arml metric among the runs"))
    write_part(options.out, "knn_bound", machine, rows, results)


if __name__ == "__main__":
    main()
