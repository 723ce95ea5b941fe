"""Figure 1 of the paper: decision boundaries of 1-NN on the toy points, one panel per metric."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arml.records.reader import BoundaryRecord
from arml.reports.published import METHOD_LABELS
from arml.reports.selection import DisagreementError
from arml.reports.style import TEXT_WIDTH, new_figure, paper_style, save

# As in the paper: the larger class is orange triangles, the other one blue squares.
_REGIONS = ("#FBE3C0", "#CFE3F3")
_POINTS = (("#E07B00", "^"), ("#1F5FA8", "s"))


def write_figure1(records: Sequence[BoundaryRecord], folder: Path) -> list[Path]:
    """Write ``figure1`` (PDF and PNG) from the finest record of each method; returns the files written.

    Raises
    ------
    ValueError
        If there are no records.
    DisagreementError
        If two that are equally fine and of the same version differ.
    """
    with paper_style():
        figure = boundaries_figure({method: _finest(method, records) for method in {r.method for r in records}})
    return save(figure, folder / "figure1")


def _finest(method: str, records: Sequence[BoundaryRecord]) -> BoundaryRecord:
    mine = sorted((record for record in records if record.method == method), key=lambda record: record.folder.name)
    sizes = [(not record.outdated, record.prediction.size) for record in mine]
    best = [record for record, size in zip(mine, sizes, strict=True) if size == max(sizes)]
    for other in best[1:]:
        if not all(np.array_equal(getattr(best[0], name), getattr(other, name)) for name in ("xx", "yy", "prediction")):
            raise DisagreementError(
                f"{best[0].folder} and {other.folder} are grids of {method} that are equally fine and differ; "
                "remove the one that Figure 1 shall not show"
            )
    return best[0]


def boundaries_figure(records: dict[str, BoundaryRecord]) -> Figure:
    """Panels of the methods that have a record, in the paper's order, three to a row, all with the same limits."""
    methods = [method for method in METHOD_LABELS if method in records]
    if not methods:
        raise ValueError("Figure 1 needs at least one record of a decision boundary")
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    limits = _limits([records[method] for method in methods])
    (left, right), (bottom, top) = limits
    shape = (top - bottom) / (right - left)
    # Square panels are smaller than flat ones, so that neither fills a page.
    width = TEXT_WIDTH / 3 * min(1.0, (0.5 / shape) ** 0.5)
    figure = new_figure(width * columns, (width * shape + 0.22) * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.ravel()[len(methods) :]:
        panel.remove()
    for panel, method in zip(grid.ravel(), methods, strict=False):
        draw_boundary(panel, records[method])
        panel.set_xlim(*limits[0])
        panel.set_ylim(*limits[1])
        panel.set_title(METHOD_LABELS[method])
    return figure


def draw_boundary(panel: Axes, record: BoundaryRecord) -> None:
    """Draw the two regions, the line between them and the training points into ``panel``."""
    labels, counts = np.unique(record.y_train, return_counts=True)
    first = labels[np.lexsort((labels, -counts))[0]]
    second = (record.prediction != first).astype(np.float64)
    panel.contourf(record.xx, record.yy, second, levels=[-0.5, 0.5, 1.5], colors=list(_REGIONS))
    if 0 < second.mean() < 1:
        panel.contour(record.xx, record.yy, second, levels=[0.5], colors="0.25", linewidths=0.8)
    for is_second, (color, marker) in zip((False, True), _POINTS, strict=True):
        points = record.X_train[(record.y_train != first) == is_second]
        panel.plot(
            points[:, 0], points[:, 1], linestyle="none", marker=marker, color=color, markersize=6.5,
            markeredgecolor="white", markeredgewidth=0.6, zorder=3,
        )  # fmt: skip
    panel.set_xticks([])
    panel.set_yticks([])
    # One scale for both axes: a Euclidean boundary is seen to stand upright between its points.
    panel.set_aspect("equal")
    for side in ("top", "right"):
        panel.spines[side].set_visible(True)


def _limits(records: Sequence[BoundaryRecord]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The region that every record's grid covers."""
    x = max(float(r.xx.min()) for r in records), min(float(r.xx.max()) for r in records)
    y = max(float(r.yy.min()) for r in records), min(float(r.yy.max()) for r in records)
    return x, y
