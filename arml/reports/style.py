"""How the figures look, and how they are saved so that equal records give equal bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType

from arml.records.files import write_bytes

#: Width in inches of one column and of the full text of a two-column page.
COLUMN_WIDTH, TEXT_WIDTH = 3.4, 7.0

#: Okabe and Ito's colours, told apart by colour-blind readers too; line style and marker repeat the distinction.
METHOD_STYLES: dict[str, tuple[str, LineStyleType, str]] = {
    "euclidean": ("#000000", (0, (1, 1.2)), "o"),
    "nca": ("#E69F00", (0, (5, 1.5)), "^"),
    "lmnn": ("#56B4E9", (0, (3, 1, 1, 1)), "s"),
    "itml": ("#009E73", (0, (5, 1, 1, 1, 1, 1)), "D"),
    "lfda": ("#CC79A7", (0, (2, 1)), "v"),
    "arml": ("#D55E00", "-", "P"),
}
OTHER_STYLE: tuple[str, LineStyleType, str] = ("#0072B2", (0, (8, 2)), "X")

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
