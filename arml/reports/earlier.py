"""Cells of tables that were computed before records were kept: the numbers stand, what made them is gone.

The ledger holds them as ``earlier/<table>.csv`` (dataset, method, k, kind, radius, error, n_test) and
``earlier/<table>_remarks.csv`` (dataset, method, kind, remark). A record of a cell always goes before them, and they
say of themselves what they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from arml.records.files import parse_csv
from arml.reports.errors import wilson_interval
from arml.reports.footnotes import Footnotes
from arml.reports.names import methods_in_order
from arml.reports.selection import TableSpec
from arml.reports.tables import CELL, COLUMNS, has_paper_numbers, printed_errors

#: What is said of every such cell.
REMARK = "computed before records were kept: it can be neither redrawn nor rechecked until it is run again"

_TYPES: Mapping[str, type] = {"k": int, "n_test": int, "radius": float, "error": float}


def with_earlier(
    table: pd.DataFrame, notes: Footnotes, spec: TableSpec, ledger: Path
) -> tuple[pd.DataFrame, Footnotes]:
    """``table`` and its footnotes, with the earlier cells of (dataset, method, kind) of which it has none.

    Raises
    ------
    ValueError
        If the ledger's files cannot be read.
    """
    missing = _missing(table, spec, ledger)
    if missing.empty:
        return table, notes
    whole = pd.concat([table, missing], ignore_index=True) if len(table) else missing
    methods = methods_in_order(spec.methods, whole["method"])
    order = {name: place for place, name in enumerate((*spec.datasets, *methods, *(k.name for k in spec.kinds)))}
    keys = [whole[column].map(order) for column in ("dataset", "method", "kind")]
    whole = whole.assign(_d=keys[0], _m=keys[1], _k=keys[2]).sort_values(["_d", "_m", "_k", "radius"], kind="stable")
    cells = missing[["dataset", "method", "kind"]].drop_duplicates().itertuples(index=False, name=None)
    remarks = _remarks(spec, ledger)
    added = {cell: [REMARK, *remarks.get(cell, [])] for cell in cells}
    return whole[list(COLUMNS)].reset_index(drop=True), {**notes, **added}


def cells_without_records(table: pd.DataFrame, spec: TableSpec, ledger: Path) -> list[tuple[str, str, str]]:
    """The (dataset, method, kind) of which the ledger has numbers and ``table``, made from records, none."""
    missing = _missing(table, spec, ledger)
    return list(missing[["dataset", "method", "kind"]].drop_duplicates().itertuples(index=False, name=None))


def _missing(table: pd.DataFrame, spec: TableSpec, ledger: Path) -> pd.DataFrame:
    path = ledger / "earlier" / f"{spec.name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    cells = parse_csv(path.read_text(encoding="utf-8"), _TYPES)
    known = set(table[["dataset", "method", "kind"]].itertuples(index=False, name=None)) if len(table) else set()
    names = {kind.name for kind in spec.kinds}
    wanted = [
        (dataset, method, kind) not in known and dataset in spec.datasets and method in spec.methods and kind in names
        for dataset, method, kind in cells[["dataset", "method", "kind"]].itertuples(index=False, name=None)
    ]
    missing = cells[wanted]
    bounds = [wilson_interval(error, n) for error, n in zip(missing["error"], missing["n_test"], strict=True)]
    # What was printed then was one number; a footnote says where radii were only bounded.
    missing = missing.assign(
        error_least=missing["error"],
        error_low=[float(low) for low, _ in bounds],
        error_high=[float(high) for _, high in bounds],
    )
    if not has_paper_numbers(spec):
        return missing.assign(paper_error=float("nan"))[list(COLUMNS)]
    return missing.merge(printed_errors(spec), on=CELL, how="left", validate="one_to_one")[list(COLUMNS)]


def _remarks(spec: TableSpec, ledger: Path) -> dict[tuple[str, str, str], list[str]]:
    path = ledger / "earlier" / f"{spec.name}_remarks.csv"
    found: dict[tuple[str, str, str], list[str]] = {}
    if path.is_file():
        rows = parse_csv(path.read_text(encoding="utf-8"), {})
        for dataset, method, kind, remark in rows.itertuples(index=False, name=None):
            found.setdefault((dataset, method, kind), []).append(remark)
    return found
