"""Certified radii (Theorem 1, K = 11) of 1,000 MNIST points: time in matrix products, and the run's peak memory.

python -m benchmarks.knn_bound_mnist [--dataset mnist] [--points 1000] [--repetitions 3] [--runs results/runs]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import arml
from arml.geometry import as_mahalanobis
from arml.learners import StoredMetric, load_metric
from benchmarks.exact_1nn import timed
from benchmarks.machine import describe, peak_memory_mib
from benchmarks.mnist_1nn import newest_metric
from benchmarks.output import OUT, ROOT, Measured, Row, in_child, middle, write_part

LIMIT_PRODUCTS, LIMIT_MIB = 10.0, 4096.0
K = 11


def measure(dataset: str, metric_path: str, n_points: int, repetitions: int) -> Measured:
    """Run in a process of its own: the first certification's peak memory, then ours and the product in turns."""
    data = arml.load_dataset(dataset)
    X, y = data.evaluation_subset(n_points, seed=42)
    metric: str | StoredMetric = "euclidean" if metric_path == "euclidean" else load_metric(metric_path)
    loaded = peak_memory_mib()

    def ours() -> np.ndarray:
        return arml.MahalanobisKNN(K, metric=metric).fit(data.X_train, data.y_train).certified_radius(X, y).lower

    first, radii = timed(ours)
    peak = peak_memory_mib()
    G = as_mahalanobis(metric, data.n_features).components
    A, B = torch.from_numpy(X @ G.T), torch.from_numpy(data.X_train @ G.T)
    seconds, products = [first], [timed(lambda: (A @ B.T).numpy())[0]]
    for _ in range(repetitions - 1):
        seconds.append(timed(ours)[0])
        products.append(timed(lambda: (A @ B.T).numpy())[0])
    return {
        "dataset": dataset,
        "metric": metric_path,
        "k": K,
        "n_points": len(X),
        "seconds": seconds,
        "median_seconds": middle(seconds),
        "product_seconds": products,
        "median_product_seconds": middle(products),
        "products": middle(seconds) / middle(products),
        "peak_memory_mib": peak,
        "peak_memory_with_data_loaded_mib": loaded,
        "certified_points": int((radii > 0).sum()),
        "mean_radius": float(radii.mean()),
        "threads": torch.get_num_threads(),
    }


def rows_of(result: Measured, label: str) -> list[Row]:
    """The summary's lines for one run; what is required is required of the Euclidean metric on MNIST."""
    what = f"Theorem 1, {result['dataset']}, {label}, {result['n_points']} points"
    products, peak = result["products"], result["peak_memory_mib"]
    judged = (result["dataset"], result["metric"], result["n_points"]) == ("mnist", "euclidean", 1000)
    return [
        Row(
            f"{what}, time",
            f"{result['median_seconds']:.1f} s",
            f"{result['median_product_seconds']:.2f} s (the product of the distances)",
            f"takes {products:.3g} products",
            f"{LIMIT_PRODUCTS:g} products" if judged else "",
            products <= LIMIT_PRODUCTS if judged else None,
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
    parser.add_argument("--repetitions", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "results" / "runs", help="where ARML's metric is looked for"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options.dataset, options.child, options.points, options.repetitions)))
        return
    machine = describe()
    learned = newest_metric(options.runs.resolve(), options.dataset, "arml")
    metrics = {"Euclidean": "euclidean"} | ({"ARML": str(learned)} if learned else {})
    rows, results = [], []
    for label, metric in metrics.items():
        sizes = ("--points", str(options.points), "--repetitions", str(options.repetitions))
        result = in_child("benchmarks.knn_bound_mnist", "--child", metric, "--dataset", options.dataset, *sizes)
        if metric != "euclidean":
            result["metric"] = Path(metric).parent.name
        results.append(result)
        rows += rows_of(result, label)
    if not learned:
        what = f"Theorem 1, {options.dataset}, ARML"
        rows.append(Row(what, f"not measured: no {options.dataset}-arml metric among the runs"))
    write_part(options.out, "knn_bound_mnist", machine, rows, results)


if __name__ == "__main__":
    main()
