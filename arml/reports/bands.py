"""What is known of the robust error at every radius: the band between the certified and the attacked error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from arml.reports.errors import error_curve
from arml.reports.figures import both_curves, draw_printed, marker_style, max_radius, set_axes
from arml.reports.intervals import counted_least, open_points
from arml.reports.names import figure_label, methods_in_order
from arml.reports.selection import Chosen, TableSpec
from arml.reports.style import TEXT_WIDTH, legend_columns, method_styles, new_figure, paper_style, save
from arml.reports.tables import has_paper_numbers, printed_errors

#: The paper's attack, drawn with a line of its own.
_SHOWN_ATTACK = "boundary"
_NEUTRAL = "0.35"
# Keyword arguments of many types, as `marker_style` has them too.
_CERTIFIED: dict[str, Any] = {"linewidth": 1.4}
_ATTACKED: dict[str, Any] = {"linewidth": 0.8}
_DASHED: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 2))}
#: Exact radii, where there are any, between the two.
_EXACT = "exact"
_TRUTH: dict[str, Any] = {"linewidth": 0.9, "color": "#000000", "linestyle": (0, (1, 1))}
_OPEN: dict[str, Any] = {"color": "#000000", "alpha": 0.3}
#: Euclidean's own black would hide the exact curve.
_GREY = "#707070"
_PRINTED = {"certified": "o", _SHOWN_ATTACK: "D"}
_PATCH = 0.22


def write_bands(chosen: Chosen, spec: TableSpec, folder: Path) -> list[Path]:
    """One figure per dataset, ``bands_<dataset>`` (PDF and PNG); returns the files written."""
    written = []
    for dataset in spec.datasets:
        if any(cell[0] == dataset for cell in chosen):
            with paper_style():
                figure = bands_figure(dataset, chosen, spec)
            written += save(figure, folder / f"bands_{dataset}")
    return written


def bands_figure(dataset: str, chosen: Chosen, spec: TableSpec) -> Figure:
    """One panel per method that has a record, in the paper's order, three to a row, with shared axes."""
    order = methods_in_order(spec.methods, (cell[1] for cell in chosen if cell[0] == dataset))
    cells = {method: _of_method(dataset, method, chosen) for method in order}
    methods = [method for method in order if cells[method]]
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    noted = any(common_points(cells[method])[1] for method in methods)
    kinds = [kind.name for kind in spec.kinds if any(kind.name in of for of in cells.values())]
    opened = any(open_points(of[_EXACT]).any() for of in cells.values() if _EXACT in of)
    printed = printed_errors(spec) if has_paper_numbers(spec) else None
    mine = None if printed is None else printed[printed["dataset"] == dataset]
    handles = _legend_handles(spec, kinds, mine is not None and not mine.empty, opened)
    width = TEXT_WIDTH * columns / 3
    ncols = legend_columns([str(handle.get_label()) for handle in handles], width, handle=2.2)
    figure = new_figure(width, 0.6 + (1.74 if noted else 1.6) * rows + 0.15 * -(-len(handles) // ncols))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    end = max_radius(dataset, [record for of in cells.values() for record in of.values()], spec)
    for panel, method in zip(panels, methods, strict=False):
        draw_bands(panel, method, cells[method], spec, end, mine)
    for panel in panels[len(methods) :]:
        panel.remove()
    for number, panel in enumerate(panels[: len(methods)]):
        # A column's last panel carries the label and the numbers, also where the row below is shorter.
        if number + columns >= len(methods):
            panel.set_xlabel("ℓ₂ radius")
            panel.tick_params(labelbottom=True)
        if number % columns == 0:
            panel.set_ylabel("robust error")
    figure.legend(
        handles=handles, loc="outside upper center", ncols=ncols, frameon=False, handlelength=2.2, handletextpad=0.5,
        columnspacing=1.2,
    )  # fmt: skip
    return figure


def draw_bands(
    panel: Axes,
    method: str,
    records: Mapping[str, RadiiRecord],
    spec: TableSpec,
    end: float,
    printed: pd.DataFrame | None,
) -> None:
    """Draw one method's certified and attacked curves, the band between them and the paper's points.

    ``records`` maps kinds to records. Whatever is drawn is of the same test points, those that all kinds have, and the
    title says how many where some have more; ``printed`` are the paper's errors on the dataset, on its own 1,000.
    """
    color = _GREY if method == "euclidean" else method_styles([method])[method][0]
    records, common = common_points(records)
    certified, attacked = _edges(records, spec)
    if certified is not None and attacked is not None:
        epsilon, low, high = both_curves(certified, attacked, end)
        panel.fill_between(epsilon, low, high, step="post", color=color, alpha=_PATCH, linewidth=0)
    for radii, look in ((certified, _CERTIFIED), (attacked, _ATTACKED)):
        if radii is not None:
            panel.step(*error_curve(radii, end), where="post", color=color, **look)
    if _EXACT in records:
        _draw_exact(panel, records[_EXACT], end)
    attacks = [kind.name for kind in spec.kinds if kind.is_attack and kind.name in records]
    if _SHOWN_ATTACK in attacks and len(attacks) > 1:
        panel.step(*error_curve(records[_SHOWN_ATTACK].counted, end), where="post", color=color, **_DASHED)
    if printed is not None:
        for kind, marker in _PRINTED.items():
            draw_printed(panel, printed[(printed["method"] == method) & (printed["kind"] == kind)], marker, color)
    panel.set_title(figure_label(method) + (f"\n{common:,} common points" if common else ""))
    set_axes(panel, end, [] if printed is None else sorted(set(printed["radius"])))


def _draw_exact(panel: Axes, record: RadiiRecord, end: float) -> None:
    """The exact curve; where radii are only bounded the two that it lies between, and a band."""
    early, late = record.counted, counted_least(record)
    if open_points(record).any():
        panel.fill_between(*both_curves(early, late, end), step="post", linewidth=0, **_OPEN)
        panel.step(*error_curve(late, end), where="post", **_TRUTH)
    panel.step(*error_curve(early, end), where="post", **_TRUTH)


def common_points(records: Mapping[str, RadiiRecord]) -> tuple[dict[str, RadiiRecord], int]:
    """The records cut down to the test points that all of them have, and how many these are.

    0 points where there is nothing to cut. All are the beginning of one shuffled test part, so that the smallest
    record's points are in every other.
    """
    if len({len(record.points) for record in records.values()}) < 2:
        return dict(records), 0
    common = set.intersection(*(set(record.points["index"]) for record in records.values()))
    cut = {
        kind: replace(record, points=record.points[record.points["index"].isin(common)].reset_index(drop=True))
        for kind, record in records.items()
    }
    return cut, len(common)


def best_attack(records: Sequence[RadiiRecord]) -> pd.Series:
    """The smallest norm that any of the attacks found for each test point, by its index."""
    found = pd.concat([record.points.set_index("index")["upper"] for record in records])
    return found.groupby(level=0).min()


def _edges(records: Mapping[str, RadiiRecord], spec: TableSpec) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Certified radii and those of the best attack."""
    proven = [records[kind.name] for kind in spec.kinds if kind.is_proof and kind.name in records]
    attacks = [records[kind.name] for kind in spec.kinds if kind.is_attack and kind.name in records]
    lower = proven[0].points["lower"].to_numpy() if proven else None
    return lower, best_attack(attacks).to_numpy() if attacks else None


def _of_method(dataset: str, method: str, chosen: Chosen) -> dict[str, RadiiRecord]:
    return {kind: record for (name, of, kind), record in chosen.items() if (name, of) == (dataset, method)}


def _legend_handles(spec: TableSpec, kinds: Sequence[str], printed: bool, opened: bool) -> list[Artist]:
    attacks = [kind for kind in spec.kinds if kind.is_attack and kind.name in kinds]
    handles: list[Artist] = []
    if any(spec.kind(name).is_proof for name in kinds):
        handles.append(Line2D([], [], color=_NEUTRAL, label="certified", **_CERTIFIED))
    if attacks:
        label = "best attack" if len(attacks) > 1 else attacks[0].title
        if handles:
            handles.append(Patch(facecolor=_NEUTRAL, alpha=_PATCH, linewidth=0, label="gap"))
        handles.append(Line2D([], [], color=_NEUTRAL, label=label, **_ATTACKED))
    if _EXACT in kinds:
        handles.append(Line2D([], [], label="exact", **_TRUTH))
        if opened:
            handles.append(Patch(linewidth=0, label="exact, only bounded", **_OPEN))
    if len(attacks) > 1 and _SHOWN_ATTACK in kinds:
        handles.append(Line2D([], [], color=_NEUTRAL, label=spec.kind(_SHOWN_ATTACK).title, **_DASHED))
    if printed:
        for name, marker in _PRINTED.items():
            label = f"paper, {spec.kind(name).paper}"
            handles.append(Line2D([], [], linestyle="none", label=label, **marker_style(marker, _NEUTRAL)))
    return handles
