"""Recheck the radii of finished records without the solver that found them.

    python scripts/recheck.py                                  every record under results/runs
    python scripts/recheck.py results/runs/radii/usps-arml-*   some of them

Prints a line per record: confirmed (n radii), cannot be checked (made without a proof, or why else), or damaged (why).
Exit code 1 if a record was refused or damaged, or if there is none; one that claims no proof is counted and passes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from arml.experiments.verify import Checked, Checker, Verdict, radii_records


def main(arguments: Sequence[str] | None = None) -> int:
    """Recheck the records named on the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Recheck the radii of finished records without the solver.")
    parser.add_argument("records", nargs="*", type=Path, help="folders of records; default: all under --runs")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="root of the records")
    parser.add_argument("--data-root", default=None, help="folder of the datasets; default: $ARML_DATA, else data/")
    options = parser.parse_args(arguments)
    folders = options.records or list(radii_records(options.runs))
    if not folders:
        print(f"no records of radii under {options.runs}; make some with: make reproduce-table1", file=sys.stderr)
        return 1
    checker = Checker(options.data_root)
    checked = []
    for folder in folders:
        checked.append(checker.check(folder.resolve()))
        print(checked[-1], flush=True)
    print(summary(checked))
    return 0 if all(one.passed for one in checked) else 1


def summary(checked: Sequence[Checked]) -> str:
    """What came of all records: how to prove what has no proof, and in the last line the counts."""
    unproven = [one for one in checked if one.verdict is Verdict.UNPROVEN]
    confirmed = sum(one.verdict is Verdict.CONFIRMED for one in checked)
    refused = [one for one in checked if not one.passed]
    lines = []
    if unproven:
        lines.append(f"{len(unproven)} made without a proof; for the first of them radii with proofs are made by:")
        lines.append(f"  {unproven[0].remedy}")
    counts = f"{len(checked)} records: {confirmed} confirmed, {len(unproven)} without a proof, {len(refused)} refused"
    lines.append(counts + (f" or damaged: {', '.join(one.folder.name for one in refused)}" if refused else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
