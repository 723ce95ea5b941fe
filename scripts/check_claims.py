"""Exit 1 when a verdict of the committed claims has become worse: ``python scripts/check_claims.py --help``.

Verdicts are computed anew from the records, the ledger's and those under --runs, and from what the ledger has of
numbers from before records were kept. Where a dataset has no numbers of a kind of error in either they are computed
from the committed table, which checks that table and claims still belong together.
"Committed" is what git's HEAD holds, so that a report written since then cannot hide a change; without git it is the
file on disk.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from arml.radii import SandwichError
from arml.records.reader import RadiiRecord, all_records
from arml.reports.check import Comparison, DamagedReportError, compare_claims, parse_claims, parse_table
from arml.reports.claims import load_reasons, make_claims
from arml.reports.earlier import with_earlier
from arml.reports.sandwich import check_sandwich
from arml.reports.selection import TABLES, DisagreementError, TableSpec, choose_records
from arml.reports.tables import build_table


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, compare, and return the exit code: 0 where nothing became worse, else 1."""
    parser = argparse.ArgumentParser(description="Compare fresh verdicts with the committed claims.")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="records root (default: %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("results"), help="folder of the reports (default: %(default)s)"
    )
    parser.add_argument("--ledger", type=Path, help="records that are committed (default: OUT/records)")
    parser.add_argument("--table", choices=sorted(TABLES), help="default: all that have claims")
    options = parser.parse_args(arguments)
    committed = {name: committed_text(options.out / "claims" / f"{name}.csv") for name in TABLES}
    names = [options.table] if options.table else [name for name, text in committed.items() if text is not None]
    if not names or committed[names[0]] is None:
        path = options.out / "claims" / f"{options.table or 'table1'}.csv"
        return complain(f"there is no {path} to compare with; write it with 'python scripts/report.py'")
    options.ledger = options.ledger or options.out / "records"
    records = all_records(options.runs, options.ledger, lambda message: print(message, file=sys.stderr))
    passed = True
    for name in names:
        try:
            comparison = compare(TABLES[name], records, committed[name] or "", options)
        except (DamagedReportError, DisagreementError, SandwichError) as error:
            complain(f"{name}: {error}")
            passed = False
        else:
            show(name, comparison)
            passed = passed and comparison.passed
    return 0 if passed else 1


def show(name: str, comparison: Comparison) -> None:
    """Print a table's changes and their counts."""
    for title, cells in (
        ("WORSE", comparison.worse),
        ("VANISHED", comparison.vanished),
        ("improved", comparison.improved),
    ):
        for cell in cells:
            print(f"{title}  {cell}")
    print(
        f"{name}: {comparison.compared} cells compared: {len(comparison.worse)} worse, "
        f"{len(comparison.vanished)} vanished, {len(comparison.improved)} improved"
    )


def complain(message: str) -> int:
    """One message on stderr; returns the exit code 1."""
    print(f"check-claims: {message}", file=sys.stderr)
    return 1


def compare(spec: TableSpec, records: Sequence[RadiiRecord], claims: str, options: argparse.Namespace) -> Comparison:
    """Fresh verdicts of one table against the text of the committed ones; says where the fresh ones come from.

    Raises
    ------
    DamagedReportError
        If a committed file cannot be read.
    SandwichError, DisagreementError
        If records of the table contradict each other.
    """
    name = f"{spec.name}.csv"
    committed = parse_claims(claims, str(options.out / "claims" / name))
    chosen, notes = choose_records(records, spec)
    for note in notes:
        print(note, file=sys.stderr)
    check_sandwich(chosen, spec)
    fresh, _ = with_earlier(build_table(chosen, spec), {}, spec, options.ledger)
    table_file = options.out / "tables" / name
    text = committed_text(table_file)
    if text is not None:
        stored = parse_table(text, str(table_file))
        measured = pd.MultiIndex.from_frame(fresh[["dataset", "kind"]])
        missing = stored[~pd.MultiIndex.from_frame(stored[["dataset", "kind"]]).isin(measured)]
        if not missing.empty:
            what = ", ".join(dict.fromkeys(missing["dataset"] + " " + missing["kind"]))
            print(f"no records for {what} under {options.runs}: verdicts taken from the committed {table_file}")
            fresh = missing if fresh.empty else pd.concat([fresh, missing], ignore_index=True)
    return compare_claims(make_claims(fresh, load_reasons(spec.name)), committed)


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
