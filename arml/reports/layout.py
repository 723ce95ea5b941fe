"""The paper's layout of a table of robust errors, as Markdown and as LaTeX (booktabs).

Datasets are blocks with their own row of radii, methods are rows, the smallest error of a column is bold; equal
printed digits are all bold, as in the paper. A cell that was not run is an em dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from arml.reports.published import DATASET_LABELS, METHOD_LABELS
from arml.reports.selection import TableSpec

Footnotes = Mapping[tuple[str, str], Sequence[str]]

ABSENT = "—"
_LATEX_ESCAPES = str.maketrans({"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$"})


@dataclass(frozen=True)
class Block:
    """One dataset of a table, ready to print: ``rows`` maps a method to its cells, one per radius."""

    dataset: str
    n_test: str
    radii: tuple[float, ...]
    rows: dict[str, list[Cell]]


@dataclass(frozen=True)
class Cell:
    """One printed number, or the absence of one (``error`` is None); ``paper`` is None where nothing was printed."""

    error: str | None
    paper: str | None
    best: bool


def blocks(table: pd.DataFrame, spec: TableSpec) -> list[Block]:
    """The datasets of ``table`` in the table's order, each with every method of ``spec``."""
    result = []
    for dataset in spec.datasets:
        rows = table[table["dataset"] == dataset]
        if rows.empty:
            continue
        radii = tuple(sorted(set(rows["radius"].tolist())))
        counts = sorted(set(rows["n_test"].tolist()))
        n_test = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        result.append(Block(dataset, n_test, radii, {m: _cells(rows, m, radii) for m in spec.methods}))
    return result


def markdown(table: pd.DataFrame, spec: TableSpec, notes: Footnotes) -> str:
    """The table as Markdown: one pipe table per dataset; the paper's number stands in parentheses beside ours."""
    marks = _Marks(notes)
    compared = bool(table["paper_error"].notna().any())
    text = f"{_caption(spec)} The best (smallest) error of a column is in bold."
    if compared:
        text += " The number the paper prints stands in parentheses."
    lines = [text, ""]
    for block in blocks(table, spec):
        label = DATASET_LABELS.get(block.dataset, block.dataset)
        head = ["ℓ₂ radius", *(f"{radius:.3f}" for radius in block.radii)]
        lines += [f"### {label} ({block.n_test} test points)", "", pipes(head)]
        lines.append(pipes([":--", *("--:" for _ in block.radii)]))
        for method, cells in block.rows.items():
            letters = marks.letters(block.dataset, method)
            name = METHOD_LABELS.get(method, method) + (f" <sup>{letters}</sup>" if letters else "")
            lines.append(pipes([name, *(_markdown_cell(cell) for cell in cells)]))
        lines.append("")
    lines += [f"<sup>{letter}</sup> {text}.  " for letter, text in marks.texts()]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: pd.DataFrame, spec: TableSpec, notes: Footnotes) -> str:
    r"""The table as a LaTeX ``table`` environment to be ``\input``; it needs ``\usepackage{booktabs}`` only."""
    marks = _Marks(notes)
    parts = blocks(table, spec)
    width = max((len(block.radii) for block in parts), default=0)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_caption(spec).translate(_LATEX_ESCAPES)} The best (smallest) error of a column is in bold.}}",
        rf"\label{{tab:{spec.name}}}",
        rf"\begin{{tabular}}{{ll{'c' * width}}}",
        r"\toprule",
    ]
    for number, block in enumerate(parts):
        lines += [r"\midrule"] if number else []
        lines.append(_latex_row("", r"$\ell_2$-radius", [f"{radius:.3f}" for radius in block.radii], width))
        lines.append(r"\midrule")
        label = DATASET_LABELS.get(block.dataset, block.dataset).translate(_LATEX_ESCAPES)
        for row, (method, cells) in enumerate(block.rows.items()):
            letters = marks.letters(block.dataset, method)
            name = METHOD_LABELS.get(method, method).translate(_LATEX_ESCAPES)
            name += rf"\textsuperscript{{{letters}}}" if letters else ""
            lines.append(_latex_row(label if row == 0 else "", name, [_latex_cell(cell) for cell in cells], width))
    lines += [r"\bottomrule", r"\end{tabular}"]
    if marks.texts():
        notes_text = " ".join(
            rf"\textsuperscript{{{letter}}}~{text.translate(_LATEX_ESCAPES)}." for letter, text in marks.texts()
        )
        lines += [r"\par\medskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes_text}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


class _Marks:
    """Letters for footnotes, given in order of appearance; equal texts share a letter."""

    def __init__(self, notes: Footnotes) -> None:
        self._notes = notes
        self._seen: list[str] = []

    def letters(self, dataset: str, method: str) -> str:
        found = []
        for text in self._notes.get((dataset, method), ()):
            if text not in self._seen:
                self._seen.append(text)
            found.append(_letter(self._seen.index(text)))
        return ",".join(found)

    def texts(self) -> list[tuple[str, str]]:
        return [(_letter(i), text) for i, text in enumerate(self._seen)]


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index % 26] * (1 + index // 26)


def _caption(spec: TableSpec) -> str:
    what = {"exact": "Exact robust", "certified": "Certified robust", "empirical": "Empirical robust"}[spec.kind]
    return (
        f"{what} errors of Mahalanobis {spec.k}-NN over the radius of the perturbation; "
        "at radius 0 they are clean errors in which a tie is an error."
    )


def _cells(rows: pd.DataFrame, method: str, radii: Sequence[float]) -> list[Cell]:
    mine = rows[rows["method"] == method]
    errors: dict[float, float] = dict(zip(mine["radius"], mine["error"], strict=True))
    printed: dict[float, float] = dict(zip(mine["radius"], mine["paper_error"], strict=True))
    cells = []
    for radius in radii:
        if radius not in errors:
            cells.append(Cell(None, None, False))
            continue
        error, paper = f"{errors[radius]:.3f}", printed[radius]
        best = min(f"{value:.3f}" for value in rows.loc[rows["radius"] == radius, "error"])
        cells.append(Cell(error, None if pd.isna(paper) else f"{paper:.3f}", error == best))
    return cells


def _markdown_cell(cell: Cell) -> str:
    if cell.error is None:
        return ABSENT
    text = f"**{cell.error}**" if cell.best else cell.error
    return text if cell.paper is None else f"{text} ({cell.paper})"


def _latex_cell(cell: Cell) -> str:
    if cell.error is None:
        return "---"
    return rf"\textbf{{{cell.error}}}" if cell.best else cell.error


def _latex_row(label: str, name: str, cells: list[str], width: int) -> str:
    return " & ".join([label, name, *cells, *("" for _ in range(width - len(cells)))]) + r" \\"


def pipes(fields: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(fields) + " |"
