"""Run the benchmarks, each in a process of its own, and combine them: python -m benchmarks.run [part ...] [--full].

Every part also runs alone, with options of its own: python -m benchmarks.<part> --help
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    "exact_1nn", "mnist_1nn", "knn_bound", "knn_bound_mnist", "knn_bound_growth", "knn_exact", "proofs",
    "attacks",
    "arml_training", "reports",
)  # fmt: skip


def main() -> int:
    """Run the parts asked for; the exit code is 1 if one failed, and the others have run nevertheless."""
    parser = argparse.ArgumentParser(description="Benchmarks against the published algorithms.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--full", action="store_true", help="train the plain ARML to the end as well (half an hour)")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "benchmarks", help="default: %(default)s")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    failed = False
    out = ["--out", str(options.out.resolve())]
    for part in options.parts or PARTS:
        print(f"-- {part}", flush=True)
        full = ["--full"] if options.full and part == "arml_training" else []
        failed |= _module(part, *out, *full) != 0
    failed |= _module("summary", *out) != 0
    return int(failed)


def _module(name: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
