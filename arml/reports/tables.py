"""Tables of robust errors from records: the numbers as a frame, and their CSV.

`arml.reports.layout` prints the same frame in the paper's layout as Markdown and LaTeX.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from arml.radii import Status
from arml.reports.errors import RADIUS_COLUMN, robust_error, wilson_interval
from arml.reports.published import DATASET_LABELS, METHOD_LABELS, paper_errors, paper_radii
from arml.reports.records import RadiiRecord
from arml.reports.selection import Chosen, TableSpec, points_fitted

COLUMNS = (
    "dataset", "method", "k", "kind", "radius", "error", "error_low", "error_high", "n_test", "paper_error",
)  # fmt: skip

#: What identifies a cell.
CELL = ["dataset", "method", "k", "kind", "radius"]


def build_table(chosen: Chosen, spec: TableSpec) -> pd.DataFrame:
    """The table's numbers: `COLUMNS`, in the paper's order of datasets and methods, radii increasing.

    The radii are those the paper prints for the dataset, else those the record was asked for. ``error_low`` and
    ``error_high`` are the 95 % Wilson interval on the ``n_test`` evaluated points; ``paper_error`` is NaN where the
    paper has no such cell.
    """
    published = paper_radii(spec.name) if has_paper_numbers(spec) else {}
    rows = []
    for (dataset, method), record in chosen.items():
        radii = record.points[RADIUS_COLUMN[spec.kind]].to_numpy()
        for radius in published.get(dataset, sorted(record.radii)):
            error = float(robust_error(radii, radius))
            low, high = wilson_interval(error, len(radii))
            rows.append((dataset, method, spec.k, spec.kind, radius, error, float(low), float(high), len(radii)))
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    if table.empty or not published:
        return table.assign(paper_error=float("nan"))
    return table.merge(paper_errors(spec.name), on=CELL, how="left", validate="one_to_one")


def has_paper_numbers(spec: TableSpec) -> bool:
    """Whether the paper prints a table of this name."""
    return spec.name != "demo"


def table_csv(table: pd.DataFrame) -> str:
    """The frame as CSV text with every digit; an empty field where there is no paper number."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def footnotes(chosen: Chosen) -> dict[tuple[str, str], list[str]]:
    """What must be said about each (dataset, method), from its record alone; cells without remark are left out."""
    remarks = {cell: _remarks(record) for cell, record in chosen.items()}
    return {cell: texts for cell, texts in remarks.items() if texts}


def summary(table: pd.DataFrame, datasets: Sequence[str]) -> str:
    """Plain text for a terminal: one line per method and dataset with its errors over the radii."""
    lines = []
    for dataset in datasets:
        block = table[table["dataset"] == dataset]
        if block.empty:
            continue
        radii = sorted(set(block["radius"]))
        label = DATASET_LABELS.get(dataset, dataset)
        lines.append(f"{label + ', l2 radius':<26}" + "".join(f"{radius:>8.3g}" for radius in radii))
        for method, rows in block.groupby("method", sort=False):
            errors = dict(zip(rows["radius"], rows["error"], strict=True))
            name = METHOD_LABELS.get(str(method), str(method))
            lines.append(f"  {name:<24}" + "".join(f"{errors[radius]:>8.3f}" for radius in radii))
    return "\n".join(lines)


def _remarks(record: RadiiRecord) -> list[str]:
    texts = []
    used = points_fitted(record)
    if used < record.n_train:
        texts.append(f"fitted on a stratified subset of {used:,} of {record.n_train:,} points")
    if record.fit_report.get("converged") is False:
        steps = record.fit_report.get("n_iter")
        texts.append("the fit stopped before it converged" + (f", after {steps} iterations" if steps else ""))
    status = record.points["status"]
    tied = int((status == Status.TIED.value).sum())
    if tied:
        texts.append(
            f"on {tied / len(status):.1%} of the points another class is exactly as near as the point's own; "
            "a tie counts as an attack, so their radius is 0".replace("%", " %", 1)
        )
    inexact = int(status.isin([Status.BOUNDED.value, Status.TIME_LIMIT.value]).sum())
    if inexact and record.kind == "exact":
        texts.append(f"the radius of {inexact} of {len(status):,} points is only bounded; its lower bound is used")
    return texts
