"""Exact 1-NN radii of 1,000 MNIST points: seconds, distances included, and the peak memory of that run alone.

python -m benchmarks.mnist_1nn [--dataset mnist] [--points 1000] [--runs results/runs]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import arml
from arml.geometry import as_mahalanobis, sq_dist_matrix
from arml.learners import StoredMetric, load_metric
from benchmarks.machine import describe, peak_memory_mib
from benchmarks.output import OUT, ROOT, Measured, Row, in_child, write_part

LIMIT_SECONDS, LIMIT_MIB = 180.0, 4096.0


def measure(dataset: str, metric_path: str, n_points: int) -> Measured:
    """Run in a process of its own: time and peak memory of fit and certification, then the limit of the machine."""
    data = arml.load_dataset(dataset)
    X, y = data.evaluation_subset(n_points, seed=42)
    metric: str | StoredMetric = "euclidean" if metric_path == "euclidean" else load_metric(metric_path)
    loaded = peak_memory_mib()
    # Load the compiled solver; 300 training points and 20 test points take next to nothing.
    arml.MahalanobisKNN(n_neighbors=1).fit(data.X_train[:300], data.y_train[:300]).exact_radius(X[:20], y[:20])
    begin = time.perf_counter()
    bounds = arml.MahalanobisKNN(n_neighbors=1, metric=metric).fit(data.X_train, data.y_train).exact_radius(X, y)
    seconds = time.perf_counter() - begin
    peak = peak_memory_mib()
    G = as_mahalanobis(metric, data.n_features).components
    A, B = torch.from_numpy(X @ G.T), torch.from_numpy(data.X_train @ G.T)
    begin = time.perf_counter()
    for start in range(0, len(A), 200):
        sq_dist_matrix(A[start : start + 200], B)
    product = time.perf_counter() - begin
    return {
        "dataset": dataset,
        "metric": metric_path,
        "n_points": len(X),
        "seconds": seconds,
        "product_seconds": product,
        "peak_memory_mib": peak,
        "peak_memory_with_data_loaded_mib": loaded,
        "status": {str(s): int(n) for s, n in zip(*np.unique(bounds.status, return_counts=True), strict=True)},
        "mean_radius": float(np.mean(bounds.lower)),
        "threads": torch.get_num_threads(),
    }


def newest_metric(runs: Path, dataset: str, method: str) -> Path | None:
    """The metric file of the newest finished run, or None."""
    found = sorted((runs / "metrics").glob(f"{dataset}-{method}-*/metric.npz"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def rows_of(result: Measured, label: str) -> list[Row]:
    """The summary's lines for one run."""
    what = f"exact 1-NN, {result['dataset']}, {label}, {result['n_points']} points"
    seconds, product, peak = result["seconds"], result["product_seconds"], result["peak_memory_mib"]
    judged = result["dataset"] == "mnist" and result["n_points"] == 1000
    return [
        Row(
            f"{what}, time",
            f"{seconds:.1f} s",
            f"{product:.1f} s (the product of the distances)",
            f"takes {seconds / product:.2g} products",
            f"{LIMIT_SECONDS:g} s" if judged else "",
            seconds < LIMIT_SECONDS if judged else None,
        ),
        Row(
            f"{what}, peak memory",
            f"{peak:.0f} MiB",
            required=f"{LIMIT_MIB:g} MiB" if judged else "",
            met=peak < LIMIT_MIB if judged else None,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "results" / "runs", help="where ARML's metric is looked for"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.dataset, options.child, options.points)))
        return
    machine = describe()
    learned = newest_metric(options.runs.resolve(), options.dataset, "arml")
    metrics = {"Euclidean": "euclidean"} | ({"ARML": str(learned)} if learned else {})
    rows, results = [], []
    for label, metric in metrics.items():
        arguments = ("--child", metric, "--dataset", options.dataset, "--points", str(options.points))
        result = in_child("benchmarks.mnist_1nn", *arguments)
        if metric != "euclidean":
            result["metric"] = Path(metric).parent.name
        results.append(result)
        rows += rows_of(result, label)
    if not learned:
        what = f"exact 1-NN, {options.dataset}, ARML"
        rows.append(Row(what, f"not measured: no {options.dataset}-arml metric among the runs"))
    write_part(options.out, "mnist_1nn", machine, rows, results)


if __name__ == "__main__":
    main()
