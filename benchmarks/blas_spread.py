"""How far a row of Table 1 moves with the BLAS kernels and the threads that its metric is learned with.

python -m benchmarks.blas_spread [--datasets splice ...] [--methods lfda ...]

Nothing else differs: the same code, data, seed and processor. Each kernel rounds in another order, and a learner that
takes many steps, or solves a nearly singular problem, makes that difference large. No verdict on a cell should be
finer than this spread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from arml.records.reader import read_radii_records
from arml.reports.errors import robust_error
from arml.reports.published import paper_radii
from benchmarks.machine import describe
from benchmarks.output import OUT, ROOT, Measured, Row, write_part

#: What OpenBLAS (NumPy, SciPy) and MKL (torch) are told to run on, from the oldest processor to this one's own.
KERNELS = {
    "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem", "MKL_CBWR": "SSE4_2"},
    "Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge", "MKL_CBWR": "AVX"},
    "own": {},
}
THREADS = (1, 2)
DATASETS = ("splice", "pendigits", "satimage", "usps")
METHODS = ("nca", "lmnn", "itml", "lfda", "arml")


def errors(dataset: str, method: str, kernel: str, threads: int) -> list[float]:
    """The row of Table 1, its metric learned in a process with that kernel and so many threads."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "scripts" / "run.py", "experiment=table1", f"dataset={dataset}"]
        command += [f"method={method}", f"threads={threads}", "device=cpu", f"output.runs={folder}"]
        environment = os.environ | KERNELS[kernel] | {"OMP_NUM_THREADS": str(threads), "ARML_QUIET": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        [record] = read_radii_records(Path(folder), lambda text: sys.exit(text))
    return [float(robust_error(record.points["lower"].to_numpy(), r)) for r in paper_radii("table1")[dataset]]


def measure(dataset: str, method: str) -> Measured:
    """The row under every kernel and number of threads."""
    rows = {f"{kernel}, {n}": errors(dataset, method, kernel, n) for kernel in KERNELS for n in THREADS}
    spread = [max(cell) - min(cell) for cell in zip(*rows.values(), strict=True)]
    return {"dataset": dataset, "method": method, "rows": rows, "spread": spread}


def row_of(result: Measured) -> Row:
    """The summary's line."""
    spread = result["spread"]
    cells = " ".join(f"{value:.3f}" for value in spread)
    return Row(
        f"Table 1, {result['dataset']}, {result['method']}: spread of each error", f"{max(spread):.3f}", "", cells, "",
        None,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=DATASETS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    results = []
    for dataset in options.datasets:
        for method in options.methods:
            results.append(measure(dataset, method))
            print(row_of(results[-1]), flush=True)
    write_part(options.out, "blas_spread", machine, [row_of(result) for result in results], results)


if __name__ == "__main__":
    main()
