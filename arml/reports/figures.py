"""Robust-error curves: error(epsilon) over all radii for each dataset, with its interval and the paper's points.

For tables with one kind of error; `arml.reports.bands` draws those with several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from arml.records.reader import RadiiRecord
from arml.reports.errors import Array, error_curve, robust_error, wilson_interval
from arml.reports.intervals import counted_least, open_points
from arml.reports.names import figure_label, is_from_file, methods_in_order
from arml.reports.published import DATASET_LABELS, paper_radii
from arml.reports.selection import Chosen, TableSpec
from arml.reports.style import (
    COLUMN_WIDTH,
    TEXT_WIDTH,
    Style,
    legend_columns,
    method_styles,
    methods_first,
    new_figure,
    paper_style,
    save,
)
from arml.reports.tables import has_paper_numbers, printed_errors

#: Darkness of the band between the least and the most that an error can be; that of its sampling interval is lighter.
OPEN_ALPHA = 0.4


def write_curves(chosen: Chosen, spec: TableSpec, folder: Path, without: Collection[str] = ()) -> list[Path]:
    """One figure per dataset, ``robust_error_<dataset>``, and one of all of them, ``robust_error_all`` (PDF and PNG).

    The combined figure is left out where there is only one dataset, and where datasets are to be done without.
    Returns the files written.
    """
    datasets = [name for name in spec.datasets if name not in without and any(cell[0] == name for cell in chosen)]
    written = []
    for dataset in datasets:
        with paper_style():
            figure = curves_figure([dataset], chosen, spec)
        written += save(figure, folder / f"robust_error_{dataset}")
    if len(datasets) > 1 and not without:
        with paper_style():
            figure = curves_figure(datasets, chosen, spec)
        written += save(figure, folder / "robust_error_all")
    return written


def curves_figure(datasets: Sequence[str], chosen: Chosen, spec: TableSpec) -> Figure:
    """Curves of the given datasets: column width for one, panels in rows of three at text width for more."""
    columns = min(3, len(datasets))
    rows = -(-len(datasets) // columns)
    single = len(datasets) == 1
    printed = printed_errors(spec) if has_paper_numbers(spec) else None
    drawn = {method: record for (name, method, _), record in chosen.items() if name in datasets}
    opened = any(open_points(record).any() for (name, _, _), record in chosen.items() if name in datasets)
    shown = [method for method in methods_in_order(spec.methods, drawn) if method in drawn]
    looks = method_styles(cell[1] for cell in chosen)
    has_paper = printed is not None and bool(printed["dataset"].isin(list(datasets)).any())
    handles = _legend_handles(shown, looks, has_paper, opened)
    width = COLUMN_WIDTH if single else TEXT_WIDTH * columns / 3
    ncols = legend_columns([str(handle.get_label()) for handle in handles], width)
    figure = new_figure(width, (2.45 if single else 0.35 + 1.95 * rows) + 0.15 * -(-len(handles) // ncols))
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    for panel, dataset in zip(panels, datasets, strict=False):
        draw_curves(panel, dataset, chosen, spec, printed)
    for panel in panels[len(datasets) :]:
        panel.remove()
    for number, panel in enumerate(panels[: len(datasets)]):
        # A column's last panel carries the label, also where the row below is shorter.
        if number + columns >= len(datasets):
            panel.set_xlabel("ℓ₂ radius")
        if number % columns == 0:
            panel.set_ylabel("robust error")
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=ncols,
        frameon=False,
        handlelength=2.6,
        handletextpad=0.5,
        columnspacing=1.2,
    )
    return figure


def draw_curves(panel: Axes, dataset: str, chosen: Chosen, spec: TableSpec, printed: pd.DataFrame | None) -> None:
    """Draw one dataset's curves, intervals and printed points into ``panel``, of the table's first kind of error.

    Where radii are only bounded there are two curves, the most and the least that the error can be, and a band between.
    """
    kind = spec.kinds[0]
    mine = {method: record for (name, method, of), record in chosen.items() if (name, of) == (dataset, kind.name)}
    end = max_radius(dataset, list(mine.values()), spec)
    looks = method_styles(cell[1] for cell in chosen)
    for method in methods_first(list(mine)):
        color, style, marker = looks[method]
        early, late = mine[method].counted, counted_least(mine[method])
        epsilon, least, most = both_curves(early, late, end)
        low, high = wilson_interval(least, len(late))[0], wilson_interval(most, len(early))[1]
        panel.fill_between(epsilon, low, high, step="post", color=color, alpha=0.15, linewidth=0)
        if open_points(mine[method]).any():
            panel.fill_between(epsilon, least, most, step="post", color=color, alpha=OPEN_ALPHA, linewidth=0)
            panel.step(*error_curve(late, end), where="post", color=color, linewidth=0.6)
        panel.step(*error_curve(early, end), where="post", color=color, linestyle=style)
        if printed is not None:
            draw_printed(panel, printed[(printed["dataset"] == dataset) & (printed["method"] == method)], marker, color)
    panel.set_title(DATASET_LABELS.get(dataset, dataset))
    radii = [] if printed is None else sorted(set(printed.loc[printed["dataset"] == dataset, "radius"]))
    set_axes(panel, end, radii)


def both_curves(early: Array, late: Array, end: float) -> tuple[Array, Array, Array]:
    """Radii at which either error jumps, the least error (of the radii ``late``) and the most (of ``early``) there."""
    epsilon, _ = error_curve(np.concatenate([early, late]), end)
    return epsilon, robust_error(late, epsilon), robust_error(early, epsilon)


def set_axes(panel: Axes, end: float, radii: Sequence[float]) -> None:
    """Errors from 0 to 1 over radii from 0 to ``end``, with ticks at ``radii`` if there are any."""
    panel.set_xlim(0, end)
    panel.set_ylim(0, 1.02)  # so that a line at 1 is not cut in half
    panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1])
    if radii:
        panel.set_xticks(radii)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.grid(color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)


def max_radius(dataset: str, records: Sequence[RadiiRecord], spec: TableSpec) -> float:
    """Right end of the axis: the largest radius the paper prints for the dataset, else the largest asked for."""
    published = paper_radii(spec.name) if has_paper_numbers(spec) else {}
    asked = [radius for record in records for radius in record.radii]
    end = max(published.get(dataset, asked), default=0.0)
    return end if end > 0 else 1.0


def _legend_handles(methods: Sequence[str], looks: Mapping[str, Style], printed: bool, opened: bool) -> list[Artist]:
    handles: list[Artist] = []
    for method in methods:
        color, style, marker = looks[method]
        # The paper has no points of the user's own metrics.
        mark = marker_style(marker if printed and not is_from_file(method) else "", color)
        handles.append(Line2D([], [], color=color, linestyle=style, label=figure_label(method), **mark))
    if opened:
        handles.append(Patch(facecolor="0.35", alpha=OPEN_ALPHA, linewidth=0, label="radii only bounded"))
    if printed:
        handles.append(Line2D([], [], linestyle="none", label="paper", **marker_style("o", "0.4")))
    return handles


def draw_printed(panel: Axes, paper: pd.DataFrame, marker: str, color: str) -> None:
    """The paper's numbers as markers. Without any nothing is drawn: an empty line would take room at the corner."""
    if not paper.empty:
        look = marker_style(marker, color)
        panel.plot(paper["radius"], paper["paper_error"], linestyle="none", clip_on=False, zorder=3, **look)


def marker_style(marker: str, color: str) -> dict[str, Any]:
    """A white marker with a thin edge, for the numbers the paper prints."""
    return {
        "marker": marker,
        "markersize": 3.2,
        "markerfacecolor": "white",
        "markeredgecolor": color,
        "markeredgewidth": 0.7,
    }
