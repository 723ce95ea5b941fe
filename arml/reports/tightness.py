"""How far what is proven and what is attacked lies from the truth: Table 2's columns against exact radii.

Made from the records that exact K-NN radii left, each beside the certified and the attacked records of the same metric,
data, K and test points. The ratios are of radii, per test point: ``certified / exact`` is at most 1 and
``attacked / exact`` at least 1. Only points whose radius is known exactly, and is positive, enter them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from numpy.typing import NDArray

from arml.radii import Status
from arml.records.files import parse_csv, write_text
from arml.records.reader import RadiiRecord
from arml.reports.intervals import OPEN
from arml.reports.layout import markdown_label
from arml.reports.missing import FILLED, SETTINGS, left_out, refused
from arml.reports.names import figure_label, method_label, with_names
from arml.reports.published import DATASET_LABELS, METHOD_LABELS
from arml.reports.selection import TABLE2, best_record, effort
from arml.reports.style import TEXT_WIDTH, legend_columns, new_figure, paper_style, save

#: Evaluations held against exact radii, and how they are called and drawn.
BOUNDS = {
    "certified_knn": ("Theorem 1", "#0072B2", ">"),
    "local_search": ("local search", "#E69F00", "s"),
    "boundary": ("Boundary Attack", "#D55E00", "<"),
}
COLUMNS = (
    "dataset", "method", "k", "n_correct", "exact", "gap_left", "gap_before", "nodes", "max_nodes", "seconds",
    "certified", "local_search", "boundary", "boundary_points",
)  # fmt: skip
_KINDS = {kind.evaluation: kind for kind in TABLE2.kinds}
_TYPES: dict[str, type] = dict.fromkeys(COLUMNS[5:], float)
_TYPES |= dict.fromkeys(("k", "n_correct", "max_nodes", "boundary_points"), int) | {"exact": float}
_NEUTRAL = "0.35"
# Keyword arguments of many types.
_THIN: dict[str, Any] = {"linewidth": 0.8}
_THICK: dict[str, Any] = {"linewidth": 2.4, "solid_capstyle": "butt"}
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100, 200, 500, 1000)
_EDGES = (1e-6, 1e6)
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Comparison:
    """One record of exact radii and the ratios (quantiles `_QUANTILES`) of the other bounds to them, by evaluation.

    ``others`` are the records that the other bounds are from.
    """

    record: RadiiRecord
    others: tuple[RadiiRecord, ...]
    ratios: dict[str, NDArray[np.float64]]
    points: dict[str, int]
    gap_before: float


def comparisons(records: Sequence[RadiiRecord]) -> list[Comparison]:
    """Every record of exact K-NN radii with the settings of Table 2 but for K and the number of points.

    The one with the most points where there are several of a cell; see `selection.choose_records`. In the papers' order
    of datasets and methods, then by K.

    Raises
    ------
    DisagreementError
        If records that are equally good have different numbers.
    """
    cells: dict[tuple[str, str, int], list[RadiiRecord]] = {}
    records = with_names(records)
    for record in records:
        if record.evaluation == "exact_knn" and _as_in_table2(record):
            cells.setdefault((record.dataset, record.method, record.k), []).append(record)
    best = {cell: best_record(mine, _preference) for cell, mine in cells.items()}
    order = sorted(best, key=lambda cell: (_place(DATASET_LABELS, cell[0]), _place(METHOD_LABELS, cell[1]), cell[2]))
    return [_compared(best[cell], records) for cell in order]


def tightness_table(compared: Sequence[Comparison]) -> pd.DataFrame:
    """A row per record: `COLUMNS`.

    ``exact`` is the share of the ``n_correct`` correctly classified points whose gap is closed, ``gap_left`` the mean
    relative gap of the others, ``gap_before`` the mean gap between Theorem 1 and the local search; ``nodes`` and
    ``seconds`` are means per point, the seconds as the run took them, ``max_nodes`` what a point was allowed.
    ``certified``, ``local_search`` and ``boundary`` are median ratios to the exact radius, NaN where there is no
    record; ``boundary_points`` is how many points were attacked.
    """
    rows = []
    for item in compared:
        points = item.record.points
        right = points[points["prediction"] == points["label"]]
        exact = right["status"].isin([Status.EXACT.value, Status.TIED.value])
        left = right[~exact]
        medians = [item.ratios[name][2] if name in item.ratios else np.nan for name in BOUNDS]
        rows.append((
            item.record.dataset, item.record.method, item.record.k, len(right), exact.mean(),
            float(((left["upper"] - left["lower"]) / left["upper"]).mean()) if len(left) else 0.0,
            item.gap_before, right["nodes"].mean(), item.record.max_nodes,
            item.record.wall_seconds / max(len(points), 1), *medians, item.points.get("boundary", 0),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def tightness_markdown(table: pd.DataFrame, remarks: Sequence[str] = ()) -> str:
    """The table for readers, and below it what must be said about some of its rows."""
    lines = [
        "# Exact K-NN radii, and how far Table 2's columns lie from them",
        "",
        "Of the correctly classified points: the share whose radius (plurality vote) is known to a relative 10⁻⁶; the "
        "mean gap (upper − lower)/upper of the others; that gap before the search, between Theorem 1 and the local "
        "search; size of the search tree, the size it was allowed, and seconds per point, attack included, on one "
        "thread of a machine that was busy and at times paused the run. Then the median ratio of each bound to the "
        "exact radius: 1 is the truth.",
        "",
        "| dataset | method | K | points | exact | gap left | gap before | nodes | allowed | s | Theorem 1 | "
        "local search | Boundary Attack |",
        "| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]  # columns are names
    for row in rows:
        dataset, method = DATASET_LABELS.get(row["dataset"], row["dataset"]), markdown_label(row["method"])
        boundary = f"{row['boundary']:.3f} ({row['boundary_points']:,} points)"
        cells = [
            dataset, method, row["k"], f"{row['n_correct']:,}", f"{row['exact']:.1%}",
            f"{row['gap_left']:.1%}", _share(row["gap_before"]), f"{row['nodes']:,.0f}",
            "—" if pd.isna(row["max_nodes"]) else f"{row['max_nodes']:,.0f}", f"{row['seconds']:.2f}",
            _ratio(row["certified"]), _ratio(row["local_search"]), "—" if np.isnan(row["boundary"]) else boundary,
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [f"\n{remark}" for remark in remarks]
    return "\n".join(lines) + "\n"


def write_tightness(
    records: Sequence[RadiiRecord],
    out: Path,
    parts: Sequence[str],
    ledger: Path | None = None,
    warnings: Sequence[str] = (),
    datasets: Sequence[str] = tuple(DATASET_LABELS),
) -> list[Path]:
    """Write ``tables/exact_knn.{csv,md}`` and ``figures/exact_knn.{pdf,png}``; nothing where there are no records.

    ``warnings`` are what was said of records that were not read; those of ``datasets`` are counted below the table.

    Rows that the ledger has from before records were kept (``earlier/exact_knn.csv``) stand in the tables; while there
    are any the figure is not drawn, for it would lack them.
    """
    compared = comparisons(records)
    written: list[Path] = []
    table, gone = _with_earlier(tightness_table(compared), ledger)
    if len(table) and "tables" in parts:
        reasons = refused(warnings, datasets, ["exact_knn", *BOUNDS]) + _not_taken(compared, records)
        remarks = [*_remarks(compared), *gone, _missing(compared, reasons)]
        written.append(write_text(out / "tables" / "exact_knn.csv", table.to_csv(index=False, lineterminator="\n")))
        written.append(write_text(out / "tables" / "exact_knn.md", tightness_markdown(table, remarks)))
    shown = [] if gone else [item for item in compared if item.ratios]
    if shown and "figures" in parts:
        with paper_style():
            figure = tightness_figure(shown)
        written += save(figure, out / "figures" / "exact_knn")
    return written


def _with_earlier(table: pd.DataFrame, ledger: Path | None) -> tuple[pd.DataFrame, list[str]]:
    """The table with the ledger's earlier rows of cells that it lacks, in order, and what must be said of these."""
    path = None if ledger is None else ledger / "earlier" / "exact_knn.csv"
    if path is None or not path.is_file():
        return table, []
    earlier = parse_csv(path.read_text(encoding="utf-8"), _TYPES)
    cell = ["dataset", "method", "k"]
    known = set(table[cell].itertuples(index=False, name=None))
    missing = earlier[[row not in known for row in earlier[cell].itertuples(index=False, name=None)]]
    if missing.empty:
        return table, []
    whole = pd.concat([table, missing], ignore_index=True) if len(table) else missing
    places = [whole["dataset"].map(lambda name: _place(DATASET_LABELS, name)),
              whole["method"].map(lambda name: _place(METHOD_LABELS, name))]  # fmt: skip
    whole = whole.assign(_d=places[0], _m=places[1]).sort_values(["_d", "_m", "k"], kind="stable")[list(COLUMNS)]
    names = ", ".join(
        f"{DATASET_LABELS.get(dataset, dataset)} {method_label(method)} K = {k}"
        for dataset, method, k in missing[cell].itertuples(index=False, name=None)
    )
    return whole.reset_index(drop=True), [f"Computed before records were kept, and not rechecked since: {names}."]


