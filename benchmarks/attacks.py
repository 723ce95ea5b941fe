"""Local search against the attacks that only ask for answers: how often it is at least as near, and its time.

python -m benchmarks.attacks [--runs results/runs] [--dataset pendigits] [--points 50] [--steps 25000]

First from the finished records of Table 2, then once more afresh on a few points, in one process and within one box.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import arml
from arml.radii import AttackedBounds, Status
from arml.records.reader import RadiiRecord, read_radii_records
from arml.reports.selection import TABLE2, choose_records
from benchmarks.machine import describe
from benchmarks.output import OUT, ROOT, Measured, Row, middle, write_part

NAMES = {"boundary": "Boundary Attack", "hopskipjump": "HopSkipJump"}
REQUIRED_SHARE, REQUIRED_TIME = 0.95, 0.1
K, STEPS, BOX = 11, 25_000, (0.0, 1.0)

Array = NDArray[np.float64]


def compare(local: Array, other: Array) -> Measured:
    """Share of the points at which ``local`` (n,) is at most ``other`` (n,), and how much longer ``other`` is.

    The radii are those of correctly classified points, ``inf`` where an attack failed.
    """
    both = np.isfinite(local) & np.isfinite(other) & (local > 0)
    return {
        "n_points": len(local),
        "share": float(np.mean(local <= other)),
        "median_excess": float(np.median(other[both] / local[both]) - 1) if both.any() else None,
        "largest_deficit": float(np.max(local[both] / other[both], initial=1.0) - 1),
        "local_search_failed": int(np.isinf(local).sum()),
        "other_failed": int(np.isinf(other).sum()),
    }


def from_records(runs: Path) -> list[Measured]:
    """One comparison for each dataset and method that has finished records of local search and of another attack."""
    records = read_radii_records(runs, lambda message: print(message, file=sys.stderr))
    chosen, _ = choose_records(records, TABLE2)
    results = []
    for (dataset, method, kind), record in chosen.items():
        local = chosen.get((dataset, method, "local_search"))
        if kind in NAMES and local is not None:
            results.append({"dataset": dataset, "method": method, "other": kind} | compare_records(local, record))
    return results


def compare_records(local: RadiiRecord, other: RadiiRecord) -> Measured:
    """`compare` on the correctly classified points in both records, and the recorded seconds per point."""
    points = local.points.merge(other.points, on="index", suffixes=("", "_other"))
    points = points[points["status"] != Status.MISCLASSIFIED.value]
    provenance = {name: recorded(record) for name, record in (("local_search", local), ("other", other))}
    seconds = {
        name: provenance[name]["wall_seconds"] / len(record.points)
        for name, record in (("local_search", local), ("other", other))
    }
    return {
        "from": {"local_search": local.folder.name, "other": other.folder.name},
        "steps": TABLE2.kind(other.kind).steps if other.steps is None else other.steps,
        "box": {"local_search": local.box, "other": other.box},
        **compare(points["upper"].to_numpy(), points["upper_other"].to_numpy()),
        "seconds_per_point": seconds,
        "time_ratio": seconds["local_search"] / seconds["other"],
        "provenance": provenance,
    }


def recorded(record: RadiiRecord) -> Measured:
    """What the record's time was measured on."""
    provenance = json.loads((record.folder / "record.json").read_text(encoding="utf-8"))["provenance"]
    return {name: provenance[name] for name in ("wall_seconds", "threads", "device", "cpu", "created")}


def afresh(dataset: str, n_points: int, steps: int, repetitions: int) -> Measured:
    """Both attacks on the same points in this process, within the box that the Boundary Attack needs."""
    data = arml.load_dataset(dataset)
    X, y = data.evaluation_subset(1000, seed=42)
    X, y = X[:n_points], y[:n_points]
    knn = arml.MahalanobisKNN(K).fit(data.X_train, data.y_train)
    # What is compiled or imported on first use is not part of the time.
    knn.attacked_radius(X[:3], y[:3], attack="local_search", box=BOX)
    knn.attacked_radius(X[:3], y[:3], attack="boundary", box=BOX, steps=5)
    seconds: dict[str, list[float]] = {"local_search": [], "other": []}
    bounds: dict[str, AttackedBounds] = {}
    attacks: Mapping[str, tuple[str, int | None]] = {
        "local_search": ("local_search", None),
        "other": ("boundary", steps),
    }
    # The long attack once, the short one before and after it.
    for name in [*["local_search"] * repetitions, "other", *["local_search"] * repetitions]:
        attack, length = attacks[name]
        begin = time.perf_counter()
        bounds[name] = knn.attacked_radius(X, y, attack=attack, box=BOX, seed=42, steps=length)
        seconds[name].append((time.perf_counter() - begin) / len(y))
    right = bounds["other"].status != Status.MISCLASSIFIED.value
    medians = {name: middle(values) for name, values in seconds.items()}
    return {
        "dataset": dataset,
        "method": "euclidean",
        "other": "boundary",
        "steps": steps,
        "box": list(BOX),
        **compare(bounds["local_search"].upper[right], bounds["other"].upper[right]),
        "all_seconds_per_point": seconds,
        "seconds_per_point": medians,
        "time_ratio": medians["local_search"] / medians["other"],
        "largest_radius_over_certified": largest_factor(bounds["local_search"], right),
    }


def largest_factor(bounds: AttackedBounds, right: NDArray[np.bool_]) -> float:
    """Largest ratio of what local search found to what Theorem 1 certifies, over the points it certifies."""
    some = right & (bounds.lower > 0) & np.isfinite(bounds.upper)
    return float(np.max(bounds.upper[some] / bounds.lower[some], initial=1.0))


def rows_of(result: Measured, how: str) -> list[Row]:
    """The summary's lines for one comparison; only the Boundary Attack of full length is judged."""
    judged = result["other"] == "boundary" and result["steps"] == STEPS
    what = f"local search against {NAMES[result['other']]}, {result['dataset']}, {result['method']}, {how}"
    seconds, share, ratio = result["seconds_per_point"], result["share"], result["time_ratio"]
    excess = result["median_excess"]
    return [
        Row(
            f"{what}, radius smaller or equal ({result['n_points']} points)",
            f"{100 * share:.1f} %",
            ratio="" if excess is None else f"the other's is longer by {100 * excess:.3g} % (median)",
            required=f"{100 * REQUIRED_SHARE:g} %" if judged else "",
            met=share >= REQUIRED_SHARE if judged else None,
        ),
        Row(
            f"{what}, per point",
            f"{seconds['local_search']:.3g} s",
            f"{seconds['other']:.3g} s",
            f"{1 / ratio:.3g}×",
            f"{1 / REQUIRED_TIME:g}×" if judged else "",
            ratio <= REQUIRED_TIME if judged else None,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=ROOT / "results" / "runs")
    parser.add_argument("--dataset", default="pendigits", help="of the fresh comparison (default: %(default)s)")
    parser.add_argument("--points", type=int, default=50, help="of the fresh comparison (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the Boundary Attack (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=2, help="of local search, before and after (default: 2)")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    recorded_results = from_records(options.runs.resolve())
    fresh = afresh(options.dataset, options.points, options.steps, options.repetitions)
    rows = [row for result in recorded_results for row in rows_of(result, "from the records")]
    if not recorded_results:
        rows.append(Row("local search against other attacks, from the records", "not measured: no finished records"))
    rows += rows_of(fresh, "afresh in one box")
    write_part(options.out, "attacks", machine, rows, {"records": recorded_results, "fresh": fresh})


if __name__ == "__main__":
    main()
