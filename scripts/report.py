"""Make tables, figures and claims from the records of finished runs: ``python scripts/report.py --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from arml.reports.boundaries import write_figure1
from arml.reports.claims import claims_csv, claims_markdown, load_reasons, make_claims
from arml.reports.figures import curves_figure, write_curves
from arml.reports.files import write_text
from arml.reports.layout import latex, markdown
from arml.reports.published import DATASET_LABELS
from arml.reports.records import read_boundary_records, read_radii_records
from arml.reports.selection import DEMO, TABLES, Chosen, TableSpec, choose_records
from arml.reports.style import paper_style, save
from arml.reports.tables import build_table, footnotes, summary, table_csv

PARTS = ("tables", "figures", "claims")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, write the reports, and return the exit code: 0, or 1 where there are no records to report."""
    options = parse(arguments)
    spec = DEMO if options.demo else TABLES[options.table]
    if options.datasets:
        spec = replace(spec, datasets=tuple(options.datasets))
    chosen, notes = choose_records(read_radii_records(options.runs, say), spec)
    for note in notes:
        say(note)
    boundaries = [] if options.demo else read_boundary_records(options.runs, say)
    if not chosen and not (boundaries and "figures" in options.only):
        job = "make demo" if options.demo else "make reproduce-table1"
        say(f"no finished records for {', '.join(spec.datasets)} under {options.runs}; run '{job}' first")
        return 1
    table = build_table(chosen, spec)
    if options.demo:
        written = write_demo(table, chosen, spec, options.out / "demo")
    else:
        written = (
            write_tables(table, chosen, spec, options.out / "tables") if "tables" in options.only and chosen else []
        )
        if "figures" in options.only:
            written += write_curves(chosen, spec, options.out / "figures")
            written += write_figure1(boundaries, options.out / "figures") if boundaries else []
        if "claims" in options.only and chosen:
            written += write_claims(table, spec, options.out / "claims")
    lines = [summary(table, spec.datasets), *(f"wrote {path}" for path in written)]
    print(*filter(None, lines), sep="\n")
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description="Make tables, figures and claims from run records alone.")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="records root (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="write these only (default: all)")
    parser.add_argument("--table", choices=sorted(TABLES), default="table1", help="default: %(default)s")
    parser.add_argument(
        "--datasets", nargs="+", choices=list(DATASET_LABELS), metavar="NAME",
        help=f"default: those of the table; there are {', '.join(DATASET_LABELS)}",
    )  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="one table and one figure of the digits, under OUT/demo")
    return parser.parse_args(arguments)


def write_tables(table: pd.DataFrame, chosen: Chosen, spec: TableSpec, folder: Path, name: str = "") -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` (the table's own name by default); returns the files."""
    stem, notes = name or spec.name, footnotes(chosen)
    return [
        write_text(folder / f"{stem}.csv", table_csv(table)),
        write_text(folder / f"{stem}.md", markdown(table, spec, notes)),
        write_text(folder / f"{stem}.tex", latex(table, spec, notes)),
    ]


def write_claims(table: pd.DataFrame, spec: TableSpec, folder: Path) -> list[Path]:
    """Write ``<table>.csv`` and ``.md`` with a verdict per cell; returns the files."""
    claims = make_claims(table, load_reasons(spec.name))
    return [
        write_text(folder / f"{spec.name}.csv", claims_csv(claims)),
        write_text(folder / f"{spec.name}.md", claims_markdown(claims, spec)),
    ]


def write_demo(table: pd.DataFrame, chosen: Chosen, spec: TableSpec, folder: Path) -> list[Path]:
    """Write the demo's table and figure; returns the files."""
    with paper_style():
        figure = curves_figure(spec.datasets, chosen, spec)
    return [*write_tables(table, chosen, spec, folder, "table"), *save(figure, folder / "robust_error")]


def say(message: str) -> None:
    """One line on stderr."""
    print(f"report: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
