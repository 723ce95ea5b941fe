"""What is known of the robust error at every radius: the band between the certified and the attacked error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from arml.reports.errors import error_curve, robust_error
from arml.reports.figures import marker_style, max_radius, set_axes
from arml.reports.published import METHOD_LABELS
from arml.reports.selection import Chosen, TableSpec
from arml.reports.style import METHOD_STYLES, OTHER_STYLE, TEXT_WIDTH, new_figure, paper_style, save
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
_PRINTED = {"certified": "o", _SHOWN_ATTACK: "D"}
_PATCH = 0.22
#: Entries of the legend in a row, for each number of panels in a row.
_LEGEND_COLUMNS = {1: 2, 2: 3, 3: 6}


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
    cells = {method: _of_method(dataset, method, chosen) for method in spec.methods}
    methods = [method for method in spec.methods if cells[method]]
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure = new_figure(
        TEXT_WIDTH * columns / 3, 0.75 + 1.6 * rows + 0.15 * (_LEGEND_COLUMNS[3] // _LEGEND_COLUMNS[columns] - 1)
    )
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    panels: list[Axes] = list(grid.ravel())
    printed = printed_errors(spec) if has_paper_numbers(spec) else None
    mine = None if printed is None else printed[printed["dataset"] == dataset]
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
    kinds = [kind.name for kind in spec.kinds if any(kind.name in of for of in cells.values())]
    handles = _legend_handles(spec, kinds, mine is not None and not mine.empty)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=_legend_columns(columns, len(handles)), frameon=False,
        handlelength=2.2, handletextpad=0.5, columnspacing=1.2,
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

    ``records`` maps kinds to records. The band and its edges are drawn from the points that were certified and
    attacked; ``printed`` are the paper's errors on the dataset.
    """
    color = METHOD_STYLES.get(method, OTHER_STYLE)[0]
    certified, attacked = _edges(records, spec)
    if certified is not None and attacked is not None:
        epsilon, _ = error_curve(np.concatenate([certified, attacked]), end)
        low, high = robust_error(attacked, epsilon), robust_error(certified, epsilon)
        panel.fill_between(epsilon, low, high, step="post", color=color, alpha=_PATCH, linewidth=0)
    for radii, look in ((certified, _CERTIFIED), (attacked, _ATTACKED)):
        if radii is not None:
            panel.step(*error_curve(radii, end), where="post", color=color, **look)
    if _EXACT in records and len(records) > 1:
        panel.step(*error_curve(records[_EXACT].counted, end), where="post", **_TRUTH)
    attacks = [kind.name for kind in spec.kinds if kind.is_attack and kind.name in records]
    if _SHOWN_ATTACK in attacks and len(attacks) > 1:
        panel.step(*error_curve(records[_SHOWN_ATTACK].counted, end), where="post", color=color, **_DASHED)
    if printed is not None:
        for kind, marker in _PRINTED.items():
            paper = printed[(printed["method"] == method) & (printed["kind"] == kind)]
            panel.plot(
                paper["radius"], paper["paper_error"], linestyle="none", clip_on=False, zorder=3,
                **marker_style(marker, color),
            )  # fmt: skip
    drawn = max(len(radii) for radii in (certified, attacked) if radii is not None)
    panel.set_title(METHOD_LABELS.get(method, method) + _fewer_points(records, drawn))
    set_axes(panel, end, [] if printed is None else sorted(set(printed["radius"])))


def best_attack(records: Sequence[RadiiRecord]) -> pd.Series:
    """The smallest norm that any of the attacks found for each test point, by its index."""
    found = pd.concat([record.points.set_index("index")["upper"] for record in records])
    return found.groupby(level=0).min()


def _edges(records: Mapping[str, RadiiRecord], spec: TableSpec) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Certified radii and those of the best attack; of the same points where there are both."""
    proven = [records[kind.name] for kind in spec.kinds if not kind.is_attack and kind.name in records]
    attacks = [records[kind.name] for kind in spec.kinds if kind.is_attack and kind.name in records]
    lower = proven[0].points.set_index("index")["lower"] if proven else None
    upper = best_attack(attacks) if attacks else None
    if lower is not None and upper is not None:
        common = lower.index.intersection(upper.index)
        if len(common):
            lower, upper = lower.loc[common], upper.loc[common]
    return (None if lower is None else lower.to_numpy()), (None if upper is None else upper.to_numpy())


def _of_method(dataset: str, method: str, chosen: Chosen) -> dict[str, RadiiRecord]:
    return {kind: record for (name, of, kind), record in chosen.items() if (name, of) == (dataset, method)}


def _fewer_points(records: Mapping[str, RadiiRecord], drawn: int) -> str:
    counts = {kind: len(record.points) for kind, record in records.items()}
    if drawn < max(counts.values()):
        return f" ({drawn:,} points)"
    fewer = [kind for kind in (_EXACT, _SHOWN_ATTACK) if counts.get(kind, drawn) < drawn]
    if not fewer:
        return ""
    if len({counts[kind] for kind in fewer}) == 1:
        return f" ({', '.join(fewer)}: {counts[fewer[0]]:,} points)"
    return f" ({', '.join(f'{kind}: {counts[kind]:,}' for kind in fewer)} points)"


def _legend_columns(columns: int, entries: int) -> int:
    """One row of entries, or two of about the same length."""
    return _LEGEND_COLUMNS[columns] if columns < 3 or entries <= _LEGEND_COLUMNS[3] else -(-entries // 2)


def _legend_handles(spec: TableSpec, kinds: Sequence[str], printed: bool) -> list[Artist]:
    attacks = [kind for kind in spec.kinds if kind.is_attack and kind.name in kinds]
    handles: list[Artist] = []
    if any(not spec.kind(name).is_attack for name in kinds):
        handles.append(Line2D([], [], color=_NEUTRAL, label="certified", **_CERTIFIED))
    if attacks:
        label = "best attack" if len(attacks) > 1 else attacks[0].title
        if handles:
            handles.append(Patch(facecolor=_NEUTRAL, alpha=_PATCH, linewidth=0, label="gap"))
        handles.append(Line2D([], [], color=_NEUTRAL, label=label, **_ATTACKED))
    if _EXACT in kinds and len(kinds) > 1:
        handles.append(Line2D([], [], label="exact", **_TRUTH))
    if len(attacks) > 1 and _SHOWN_ATTACK in kinds:
        handles.append(Line2D([], [], color=_NEUTRAL, label=spec.kind(_SHOWN_ATTACK).title, **_DASHED))
    if printed:
        for name, marker in _PRINTED.items():
            label = f"paper, {spec.kind(name).paper}"
            handles.append(Line2D([], [], linestyle="none", label=label, **marker_style(marker, _NEUTRAL)))
    return handles
