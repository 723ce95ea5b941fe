"""What a table lacks, in one line: rows, test points, closed radii, and records that were not taken."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath

import pandas as pd

from arml.radii import Status
from arml.records.reader import RadiiRecord
from arml.reports.intervals import open_points
from arml.reports.names import with_names
from arml.reports.published import DATASET_LABELS
from arml.reports.selection import Chosen, TableSpec

# Of a reader's warning: what it did, and to which folder, whose name says what the record is about.
_WARNING = re.compile(r"^(skipped the damaged record|left out) (.+?): ")
_FOLDER = re.compile(r"^(\w+)-(\w+)-(\w+)-[0-9a-f]{12}$")
#: Why a record is in no cell, in the order in which they are counted.
DAMAGED, OLDER, SETTINGS, METRIC, FILLED = _REASONS = (
    "damaged", "of older code", "with other settings", "of another metric or other data",
    "of a row that another one fills",
)  # fmt: skip


def missing_line(
    table: pd.DataFrame, chosen: Chosen, records: Sequence[RadiiRecord], spec: TableSpec, warnings: Iterable[str] = ()
) -> str:
    """The line; ``records`` are all that were read, ``warnings`` what the reader said of those that it left out."""
    parts = [*_rows(table, spec), *_earlier(table, chosen), *_points(chosen, spec), *_limits(chosen)]
    reasons = refused(warnings, spec.datasets, [kind.evaluation for kind in spec.kinds])
    reasons += _not_taken(chosen, records, spec)
    parts += left_out(reasons)
    return f"Missing: {'; '.join(parts) or 'nothing'}."


def refused(warnings: Iterable[str], datasets: Sequence[str], evaluations: Sequence[str]) -> Counter[str]:
    """How many records of these datasets and evaluations the reader refused, by why, told from its warnings.

    One whose folder does not say what it is about counts, too: it may have been one of them.
    """
    reasons: Counter[str] = Counter()
    for warning in warnings:
        read = _WARNING.match(warning)
        name = _FOLDER.match(PurePath(read[2]).name) if read else None
        if read and (name is None or (name[1] in datasets and name[3] in evaluations)):
            reasons[OLDER if read[1] == "left out" else DAMAGED] += 1
    return reasons


def left_out(reasons: Counter[str]) -> list[str]:
    """The phrase about records that were left out, if any were."""
    if not reasons:
        return []
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=_place))
    return [f"{_count(reasons.total(), 'record was', 'records were')} left out: {counts}"]


def _rows(table: pd.DataFrame, spec: TableSpec) -> list[str]:
    cells = table[["dataset", "method", "kind"]].drop_duplicates()
    shown = cells[cells["method"].isin(spec.methods)]
    wanted = shown["dataset"].nunique() * shown["kind"].nunique() * len(spec.methods)
    parts = []
    if len(shown) < wanted:
        parts.append(f"{wanted - len(shown):,} of {wanted:,} rows have no numbers")
    absent = [DATASET_LABELS.get(name, name) for name in spec.datasets if name not in set(table["dataset"])]
    if absent:
        parts.append(f"no numbers of {', '.join(absent)}")
    return parts


def _earlier(table: pd.DataFrame, chosen: Chosen) -> list[str]:
    cells = set(table[["dataset", "method", "kind"]].itertuples(index=False, name=None)) - set(chosen)
    if not cells:
        return []
    return [
        f"{_count(len(cells), 'row is', 'rows are')} from before records were kept, so that nothing is counted there"
    ]


def _points(chosen: Chosen, spec: TableSpec) -> list[str]:
    short = [gap for record in chosen.values() if (gap := spec.points_wanted(record) - len(record.points)) > 0]
    if not short:
        return []
    rows = _count(len(short), "row", "rows")
    return [f"{rows} without all test points that the table asks for, {sum(short):,} points in all"]


def _limits(chosen: Chosen) -> list[str]:
    of = sum(len(record.points) for record in chosen.values() if record.kind == "exact")
    opened = sum(int(open_points(record).sum()) for record in chosen.values())
    late = sum(int((record.points["status"] == Status.TIME_LIMIT.value).sum()) for record in chosen.values())
    parts = [f"{opened:,} of {of:,} exact radii are only bounded"] if opened else []
    if late:
        parts.append(f"the limit of time was reached on {_count(late, 'point', 'points')}")
    return parts


def _not_taken(chosen: Chosen, records: Sequence[RadiiRecord], spec: TableSpec) -> Counter[str]:
    taken = {id(record.points) for record in chosen.values()}
    cells = {(dataset, method): record for (dataset, method, _), record in chosen.items()}
    reasons: Counter[str] = Counter()
    for record in with_names(records):
        kinds = [kind for kind in spec.kinds if kind.evaluation == record.evaluation]
        if record.dataset not in spec.datasets or not kinds or id(record.points) in taken:
            continue
        beside = cells.get((record.dataset, record.method))
        if beside is None or all(spec.mismatch(record, kind) for kind in kinds):
            reasons[SETTINGS] += 1
        elif (record.metric_digest, record.dataset_digest) != (beside.metric_digest, beside.dataset_digest):
            reasons[METRIC] += 1
        else:
            reasons[FILLED] += 1
    return reasons


def _place(item: tuple[str, int]) -> int:
    return _REASONS.index(item[0])


def _count(number: int, one: str, more: str) -> str:
    return f"{number:,} {one if number == 1 else more}"