def _missing(compared: Sequence[Comparison], reasons: Counter[str]) -> str:
    """What the table lacks, in one line."""
    parts = []
    right = [points[points["prediction"] == points["label"]] for points in (item.record.points for item in compared)]
    of, opened = sum(map(len, right)), sum(int(points["status"].isin(OPEN).sum()) for points in right)
    tied = sum(int((points["status"] == Status.TIED.value).sum()) for points in right)
    late = sum(int((points["status"] == Status.TIME_LIMIT.value).sum()) for points in right)
    if opened + tied:
        why = f"{opened:,} radii are only bounded" + (f", {late:,} of them for want of time" if late else "")
        why += f", {tied:,} are 0 by a tie" if tied else ""
        parts.append(f"{opened + tied:,} of {of:,} correctly classified points are in no ratio: {why}")
    lacking = [name for name in BOUNDS if any(name not in item.ratios for item in compared)]
    parts += [
        f"{sum(name not in item.ratios for item in compared):,} of {len(compared):,} rows have nothing of "
        f"{BOUNDS[name][0]} to compare with"
        for name in lacking
    ]
    return f"Missing: {'; '.join([*parts, *left_out(reasons)]) or 'nothing'}."


def _not_taken(compared: Sequence[Comparison], records: Sequence[RadiiRecord]) -> Counter[str]:
    taken = {id(item.record.points) for item in compared}
    reasons: Counter[str] = Counter()
    for record in records:
        if record.evaluation == "exact_knn" and id(record.points) not in taken:
            reasons[FILLED if _as_in_table2(record) else SETTINGS] += 1
    return reasons


