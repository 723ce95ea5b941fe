"""ARML's training against the plain implementation (`benchmarks.plain_arml`): time per epoch, loss, memory.

python -m benchmarks.arml_training [--datasets usps pendigits] [--epochs 1000] [--plain-epochs 10] [--full]
python -m benchmarks.arml_training --only-mnist

Each fit runs in a process of its own, for its memory; plain, ours, plain, ours ... alternate. ``--full`` trains the
plain implementation for all epochs once, which shows the final loss and the Table 1 row (USPS: a quarter of an hour).
MNIST's numbers are those that its finished run recorded of itself; ``--only-mnist`` renews them and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

import arml
from arml.geometry import Mahalanobis
from arml.reports.errors import robust_error
from arml.reports.published import paper_radii
from benchmarks.machine import describe, peak_memory_mib
from benchmarks.mnist_1nn import newest_metric
from benchmarks.output import OUT, ROOT, Measured, Row, in_child, middle, write_part
from benchmarks.plain_arml import plain_arml

DATASETS = ("usps", "pendigits")
REQUIRED_RATIO = 5.0
REQUIRED_LOSS, REQUIRED_ERROR = 0.01, 0.01
LIMIT_MNIST_SECONDS, LIMIT_MNIST_MIB = 3600.0, 6144.0
#: The loss of an epoch is that of one random draw of neighbours: losses are compared as means over this many epochs.
_LOSS_WINDOW = 50


def fit(which: str, dataset: str, epochs: int, certify: bool) -> Measured:
    """Run in a process of its own: train, then (outside the time and the memory) the errors of Table 1."""
    data = arml.load_dataset(dataset)
    loaded = peak_memory_mib()
    begin = time.perf_counter()
    if which == "ours":
        learner = arml.ARML(max_iter=epochs, random_state=42).fit(data.X_train, data.y_train)
        components, losses = learner.components_, learner.loss_curve_
        report: Measured = learner.fit_report_
    else:
        result = plain_arml(data.X_train, data.y_train, epochs=epochs)
        components, losses = result.components, result.losses
        report = {"seconds_of_epochs": [round(seconds, 4) for seconds in result.seconds]}
    seconds = time.perf_counter() - begin
    return {
        "which": which,
        "dataset": dataset,
        "epochs": epochs,
        "seconds": seconds,
        "seconds_per_epoch": seconds / epochs,
        "peak_memory_mib": peak_memory_mib(),
        "peak_memory_with_data_loaded_mib": loaded,
        "losses": [float(loss) for loss in losses],
        "report": report,
        "table1": table1_errors(data, Mahalanobis.from_components(components)) if certify else None,
    }


def table1_errors(data: arml.Dataset, metric: Mahalanobis) -> dict[str, float]:
    """Robust error at each radius of Table 1."""
    knn = arml.MahalanobisKNN(n_neighbors=1, metric=metric).fit(data.X_train, data.y_train)
    radii = knn.exact_radius(*data.evaluation_subset(1000, seed=42)).lower
    epsilons = paper_radii("table1")[data.name]
    return {
        f"{epsilon:g}": float(error) for epsilon, error in zip(epsilons, robust_error(radii, epsilons), strict=True)
    }


def child(which: str, dataset: str, epochs: int, certify: bool = False) -> Measured:
    """`fit` in a new process."""
    arguments = ["--child", which, "--datasets", dataset, "--epochs", str(epochs)]
    return in_child("benchmarks.arml_training", *arguments, *(["--certify"] if certify else []))


def measure(dataset: str, epochs: int, plain_epochs: int, repetitions: int, full: bool) -> Measured:
    """Fits of ours over all epochs and of the plain one over a few, in turns; with ``full`` a whole plain one."""
    runs: dict[str, list[Measured]] = {"plain": [], "ours": []}
    for repetition in range(repetitions):
        runs["plain"].append(child("plain", dataset, plain_epochs))
        runs["ours"].append(child("ours", dataset, epochs, certify=full and repetition == 0))
    runs["plain"].append(child("plain", dataset, plain_epochs))
    whole = child("plain", dataset, epochs, certify=True) if full else None
    ours = middle([run["seconds_per_epoch"] for run in runs["ours"]])
    plain = middle([seconds for run in runs["plain"] for seconds in run["report"]["seconds_of_epochs"]])
    first, other = runs["ours"][0], whole or runs["plain"][-1]
    result: Measured = {
        "dataset": dataset,
        "epochs": epochs,
        "median_seconds_per_epoch": {"ours": ours, "plain": plain},
        "ratio": plain / ours,
        "ratio_full": whole["seconds_per_epoch"] / ours if whole else None,
        "loss": compare_losses(first["losses"], other["losses"]),
        "table1": {"ours": first["table1"], "plain": whole["table1"]} if whole else None,
        "peak_memory_mib": {name: max(run["peak_memory_mib"] for run in some) for name, some in runs.items()},
        "runs": runs | {"plain_full": [whole] if whole else []},
    }
    for run in (run for some in result["runs"].values() for run in some):
        run["losses"] = [round(loss, 6) for loss in run["losses"][:: max(1, len(run["losses"]) // 50)]]
    return result


def compare_losses(ours: list[float], plain: list[float]) -> dict[str, float]:
    """Both losses at the last epoch that both did, and their relative difference, as means of the last epochs."""
    last = min(len(ours), len(plain))
    window = min(_LOSS_WINDOW, max(1, last // 4))
    a, b = float(np.mean(ours[last - window : last])), float(np.mean(plain[last - window : last]))
    return {"epoch": last, "mean_over": window, "ours": a, "plain": b, "relative_difference": abs(a - b) / abs(b)}


def rows_of(result: Measured) -> list[Row]:
    """The summary's lines for one dataset."""
    name, seconds, loss, memory = (
        result[key] for key in ("dataset", "median_seconds_per_epoch", "loss", "peak_memory_mib")
    )
    what, usps = f"ARML training, {name}", name == "usps"
    finished = loss["epoch"] == result["epochs"]
    rows = [
        Row(
            f"{what}, per epoch over {result['epochs']} epochs",
            f"{seconds['ours']:.3g} s",
            f"{seconds['plain']:.3g} s",
            f"{result['ratio']:.3g}×",
            f"{REQUIRED_RATIO:g}×" if usps else "",
            result["ratio"] >= REQUIRED_RATIO if usps else None,
        ),
        Row(
            f"{what}, loss after {loss['epoch']} epochs (mean of the last {loss['mean_over']})",
            f"{loss['ours']:.5g}",
            f"{loss['plain']:.5g}",
            f"differs by {100 * loss['relative_difference']:.2g} %",
            "1 %" if usps and finished else "",
            loss["relative_difference"] <= REQUIRED_LOSS if usps and finished else None,
        ),
        Row(f"{what}, peak memory", f"{memory['ours']:.0f} MiB", f"{memory['plain']:.0f} MiB"),
    ]
    if result["table1"]:
        ours, plain = result["table1"]["ours"], result["table1"]["plain"]
        gap = max(abs(ours[epsilon] - plain[epsilon]) for epsilon in ours)
        rows.append(
            Row(
                f"{what}, Table 1 row",
                " ".join(f"{error:.3f}" for error in ours.values()),
                " ".join(f"{error:.3f}" for error in plain.values()),
                f"differs by at most {gap:.3f}",
                f"{REQUIRED_ERROR:g}" if usps else "",
                gap <= REQUIRED_ERROR + 1e-9 if usps else None,
            )
        )
    return rows


