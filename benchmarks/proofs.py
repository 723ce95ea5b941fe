"""Honest results and their checks: how many are confirmed by both checkers, and what checking costs beside finding.

python -m benchmarks.proofs [--datasets usps ...] [--exact-points 20]

On every dataset: exact 1-NN radii, and exact 11-NN radii with proofs, Euclidean, of the first evaluation points. The
float checker (`arml.recheck`) sees all of them, the exact one (`arml.proofs.rational`) some. Finding and checking
alternate in one process; times are those of the processor, medians of the repetitions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import arml
from arml.proofs import ProvenResult, rational
from arml.radii import RadiusBounds
from benchmarks.machine import describe
from benchmarks.output import OUT, Measured, Row, middle, write_part

DATASETS = ("splice", "pendigits", "satimage", "usps", "mnist", "fashion_mnist")
IMAGES = ("mnist", "fashion_mnist")
#: Points and nodes per point of the search, on the small sets and on the image sets.
POINTS = {1: (1000, 200), 11: (60, 20)}
NODES = (50_000, 500)
REPETITIONS = 3


def measure(dataset: str, n_neighbors: int, exact_points: int) -> Measured:
    """Find, check, and check some exactly."""
    images = dataset in IMAGES
    data = arml.load_dataset(dataset)
    X, y = data.evaluation_subset(POINTS[n_neighbors][images], seed=42)
    knn = arml.MahalanobisKNN(n_neighbors).fit(data.X_train, data.y_train)
    # What is compiled or prepared on first use is not part of the time.
    knn.exact_radius(X[:3], y[:3], max_nodes=10, proofs=True)
    seconds: dict[str, list[float]] = {"find": [], "check": []}
    for _ in range(1 if images else REPETITIONS):
        elapsed, bounds = _timed(lambda: knn.exact_radius(X, y, max_nodes=NODES[images], proofs=True))
        seconds["find"].append(elapsed)
        elapsed, report = _timed(lambda: arml.recheck(knn, X, y, bounds))  # noqa: B023 - called at once
        seconds["check"].append(elapsed)
    chosen = range(min(exact_points, len(y)))
    elapsed, exactly = _timed(lambda: rational.check(_whole(bounds), points=chosen))
    return {
        "dataset": dataset,
        "K": n_neighbors,
        "n_points": len(y),
        "refused": int((~report.ok).sum()),
        "n_exact_points": len(chosen),
        "refused_exactly": len(exactly.problems),
        "problems": [*report.problems[:3], *exactly.problems[:3]],
        "all_seconds": seconds,
        "seconds_per_point": {name: middle(values) / len(y) for name, values in seconds.items()},
        "exact_seconds_per_point": elapsed / len(chosen),
    }


def rows_of(result: Measured) -> list[Row]:
    """The summary's lines for one dataset and K."""
    what = f"{result['K']}-NN, {result['dataset']}, Euclidean"
    seconds, n = result["seconds_per_point"], result["n_points"]
    timed = result["dataset"] not in IMAGES
    return [
        Row(
            f"{what}, honest results refused by the float checker",
            f"{result['refused']} of {n}",
            required="0",
            met=result["refused"] == 0,
        ),
        Row(
            f"{what}, honest results refused by the exact checker",
            f"{result['refused_exactly']} of {result['n_exact_points']}",
            f"{result['exact_seconds_per_point']:.2g} s a point",
            required="0",
            met=result["refused_exactly"] == 0,
        ),
        Row(
            f"{what}, checking a point by the float checker, finding it",
            f"{1000 * seconds['check']:.3g} ms",
            f"{1000 * seconds['find']:.3g} ms",
            f"{seconds['find'] / seconds['check']:.3g}×",
            "1×" if timed else "",
            seconds["check"] <= seconds["find"] if timed else None,
        ),
    ]


def _whole(bounds: RadiusBounds) -> ProvenResult:
    assert bounds.perturbation is not None
    return ProvenResult(
        bounds.subject, bounds.lower, bounds.upper, bounds.status, bounds.perturbation, bounds.certificate
    )


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.process_time()
    result = work()
    return time.process_time() - begin, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", default=DATASETS, help="default: all six")
    parser.add_argument("--exact-points", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    results = [measure(dataset, K, options.exact_points) for dataset in options.datasets for K in (1, 11)]
    write_part(options.out, "proofs", machine, [row for result in results for row in rows_of(result)], results)


if __name__ == "__main__":
    main()