def _remarks(compared: Sequence[Comparison]) -> list[str]:
    return [
        f"{DATASET_LABELS.get(record.dataset, record.dataset)}, {method_label(record.method)}, "
        f"K = {record.k}: made by an older version of the code ({record.outdated})."
        for item in compared
        for record in (item.record, *item.others)
        if record.outdated
    ]


def tightness_figure(compared: Sequence[Comparison]) -> Figure:
    """A panel per dataset and K; in it a row per method with median, quartiles and 5-95 % range of each ratio."""
    panels: dict[tuple[str, int], list[Comparison]] = {}
    for item in compared:
        panels.setdefault((item.record.dataset, item.record.k), []).append(item)
    columns = min(2, len(panels))
    tallest = max(len(items) for items in panels.values())
    rows = -(-len(panels) // columns)
    figure = new_figure(TEXT_WIDTH * columns / 2, 0.75 + rows * (0.65 + 0.27 * tallest))
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes, ((dataset, k), items) in zip(grid.ravel(), panels.items(), strict=False):
        _draw(axes, items)
        axes.set_title(f"{DATASET_LABELS.get(dataset, dataset)}, K = {k}")
    for axes in grid.ravel()[len(panels) :]:
        axes.remove()
    for number, axes in enumerate(grid.ravel()[: len(panels)]):
        if number + columns >= len(panels):
            axes.set_xlabel("radius found / exact radius")
            axes.tick_params(labelbottom=True)
    _log_axis(grid.ravel()[0], compared)
    names = [name for name in BOUNDS if any(name in item.ratios for item in compared)]
    handles = [
        Line2D([], [], color=BOUNDS[n][1], marker=BOUNDS[n][2], markersize=4, linestyle="none", label=BOUNDS[n][0])
        for n in names
    ]
    handles += [
        Line2D([], [], color=_NEUTRAL, label="25–75 % of the points", **_THICK),
        Line2D([], [], color=_NEUTRAL, label="5–95 %", **_THIN),
    ]
    ncols = legend_columns([str(handle.get_label()) for handle in handles], figure.get_figwidth())
    figure.legend(
        handles=handles, loc="outside upper center", ncols=ncols, frameon=False, handletextpad=0.5, columnspacing=1.2,
        title="median (marker) and spread of the ratio, point by point", title_fontsize=7,
    )  # fmt: skip
    return figure


def _log_axis(axes: Axes, compared: Sequence[Comparison]) -> None:
    """A ratio of 2 is as far from 1 as one of 1/2, and one wide bar does not press all others together.

    A bar to 0, where nothing is proven, or to infinity, where nothing was found, leaves at the edge.
    """
    ends = np.concatenate([ratio for item in compared for ratio in item.ratios.values()])
    ends = np.append(ends[np.isfinite(ends) & (ends > 0)], 1.0)
    axes.set_xscale("log")
    # Never so narrow that fewer than two ticks are in it.
    axes.set_xlim(min(ends.min() / 1.08, 0.65), max(ends.max() * 1.08, 1.6))
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")


def _draw(axes: Axes, items: Sequence[Comparison]) -> None:
    axes.axvline(1.0, color="0.3", linewidth=0.8)
    for place, item in enumerate(items):
        for offset, (name, (_, color, marker)) in zip((-0.22, 0.0, 0.22), BOUNDS.items(), strict=True):
            if name in item.ratios:
                # Far beyond the edges, where a logarithm has no room for 0 and none for infinity.
                low, first, median, third, high = np.clip(item.ratios[name], *_EDGES)
                axes.plot([low, high], [place + offset] * 2, color=color, **_THIN)
                axes.plot([first, third], [place + offset] * 2, color=color, **_THICK)
                axes.plot(median, place + offset, color=color, marker=marker, markersize=4, linestyle="none")
    axes.set_yticks(range(len(items)), [figure_label(item.record.method) for item in items])
    axes.set_ylim(len(items) - 0.5, -0.5)


def _compared(record: RadiiRecord, records: Sequence[RadiiRecord]) -> Comparison:
    exact = record.points[(record.points["status"] == Status.EXACT.value) & (record.points["lower"] > 0)]
    ratios: dict[str, NDArray[np.float64]] = {}
    points = {}
    found: dict[str, RadiiRecord] = {}
    for name in BOUNDS:
        mine = [other for other in records if other.evaluation == name and _same_question(record, other)]
        if not mine:
            continue
        found[name] = best_record(mine, _preference)
        bound = found[name].points[["index"]].assign(bound=found[name].counted)
        both = exact[["index", "upper"]].merge(bound, on="index")
        ratio = (both["bound"] / both["upper"]).to_numpy()
        points[name] = len(found[name].points)
        if len(ratio):
            ratios[name] = np.quantile(ratio, _QUANTILES)
    return Comparison(record, tuple(found.values()), ratios, points, _gap_before(record, found))


def _gap_before(record: RadiiRecord, found: dict[str, RadiiRecord]) -> float:
    if not {"certified_knn", "local_search"} <= set(found):
        return float("nan")
    lower, upper = found["certified_knn"].points, found["local_search"].points
    both = lower[["index", "lower"]].merge(upper[["index", "upper"]], on="index")
    both = both[(both["upper"] > 0) & np.isfinite(both["upper"])]
    return float(((both["upper"] - both["lower"]) / both["upper"]).mean())


def _same_question(record: RadiiRecord, other: RadiiRecord) -> bool:
    same = ("dataset", "method", "dataset_digest", "metric_digest", "k", "seed")
    return _as_in_table2(other) and all(getattr(record, name) == getattr(other, name) for name in same)


def _as_in_table2(record: RadiiRecord) -> bool:
    return replace(TABLE2, k=record.k, n_eval=None).mismatch(record, _KINDS[record.evaluation]) is None


def _preference(record: RadiiRecord) -> tuple[object, ...]:
    steps = record.steps or _KINDS[record.evaluation].steps or 0
    return not record.outdated, len(record.points), steps, *effort(record)


def _place(labels: dict[str, str], name: str) -> tuple[int, str]:
    return (list(labels).index(name) if name in labels else len(labels)), name


def _share(value: float) -> str:
    return "—" if np.isnan(value) else f"{value:.1%}"


def _ratio(value: float) -> str:
    return "—" if np.isnan(value) else f"{value:.3f}"
