"""Robust-error curves: error(epsilon) over all radii for each dataset, with its interval and the paper's points.

For tables with one kind of error; `arml.reports.bands` draws those with several.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from arml.records.reader import RadiiRecord
from arml.reports.errors import error_curve, wilson_interval
from arml.reports.published import DATASET_LABELS, METHOD_LABELS, paper_radii
from arml.reports.selection import Chosen, TableSpec
from arml.reports.style import (
    COLUMN_WIDTH,
    METHOD_STYLES,
    OTHER_STYLE,
    TEXT_WIDTH,
    methods_first,
    new_figure,
    paper_style,
    save,
)
from arml.reports.tables import has_paper_numbers, printed_errors


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
    figure = new_figure(COLUMN_WIDTH if single else TEXT_WIDTH * columns / 3, 2.75 if single else 0.5 + 1.95 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    printed = printed_errors(spec) if has_paper_numbers(spec) else None
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
    shown = [
        method for method in spec.methods if any(cell[:2] == (name, method) for cell in chosen for name in datasets)
    ]
    handles = _legend_handles(shown, printed is not None and bool(printed["dataset"].isin(list(datasets)).any()))
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=4 if single or columns < 3 else len(handles),
        frameon=False,
        handlelength=2.6,
        handletextpad=0.5,
        columnspacing=1.0,
    )
    return figure


def draw_curves(panel: Axes, dataset: str, chosen: Chosen, spec: TableSpec, printed: pd.DataFrame | None) -> None:
    """Draw one dataset's curves, intervals and printed points into ``panel``, of the table's first kind of error."""
    kind = spec.kinds[0]
    mine = {method: record for (name, method, of), record in chosen.items() if (name, of) == (dataset, kind.name)}
    end = max_radius(dataset, list(mine.values()), spec)
    for method in methods_first(list(mine)):
        color, style, marker = METHOD_STYLES.get(method, OTHER_STYLE)
        counted = mine[method].counted
        epsilon, error = error_curve(counted, end)
        low, high = wilson_interval(error, len(counted))
        panel.fill_between(epsilon, low, high, step="post", color=color, alpha=0.15, linewidth=0)
        panel.step(epsilon, error, where="post", color=color, linestyle=style)
        if printed is not None:
            paper = printed[(printed["dataset"] == dataset) & (printed["method"] == method)]
            panel.plot(
                paper["radius"],
                paper["paper_error"],
                linestyle="none",
                clip_on=False,
                zorder=3,
                **marker_style(marker, color),
            )
    panel.set_title(DATASET_LABELS.get(dataset, dataset))
    radii = [] if printed is None else sorted(set(printed.loc[printed["dataset"] == dataset, "radius"]))
    set_axes(panel, end, radii)


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


def _legend_handles(methods: Sequence[str], printed: bool) -> list[Artist]:
    handles: list[Artist] = []
    for method in methods:
        color, style, marker = METHOD_STYLES.get(method, OTHER_STYLE)
        label = METHOD_LABELS.get(method, method)
        handles.append(
            Line2D([], [], color=color, linestyle=style, label=label, **marker_style(marker if printed else "", color))
        )
    if printed:
        handles.append(Line2D([], [], linestyle="none", label="paper", **marker_style("o", "0.4")))
    return handles


def marker_style(marker: str, color: str) -> dict[str, Any]:
    """A white marker with a thin edge, for the numbers the paper prints."""
    return {
        "marker": marker,
        "markersize": 3.2,
        "markerfacecolor": "white",
        "markeredgecolor": color,
        "markeredgewidth": 0.7,
    }
