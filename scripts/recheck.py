"""Recheck the radii of finished records without the solver that found them.

    python scripts/recheck.py                                  every record under results/runs
    python scripts/recheck.py results/runs/radii/usps-arml-*   some of them

Prints a line per record; exit code 1 if a radius is not confirmed or a record cannot be checked.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from arml.experiments.verify import UnverifiableRecordError, recheck_record, records_with_proofs


def main() -> int:
    """Recheck the records named on the command line."""
    parser = argparse.ArgumentParser(description="Recheck the radii of finished records without the solver.")
    parser.add_argument("records", nargs="*", type=Path, help="folders of records; default: all under --runs")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="root of the records")
    parser.add_argument("--data-root", default=None, help="folder of the datasets; default: $ARML_DATA, else data/")
    arguments = parser.parse_args()
    folders = arguments.records or list(records_with_proofs(arguments.runs))
    if not folders:
        print(f"no records with proofs under {arguments.runs}; make some with: make reproduce-table1", file=sys.stderr)
        return 1
    failed = False
    for folder in folders:
        try:
            report = recheck_record(folder, arguments.data_root)
        except (UnverifiableRecordError, ValueError, OSError) as error:
            print(f"{folder.name}: cannot be checked: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"{folder.name}: {int(report.ok.sum())} of {len(report.ok)} radii confirmed", flush=True)
        for point, problem in report.problems[:5]:
            print(f"  point {point}: {problem}")
        failed = failed or not report
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
