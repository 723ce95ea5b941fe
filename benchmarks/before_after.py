"""Exact radii now and in another checkout of this repository, in turns, each in a process of its own.

python -m benchmarks.before_after --before CHECKOUT [--repetitions 3]

1-NN radii of 1,000 evaluation points and 11-NN radii of 60, with proofs, Euclidean. Times are those of the processor
(one thread of BLAS), medians of the repetitions; preparation of the training set is part of them, compilation is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.output import OUT, ROOT, Measured, Row, middle, write_part

TASKS = (*((name, 1) for name in ("splice", "pendigits", "satimage", "usps")), ("splice", 11), ("pendigits", 11))
LIMITS = {1: 1.2, 11: 1.0}

# Uses nothing that either checkout might lack.
_CHILD = """
import json, sys, time, arml
dataset, K, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = arml.load_dataset(dataset)
X, y = data.evaluation_subset(1000, seed=42)
X, y = X[:n], y[:n]
find = lambda X, y: arml.MahalanobisKNN(K).fit(data.X_train, data.y_train).exact_radius(X, y, proofs=True)
find(X[:20], y[:20])
begin = time.process_time()
bounds = find(X, y)
print(json.dumps([time.process_time() - begin, float(bounds.upper.sum())]))
"""


def once(checkout: Path, dataset: str, n_neighbors: int) -> list[float]:
    """Processor seconds, and the sum of the upper bounds, of one run of one checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "ARML_QUIET": "1"}
    arguments = [dataset, str(n_neighbors), "1000" if n_neighbors == 1 else "60"]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(value) for value in json.loads(done.stdout.splitlines()[-1])]


def measure(before: Path, dataset: str, n_neighbors: int, repetitions: int) -> Measured:
    """Both checkouts in turns."""
    runs: dict[str, list[list[float]]] = {"before": [], "now": []}
    for _ in range(repetitions):
        runs["before"].append(once(before, dataset, n_neighbors))
        runs["now"].append(once(ROOT, dataset, n_neighbors))
    seconds = {name: middle([run[0] for run in part]) for name, part in runs.items()}
    return {"dataset": dataset, "K": n_neighbors, "runs": runs, "seconds": seconds}


def row_of(result: Measured) -> Row:
    """The summary's line."""
    seconds, limit = result["seconds"], LIMITS[result["K"]]
    ratio = seconds["now"] / seconds["before"]
    return Row(
        f"exact {result['K']}-NN, {result['dataset']}, Euclidean, now against before",
        f"{seconds['now']:.3g} s",
        f"{seconds['before']:.3g} s",
        f"takes {ratio:.2f} times as long",
        f"{limit:g} times",
        ratio <= limit,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--before", type=Path, required=True, help="root of the other checkout")
    parser.add_argument("--repetitions", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    results = [measure(options.before.resolve(), *task, options.repetitions) for task in TASKS]
    write_part(options.out, "before_after", machine, [row_of(result) for result in results], results)


if __name__ == "__main__":
    main()
