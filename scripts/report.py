"""Make tables, figures and claims from the records of finished runs: ``python scripts/report.py --help``."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from arml.radii import SandwichError
from arml.records.files import write_text
from arml.records.reader import RadiiRecord, all_records, read_boundary_records
from arml.reports.bands import write_bands
from arml.reports.boundaries import write_figure1
from arml.reports.claims import claims_csv, claims_json, claims_markdown, load_reasons, make_claims
from arml.reports.earlier import cells_without_records, with_earlier
from arml.reports.figures import curves_figure, write_curves
from arml.reports.footnotes import Footnotes, footnotes
from arml.reports.latex import latex
from arml.reports.layout import markdown
from arml.reports.missing import missing_line
from arml.reports.published import DATASET_LABELS
from arml.reports.sandwich import check_sandwich
from arml.reports.selection import DEMO, TABLES, Chosen, DisagreementError, TableSpec, choose_records
from arml.reports.style import paper_style, save
from arml.reports.tables import build_table, summary, table_csv
from arml.reports.tightness import write_tightness

PARTS = ("tables", "figures", "claims")

# From this many records on each table is reported by a process of its own.
_MANY = 50


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, write the reports, and return the exit code.

    It is 0, or 1 where there are no records to report or where those of a table contradict each other; nothing is
    written for such a table, the others are not affected.
    """
    options = parse(arguments)
    apart = [] if options.table or options.demo else tables_worth_a_process(options.runs, options.ledger)
    if len(apart) > 1:
        return report_apart(apart, options)
    specs = [DEMO] if options.demo else [TABLES[options.table]] if options.table else list(TABLES.values())
    if options.datasets:
        specs = [replace(spec, datasets=tuple(options.datasets)) for spec in specs]
    ledger = None if options.demo else options.ledger
    warnings: list[str] = []

    def warn(message: str) -> None:
        warnings.append(message)
        say(message)

    records = all_records(options.runs, ledger, warn, allow_old=options.allow_old)
    lines: list[str] = []
    failed = False
    parts: list[tuple[str, Callable[[], list[str]]]] = [
        (spec.name, partial(report, spec, records, options, warnings)) for spec in specs
    ]
    if any(spec.name == "table2" for spec in specs):
        names = list(dict.fromkeys(name for spec in specs for name in spec.datasets))
        mine = [record for record in records if record.dataset in names]
        compare = partial(write_tightness, mine, options.out, options.only, options.ledger, warnings, names)
        parts.append(("exact_knn", lambda: wrote(compare())))
    if "figures" in options.only and any(spec.name == "table1" for spec in specs):
        parts.append(("figure1", partial(report_figure1, options)))
    for name, write in parts:
        if name == "exact_knn" and failed:
            continue  # it compares what may just have been found to contradict itself
        try:
            lines += write()
        except (SandwichError, DisagreementError) as error:
            failed = True
            say(f"{name} is not written, because its records contradict each other:\n{error}")
    if not lines and not failed:
        job = "make demo" if options.demo else f"make reproduce-{options.table or 'table1'}"
        datasets = dict.fromkeys(name for spec in specs for name in spec.datasets)
        say(f"no finished records for {', '.join(datasets)} under {options.runs}; run '{job}' first")
    print(*lines, sep="\n", end="\n" if lines else "")
    return 0 if lines and not failed else 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description="Make tables, figures and claims from run records alone.")
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="records root (default: %(default)s)")
    parser.add_argument(
        "--ledger", type=Path,
        help="records that are committed; a folder that is not there is none (default: OUT/records)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder to write to (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS), help="write these only (default: all)")
    parser.add_argument("--table", choices=sorted(TABLES), help="default: all of which there are records")
    parser.add_argument(
        "--datasets", nargs="+", choices=list(DATASET_LABELS), metavar="NAME",
        help=f"default: those of the table; there are {', '.join(DATASET_LABELS)}",
    )  # fmt: skip
    parser.add_argument("--demo", action="store_true", help="one table and one figure of the digits, under OUT/demo")
    parser.add_argument(
        "--allow-old", action="store_true",
        help="show records of older versions of the code, too, with a footnote; by default they are left out",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    options.ledger = options.ledger or options.out / "records"
    return options


def tables_worth_a_process(*roots: Path) -> list[str]:
    """Tables of which there are records, where there are so many that drawing them one after the other takes long."""
    folders = [path.name for root in roots for path in (root / "radii").glob("*")]
    if len(folders) < _MANY:
        return []
    kinds = {name: [f"-{kind.evaluation}-" for kind in spec.kinds] for name, spec in TABLES.items()}
    return [name for name, marks in kinds.items() if any(mark in folder for folder in folders for mark in marks)]


def report_apart(tables: Sequence[str], options: argparse.Namespace) -> int:
    """Write each table's reports in a process of its own, all at once; returns 1 if one of them did."""
    command = [sys.executable, __file__, "--runs", str(options.runs), "--out", str(options.out)]
    command += ["--ledger", str(options.ledger)]
    command += ["--only", *options.only] + (["--datasets", *options.datasets] if options.datasets else [])
    command += ["--allow-old"] if options.allow_old else []
    running = [subprocess.Popen([*command, "--table", name], stdout=subprocess.PIPE, text=True) for name in tables]
    for process in running:
        print(process.communicate()[0], end="")
    return int(any(process.returncode for process in running))


def report(
    spec: TableSpec, records: Sequence[RadiiRecord], options: argparse.Namespace, warnings: Sequence[str] = ()
) -> list[str]:
    """Write what the options ask for of one table; returns lines to print, none where the table has no records.

    ``warnings`` are what was said of records that were not read: the table counts them.

    Raises
    ------
    SandwichError, DisagreementError
        If records of the table contradict each other.
    """
    chosen, remarks = choose_records(records, spec)
    for remark in remarks:
        say(remark)
    check_sandwich(chosen, spec)
    table, notes = build_table(chosen, spec), footnotes(chosen, spec)
    gone: list[tuple[str, str, str]] = []
    if not options.demo:
        gone = cells_without_records(table, spec, options.ledger)
        table, notes = with_earlier(table, notes, spec, options.ledger)
        if options.ledger.is_dir():
            say_where_from(chosen, gone, spec)
    if table.empty:
        return []
    missing = missing_line(table, chosen, records, spec, warnings)
    written: list[Path] = []
    if options.demo:
        written = write_demo(table, notes, missing, chosen, spec, options.out / "demo")
    else:
        if "tables" in options.only:
            written += write_tables(table, notes, missing, spec, options.out / "tables")
        if "figures" in options.only:
            written += write_figures(chosen, spec, gone, options.out / "figures")
        if "claims" in options.only:
            written += write_claims(table, chosen, spec, options.out / "claims")
    return [summary(table, spec), *wrote(written)]


def wrote(files: Sequence[Path]) -> list[str]:
    """A line for each file written."""
    return [f"wrote {path}" for path in files]


def say_where_from(chosen: Chosen, gone: Sequence[tuple[str, str, str]], spec: TableSpec) -> None:
    """Of how many rows the records are new, of how many they are the ledger's, and of how many there are none."""
    new = sum(record.local for record in chosen.values())
    parts = [f"{new} of your own", f"{len(chosen) - new} from the ledger"]
    parts += [f"{len(gone)} from before records were kept"] if gone else []
    if chosen or gone:
        say(f"{spec.name}: of {len(chosen) + len(gone)} rows {', '.join(parts)}")


def write_figures(chosen: Chosen, spec: TableSpec, gone: Sequence[tuple[str, str, str]], folder: Path) -> list[Path]:
    """Write the figures of all datasets of whose cells the records are there; returns the files."""
    without = list(dict.fromkeys(dataset for dataset, _, _ in gone))
    if without:
        names = ", ".join(without)
        say(f"{spec.name}: figures that show {names} stay as they are: records of some of their curves are gone")
    if len(spec.kinds) == 1:
        return write_curves(chosen, spec, folder, without)
    return write_bands({cell: record for cell, record in chosen.items() if cell[0] not in without}, spec, folder)


def report_figure1(options: argparse.Namespace) -> list[str]:
    """Write Figure 1 where there are records for it; returns lines to print."""
    boundaries = read_boundary_records(options.runs, say, allow_old=options.allow_old)
    mine = {record.method for record in boundaries}
    ledger = read_boundary_records(options.ledger, say, allow_old=options.allow_old)
    boundaries += [record for record in ledger if record.method not in mine]
    return wrote(write_figure1(boundaries, options.out / "figures")) if boundaries else []


def write_tables(
    table: pd.DataFrame, notes: Footnotes, missing: str, spec: TableSpec, folder: Path, name: str = ""
) -> list[Path]:
    """Write ``<name>.csv``, ``.md`` and ``.tex`` (the table's own name by default); returns the files."""
    stem = name or spec.name
    return [
        write_text(folder / f"{stem}.csv", table_csv(table)),
        write_text(folder / f"{stem}.md", markdown(table, spec, notes, missing)),
        write_text(folder / f"{stem}.tex", latex(table, spec, notes)),
    ]


def write_claims(table: pd.DataFrame, chosen: Chosen, spec: TableSpec, folder: Path) -> list[Path]:
    """Write ``<table>.csv``, ``.json`` and ``.md`` with a verdict per cell; returns the files."""
    claims = make_claims(table, load_reasons(spec.name))
    names = {cell: record.folder.name for cell, record in chosen.items()}
    return [
        write_text(folder / f"{spec.name}.json", claims_json(claims, spec, names)),
        write_text(folder / f"{spec.name}.csv", claims_csv(claims)),
        write_text(folder / f"{spec.name}.md", claims_markdown(claims, spec)),
    ]


def write_demo(
    table: pd.DataFrame, notes: Footnotes, missing: str, chosen: Chosen, spec: TableSpec, folder: Path
) -> list[Path]:
    """Write the demo's table and figure; returns the files."""
    with paper_style():
        figure = curves_figure(spec.datasets, chosen, spec)
    return [*write_tables(table, notes, missing, spec, folder, "table"), *save(figure, folder / "robust_error")]


def say(message: str) -> None:
    """One line on stderr."""
    print(f"report: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
