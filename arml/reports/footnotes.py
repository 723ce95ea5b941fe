"""What must be said about the cells of a table, from its records alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from arml.radii import Status
from arml.records.reader import RadiiRecord
from arml.reports.errors import robust_error
from arml.reports.intervals import open_points
from arml.reports.names import method_label
from arml.reports.published import DATASET_LABELS, paper_radii
from arml.reports.selection import Chosen, Kind, TableSpec, points_fitted
from arml.reports.tables import cell_radii, has_paper_numbers

Footnotes = Mapping[tuple[str, str, str], list[str]]


def footnotes(chosen: Chosen, spec: TableSpec) -> Footnotes:
    """Remarks on each (dataset, method, kind); cells without any are left out, and equal remarks are equal strings."""
    remarks = {}
    lost = {kind.name: majority_remark(chosen, spec, kind) for kind in spec.kinds if kind.seeks_majority}
    for cell, record in chosen.items():
        kind = spec.kind(cell[2])
        texts = _of_version(record) + _of_fit(record)
        texts += _of_attack(record, kind, spec) if kind.is_attack else _of_bounds(record, kind)
        if len(record.points) < spec.points_wanted(record):
            texts.append(fewer_remark(chosen, spec, kind, record))
        if kind.seeks_majority and majority_lost(record).any():
            texts.append(lost[kind.name])
        if texts:
            remarks[cell] = texts
    return remarks


def majority_lost(record: RadiiRecord) -> np.ndarray:
    """(n,) bool: the own class loses its majority of the neighbours at a smaller norm than the answer changes."""
    if "majority" not in record.holds.columns:
        return np.zeros(len(record.points), dtype=bool)
    return np.asarray(record.points["majority"] < record.points["upper"])


def majority_remark(chosen: Chosen, spec: TableSpec, kind: Kind) -> str:
    """On how many points of a kind the majority goes before the answer does, and what that could make of a cell.

    One remark for all cells of a kind; of use only where the attack looks for it (`Kind.seeks_majority`). An empty
    string where it happens nowhere.
    """
    published = paper_radii(spec.name) if has_paper_numbers(spec) else {}
    points = before = 0
    largest, where = 0.0, ""
    for (dataset, method, name), record in chosen.items():
        if name != kind.name:
            continue
        points, before = points + len(record.points), before + int(majority_lost(record).sum())
        if not majority_lost(record).any():
            continue
        for radius in cell_radii(record, published):
            more = float(robust_error(record.points["majority"], radius) - robust_error(record.points["upper"], radius))
            if more > largest:
                label = DATASET_LABELS.get(dataset, dataset)
                largest, where = more, f" ({method_label(method)} on {label} at {radius:g})"
    if not before:
        return ""
    return (
        f"{kind.title}: on {before:,} of {points:,} points in all, the own class loses its majority of the "
        "neighbours at a smaller norm than the answer changes; if that counted as success, an error would be at most "
        f"{largest:.3f} larger{where}"
    )


def fewer_remark(chosen: Chosen, spec: TableSpec, kind: Kind, record: RadiiRecord) -> str:
    """On how many points a kind was evaluated instead of all, and what the rest would cost.

    One remark for all cells of a kind with as many points.
    """
    n, wanted = len(record.points), spec.points_wanted(record)
    alike = [other for cell, other in chosen.items() if cell[2] == kind.name and len(other.points) == n]
    seconds = sum(other.wall_seconds / n * (spec.points_wanted(other) - n) for other in alike)
    done = "attacked" if kind.is_attack else "searched"
    remark = f"{kind.title}: only {n:,} of the {wanted:,} test points were {done}"
    if np.isnan(seconds):
        return remark
    rows = "this row" if len(alike) == 1 else f"the {len(alike)} rows so marked"
    return f"{remark}; the rest of {rows} would take {duration_text(seconds)} at the pace of the runs"


def duration_text(seconds: float) -> str:
    """A length of time in the unit that a reader would choose."""
    for unit, size, digits in (("hour", 3600, 1), ("minute", 60, 0), ("second", 1, 0)):
        if seconds >= size:
            amount = f"{seconds / size:.{digits}f}"
            return f"{amount} {unit}{'' if amount == '1' else 's'}"
    return "less than a second"


def _of_version(record: RadiiRecord) -> list[str]:
    return [f"made by an older version of the code ({record.outdated})"] if record.outdated else []


def _of_fit(record: RadiiRecord) -> list[str]:
    texts = []
    used = points_fitted(record)
    if used < record.n_train:
        texts.append(f"fitted on a stratified subset of {used:,} of {record.n_train:,} points")
    if record.fit_report.get("converged") is False:
        steps = record.fit_report.get("n_iter")
        texts.append("the fit stopped before it converged" + (f", after {steps} iterations" if steps else ""))
    searches, epochs = record.fit_report.get("searches"), record.fit_report.get("n_iter")
    if isinstance(searches, list) and isinstance(epochs, int) and len(searches) < epochs:
        texts.append(
            "neighbour lists were searched anew when a measured share of them had changed, not at every epoch, as in "
            "the paper"
        )
    return texts


def _of_bounds(record: RadiiRecord, kind: Kind) -> list[str]:
    texts = []
    status = record.points["status"]
    tied = int((status == Status.TIED.value).sum())
    if tied:
        how = "is exactly as near as" if record.k == 1 else "has as many votes as"
        texts.append(
            f"on {tied / len(status):.1%} of the points another class {how} the point's own; "
            "a tie counts as an attack, so their radius is 0".replace("%", " %", 1)
        )
    inexact = int(open_points(record).sum())
    if inexact and kind.is_exact:
        texts.append(f"the radius of {inexact} of {len(status):,} points is only bounded")
    return texts


def _of_attack(record: RadiiRecord, kind: Kind, spec: TableSpec) -> list[str]:
    texts = []
    points, n = record.points, len(record.points)
    if record.steps is not None and kind.steps is not None and record.steps != kind.steps:
        texts.append(f"{kind.title}: {record.steps:,} steps instead of the default {kind.steps:,}")
    # Where even the lower bound is infinite there is nothing to find, and so no failure.
    failed = int((np.isinf(points["upper"]) & np.isfinite(points["lower"])).sum())
    if failed:
        texts.append(
            f"{kind.title}: the attack failed on {failed:,} of {n:,} points, which count as robust at every radius"
        )
    return texts
