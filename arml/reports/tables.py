"""Tables of robust errors from records: the numbers as a frame, and their CSV.

`arml.reports.layout` prints the same frame in the paper's layout as Markdown and LaTeX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from arml.records.reader import RadiiRecord
from arml.reports.errors import robust_error, wilson_interval
from arml.reports.intervals import counted_least, interval_text
from arml.reports.names import method_label
from arml.reports.published import DATASET_LABELS, paper_errors, paper_radii
from arml.reports.selection import Chosen, TableSpec

COLUMNS = (
    "dataset", "method", "k", "kind", "radius", "error", "error_least", "error_low", "error_high", "n_test",
    "paper_error",
)  # fmt: skip

#: What identifies a cell.
CELL = ["dataset", "method", "k", "kind", "radius"]


def build_table(chosen: Chosen, spec: TableSpec) -> pd.DataFrame:
    """The table's numbers: `COLUMNS`, in the paper's order of datasets and methods, then by kind, radii increasing.

    The radii are those the paper prints for the dataset, else those the record was asked for. ``error`` is what is
    proven: no more than this. ``error_least`` is smaller where exact radii are only bounded (`arml.reports.intervals`):
    no less than that; elsewhere it is the same number. ``error_low`` and ``error_high`` are the 95 % Wilson interval of
    ``error`` on the ``n_test`` evaluated points; ``paper_error`` is NaN where the paper has no such cell.
    """
    published = paper_radii(spec.name) if has_paper_numbers(spec) else {}
    rows = []
    for (dataset, method, kind), record in chosen.items():
        radii, late = record.counted, counted_least(record)
        for radius in cell_radii(record, published):
            error = float(robust_error(radii, radius))
            low, high = wilson_interval(error, len(radii))
            least = float(robust_error(late, radius))
            rows.append((dataset, method, spec.k, kind, radius, error, least, float(low), float(high), len(radii)))
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-1]))
    if table.empty or not published:
        return table.assign(paper_error=float("nan"))
    return table.merge(printed_errors(spec), on=CELL, how="left", validate="one_to_one")


def cell_radii(record: RadiiRecord, published: Mapping[str, Sequence[float]]) -> Sequence[float]:
    """The radii of a record's cells: those published for its dataset, else those the record was asked for."""
    return published.get(record.dataset, sorted(record.radii))


def printed_errors(spec: TableSpec) -> pd.DataFrame:
    """The paper's errors of a table like `arml.reports.published.paper_errors`, under our names of their kinds."""
    printed = paper_errors(spec.name)
    parts = [printed[printed["kind"] == kind.paper].assign(kind=kind.name) for kind in spec.kinds if kind.paper]
    return pd.concat(parts, ignore_index=True)


def has_paper_numbers(spec: TableSpec) -> bool:
    """Whether the paper prints a table of this name."""
    return spec.name != "demo"


def table_csv(table: pd.DataFrame) -> str:
    """The frame as CSV text with every digit; an empty field where there is no paper number."""
    return str(table.to_csv(index=False, lineterminator="\n"))


def summary(table: pd.DataFrame, spec: TableSpec) -> str:
    """Plain text for a terminal: one line per method, kind and dataset with its errors over the radii."""
    lines = []
    width = 26 if len(spec.kinds) == 1 else 40
    texts = [interval_text(least, most) for least, most in zip(table["error_least"], table["error"], strict=True)]
    table = table.assign(text=texts)
    cell = 3 + max(map(len, texts), default=5)
    for dataset in spec.datasets:
        for kind in spec.kinds:
            block = table[(table["dataset"] == dataset) & (table["kind"] == kind.name)]
            if block.empty:
                continue
            radii = sorted(set(block["radius"]))
            label = DATASET_LABELS.get(dataset, dataset) + ("" if len(spec.kinds) == 1 else f", {kind.name}")
            lines.append(f"{label + ', l2 radius':<{width}}" + "".join(f"{radius:>{cell}.3g}" for radius in radii))
            for method, rows in block.groupby("method", sort=False):
                errors = dict(zip(rows["radius"], rows["text"], strict=True))
                shown = "".join(f"{errors.get(radius, '—'):>{cell}}" for radius in radii)
                lines.append(f"  {method_label(str(method)):<{width - 2}}{shown}")
    return "\n".join(lines)
