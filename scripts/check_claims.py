"""Exit 1 when a verdict of the committed claims has become worse: ``python scripts/check_claims.py --help``.

Verdicts are computed anew from the records. A dataset without records (a fresh clone has none) is computed from the
committed table instead, which checks that table and claims still belong together. "Committed" is what git's HEAD holds,
so that a report written since then cannot hide a change; without git it is the file on disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from arml.reports.check import Comparison, DamagedReportError, compare_claims, parse_claims, parse_table
from arml.reports.claims import load_reasons, make_claims
from arml.reports.records import read_radii_records
from arml.reports.selection import TABLES, choose_records
from arml.reports.tables import build_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, compare, and return the exit code: 0 where nothing became worse, else 1."""
    parser = argparse.ArgumentParser(description="Compare fresh verdicts with the committed claims.")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="records root (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder of the reports (default: %(default)s)"
    )
    parser.add_argument("--table", choices=sorted(TABLES), default="table1", help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        comparison = compare(options.runs, options.out, options.table)
    except (DamagedReportError, FileNotFoundError) as error:
        print(f"check-claims: {error}", file=sys.stderr)
        return 1
    for title, cells in (
        ("WORSE", comparison.worse),
        ("VANISHED", comparison.vanished),
        ("improved", comparison.improved),
    ):
        for cell in cells:
            print(f"{title}  {cell}")
    print(
        f"{comparison.compared} cells compared: {len(comparison.worse)} worse, {len(comparison.vanished)} vanished, "
        f"{len(comparison.improved)} improved"
    )
    return 0 if comparison.passed else 1


def compare(runs: Path, out: Path, name: str) -> Comparison:
    """Fresh against committed verdicts of one table; says on stdout where the fresh ones come from.

    Raises
    ------
    FileNotFoundError
        If there are no committed claims.
    DamagedReportError
        If a committed file cannot be read.
    """
    spec = TABLES[name]
    claims_file, table_file = out / "claims" / f"{name}.csv", out / "tables" / f"{name}.csv"
    text = committed_text(claims_file)
    if text is None:
        raise FileNotFoundError(f"there is no {claims_file} to compare with; write it with 'python scripts/report.py'")
    committed = parse_claims(text, str(claims_file))
    chosen, notes = choose_records(read_radii_records(runs, lambda message: print(message, file=sys.stderr)), spec)
    for note in notes:
        print(note, file=sys.stderr)
    fresh = build_table(chosen, spec)
    without = [dataset for dataset in spec.datasets if dataset not in set(fresh["dataset"])]
    if without:
        print(f"no records for {', '.join(without)} under {runs}: verdicts taken from the committed {table_file}")
        stored = committed_text(table_file)
        if stored is not None:
            table = parse_table(stored, str(table_file))
            parts = [part for part in (fresh, table[table["dataset"].isin(without)]) if not part.empty]
            fresh = pd.concat(parts, ignore_index=True) if parts else fresh
    return compare_claims(make_claims(fresh, load_reasons(name)), committed)


def committed_text(path: Path) -> str | None:
    """The file as git's HEAD holds it; as it is on disk where git has no such file; None where it is nowhere."""
    folder = path.parent
    if folder.is_dir():
        try:
            shown = subprocess.run(
                ["git", "show", f"HEAD:./{path.name}"], cwd=folder, capture_output=True, check=False, timeout=30
            )
        except FileNotFoundError:  # no git on this machine
            shown = None
        if shown is not None and shown.returncode == 0:
            return shown.stdout.decode("utf-8")
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