def mnist(runs: Path, dataset: str = "mnist") -> tuple[Measured, list[Row]]:
    """What the finished MNIST run recorded of itself."""
    path = newest_metric(runs, dataset, "arml")
    if path:
        record = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        report, provenance = record["metric"]["fit_report"], record["provenance"]
        seconds, peak = report["seconds"], provenance["peak_memory_mib"]
        where = f"{report['device']}, {provenance['threads']} threads, run of {provenance['created'][:10]}"
        on_cpu = report["device"] == "cpu"
        rows = [
            Row(
                f"ARML training, mnist, {report['n_iter']} epochs ({where})",
                f"{seconds / 60:.1f} min",
                required="60 min",
                met=seconds < LIMIT_MNIST_SECONDS if on_cpu else None,
            ),
            Row(
                "ARML training, mnist, peak memory of its process",
                f"{peak:.0f} MiB",
                required="6144 MiB",
                met=peak < LIMIT_MNIST_MIB if on_cpu else None,
            ),
        ]
        return {"from": path.parent.name, "fit_report": report, "provenance": provenance}, rows
    return {}, [Row("ARML training, mnist", "not measured: no mnist-arml metric among the runs")]


def renew_mnist(out: Path, runs: Path) -> None:
    """Read MNIST's run anew; the other datasets, and what is said of the machine, stay as an earlier run left them."""
    old = json.loads((out / "arml_training.json").read_text(encoding="utf-8"))
    result, rows = mnist(runs)
    kept = [Row(**row) for row in old["rows"] if not row["what"].startswith("ARML training, mnist")]
    measured = [each for each in old["measurements"] if each["dataset"] != "mnist"]
    write_part(out, "arml_training", old["machine"], kept + rows, [*measured, {"dataset": "mnist"} | result])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    parser.add_argument("--epochs", type=int, default=1000)
    parser.add_argument("--plain-epochs", type=int, default=10, help="epochs of each plain run (default: 10)")
    parser.add_argument("--repetitions", type=int, default=2, help="fits of ours per dataset (default: 2)")
    parser.add_argument("--full", action="store_true", help="train the plain implementation to the end once as well")
    parser.add_argument("--only-mnist", action="store_true", help="renew MNIST's rows in the file of an earlier run")
    parser.add_argument("--no-mnist", action="store_true", help="leave MNIST out")
    parser.add_argument("--runs", type=Path, default=ROOT / "results" / "runs", help="where MNIST's run is looked for")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--child", choices=("ours", "plain"), help=argparse.SUPPRESS)
    parser.add_argument("--certify", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(fit(options.child, options.datasets[0], options.epochs, options.certify)))
        return
    if options.only_mnist:
        renew_mnist(options.out, options.runs)
        return
    machine = describe()
    results: list[Measured] = [
        measure(dataset, options.epochs, options.plain_epochs, options.repetitions, options.full)
        for dataset in options.datasets
    ]
    rows = [row for result in results for row in rows_of(result)]
    if not options.no_mnist:
        result, more = mnist(options.runs)
        results.append({"dataset": "mnist"} | result)
        rows += more
    write_part(options.out, "arml_training", machine, rows, results)


if __name__ == "__main__":
    main()
