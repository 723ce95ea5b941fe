"""Exact K-NN radii: how many points, how fast, and what checking their proofs costs beside finding them.

python -m benchmarks.knn_exact [--datasets splice pendigits] [--points 100] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import arml
from arml.radii import Status
from benchmarks.machine import describe
from benchmarks.output import OUT, Measured, Row, middle, write_part

K, NODES = 11, 200_000
REQUIRED_EXACT, REQUIRED_SECONDS = 0.98, 5.0


def measure(dataset: str, n_points: int, repetitions: int) -> Measured:
    """Find with proofs, check, and find without, on the first correctly classified evaluation points (Euclidean)."""
    data = arml.load_dataset(dataset)
    X, y = data.evaluation_subset(1000, seed=42)
    X, y = X[:n_points], y[:n_points]
    knn = arml.MahalanobisKNN(K).fit(data.X_train, data.y_train)
    # What is compiled on first use is not part of the time.
    knn.exact_radius(X[:3], y[:3], max_nodes=10, proofs=True)
    seconds: dict[str, list[float]] = {"attack": [], "find": [], "check": []}
    confirmed = True
    for _ in range(repetitions):
        begin = time.perf_counter()
        attacked = knn.attacked_radius(X, y)
        seconds["attack"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        bounds = knn.exact_radius(X, y, max_nodes=NODES, proofs=True)
        seconds["find"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        confirmed &= bool(arml.recheck(knn, X, y, bounds))
        seconds["check"].append(time.perf_counter() - begin)
    right = bounds.status != Status.MISCLASSIFIED.value
    return {
        "dataset": dataset,
        "n_correct": int(right.sum()),
        "exact": float(np.isin(bounds.status[right], (Status.EXACT.value, Status.TIED.value)).mean()),
        "gap_before": float(attacked.gap[right].mean()),
        "gap_after": float(bounds.gap[right].mean()),
        "nodes": float(bounds.nodes[right].mean()),
        "confirmed": confirmed,
        "all_seconds": seconds,
        "seconds_per_point": {name: middle(values) / len(y) for name, values in seconds.items()},
    }


def rows_of(result: Measured) -> list[Row]:
    """The summary's lines for one dataset."""
    what = f"exact 11-NN radii, {result['dataset']}, euclidean ({result['n_correct']} correct points)"
    seconds = result["seconds_per_point"]
    return [
        Row(
            f"{what}, radius exact",
            f"{100 * result['exact']:.1f} %",
            ratio=f"mean gap {100 * result['gap_before']:.2g} % before, {100 * result['gap_after']:.2g} % after",
            required=f"{100 * REQUIRED_EXACT:g} %",
            met=result["exact"] >= REQUIRED_EXACT,
        ),
        Row(
            f"{what}, seconds per point, the attack included",
            f"{seconds['find']:.3g} s",
            f"{seconds['attack']:.3g} s for the attack alone",
            required=f"{REQUIRED_SECONDS:g} s",
            met=seconds["find"] <= REQUIRED_SECONDS,
        ),
        Row(
            f"{what}, checking all proofs" + ("" if result["confirmed"] else " (NOT ALL CONFIRMED)"),
            f"{seconds['check']:.3g} s",
            f"{seconds['find']:.3g} s to find",
            f"{seconds['find'] / seconds['check']:.3g}×",
            "1×",
            result["confirmed"] and seconds["check"] < seconds["find"],
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", default=["splice", "pendigits"], help="default: %(default)s")
    parser.add_argument("--points", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--repetitions", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    results = [measure(dataset, options.points, options.repetitions) for dataset in options.datasets]
    write_part(options.out, "knn_exact", machine, [row for result in results for row in rows_of(result)], results)


if __name__ == "__main__":
    main()
