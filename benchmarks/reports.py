"""Seconds to make all tables, figures and claims from the records that are there, start of Python included.

python -m benchmarks.reports [--runs results/runs] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.output import OUT, ROOT, Measured, Row, middle, write_part

LIMIT_SECONDS = 20.0


def measure(runs: Path, repetitions: int) -> Measured:
    """Run the report script into a temporary folder; it fails if there are no records."""
    seconds, files = [], 0
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            subprocess.run(
                [sys.executable, ROOT / "scripts" / "report.py", "--runs", runs, "--out", folder],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            seconds.append(time.perf_counter() - begin)
            files = sum(path.is_file() for path in Path(folder).rglob("*"))
    records = {stage: len(list((runs / stage).glob("*/record.json"))) for stage in ("radii", "boundary")}
    return {"seconds": seconds, "median_seconds": middle(seconds), "records": records, "files_written": files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=Path, default=ROOT / "results" / "runs")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    machine = describe()
    result = measure(options.runs.resolve(), options.repetitions)
    records, seconds = sum(result["records"].values()), result["median_seconds"]
    what = f"reports from {records} records ({result['files_written']} files)"
    row = Row(what, f"{seconds:.1f} s", required="20 s", met=seconds < LIMIT_SECONDS)
    write_part(options.out, "reports", machine, [row], result)


if __name__ == "__main__":
    main()
