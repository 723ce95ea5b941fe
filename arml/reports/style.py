"""How the figures look, and how they are saved so that equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from arml.records.files import write_bytes

#: Width in inches of one column and of the full text of a two-column page.
COLUMN_WIDTH, TEXT_WIDTH = 3.4, 7.0

Style = tuple[str, LineStyleType, str]

#: Okabe and Ito's colours, told apart by colour-blind readers too; line style and marker repeat the distinction. In
#: grey NCA is as light as LMNN, and ITML, LFDA and ARML about as dark: of these no two have dashes that look alike.
METHOD_STYLES: dict[str, Style] = {
    "euclidean": ("#000000", (0, (1, 1.3)), "o"),
    "nca": ("#E69F00", (0, (6, 2)), "^"),
    "lmnn": ("#56B4E9", (0, (4, 1.6, 1, 1.6)), "s"),
    "itml": ("#009E73", (0, (7, 1.6, 1, 1.6, 1, 1.6)), "D"),
    "lfda": ("#CC79A7", (0, (2.2, 1.6)), "v"),
    "arml": ("#D55E00", "-", "P"),
}
#: For the user's own metrics, in turn.
OTHER_STYLES: tuple[Style, ...] = (
    ("#0072B2", (0, (10, 2)), "X"),
    ("#7A4FA3", (0, (1, 3)), "h"),
    ("#7A5C00", (0, (4, 1.4, 1, 1.4, 1, 1.4, 1, 1.4)), "<"),
    ("#8B1A4A", (0, (12, 2, 1, 2)), ">"),
    ("#5F6B6D", (0, (3, 3)), "*"),
)
#: Width of a character of a legend in its font size, a little more than the mean.
_CHARACTER = 0.62

# matplotlib types the keys of its settings as one literal per setting, which a dictionary built here cannot satisfy.
_SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "pdf.fonttype": 42,
    "text.usetex": False,
}


def method_styles(methods: Iterable[str]) -> dict[str, Style]:
    """Colour, line style and marker of each method; those that are not the papers' take turns, by their names."""
    others = sorted(set(methods) - set(METHOD_STYLES))
    return METHOD_STYLES | {name: OTHER_STYLES[place % len(OTHER_STYLES)] for place, name in enumerate(others)}


@contextmanager
def paper_style() -> Iterator[None]:
    """Within it, figures are built and saved with the project's settings on top of matplotlib's own defaults.

    A reader's matplotlibrc has no say, so that the same records look the same everywhere.
    """
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of the given size in inches, without pyplot's global state; use within `paper_style`."""
    return Figure(figsize=(width, height), layout="constrained")


def legend_columns(labels: Sequence[str], width: float, handle: float = 2.6, gap: float = 1.2) -> int:
    """As many columns of a legend as fit into ``width`` inches, in rows of about the same length.

    ``handle`` is the room for a line and ``gap`` that between columns, both in font sizes.
    """
    inches = _SETTINGS["legend.fontsize"] / 72
    for wanted in range(len(labels), 1, -1):
        number = -(-len(labels) // -(-len(labels) // wanted))
        # As matplotlib deals entries out to columns.
        columns = np.array_split([len(label) for label in labels], number)
        text = sum(int(column.max()) for column in columns) * _CHARACTER
        if inches * (text + len(columns) * (handle + 0.5) + (len(columns) - 1) * gap + 1) <= width:
            return len(columns)
    return 1


def save(figure: Figure, path: Path) -> list[Path]:
    """Write ``path.pdf`` and ``path.png`` (300 dpi), each whole or not at all, without dates or software versions."""
    written = []
    with paper_style():
        # The layout is the same for both files; solving it once takes a third off the time.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for suffix, canvas, metadata in (
            (".pdf", FigureCanvasPdf, {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}),
            (".png", FigureCanvasAgg, {"Software": None}),
        ):
            buffer = BytesIO()
            canvas(figure)
            figure.savefig(buffer, format=suffix[1:], dpi=300, metadata=metadata)
            written.append(write_bytes(path.with_name(path.name + suffix), buffer.getvalue()))
    return written


def methods_first(methods: Sequence[str]) -> list[str]:
    """Methods in the order they are drawn: as listed, but ARML last, so that it lies on top."""
    return sorted(methods, key=lambda method: method == "arml")
