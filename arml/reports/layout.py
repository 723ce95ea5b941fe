"""The paper's layout of a table of robust errors, as Markdown and as LaTeX (booktabs).

Datasets are blocks with their own row of radii, methods are rows, the smallest error of a column is bold; equal
printed digits are all bold, as in the paper. Where the methods of a kind were evaluated on different numbers of points
their errors do not compare, so none of them is bold. A cell that was not run is an em dash. Where a table has several
kinds of errors they stand side by side in LaTeX, as in the paper, and below each other in Markdown, which has no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from arml.reports.footnotes import Footnotes
from arml.reports.published import DATASET_LABELS, METHOD_LABELS
from arml.reports.selection import Kind, TableSpec

ABSENT = "—"
_LATEX_ESCAPES = str.maketrans({"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$"})


@dataclass(frozen=True)
class Block:
    """One dataset of a table, ready to print: its radii, and a part for each kind of error."""

    dataset: str
    radii: tuple[float, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Part:
    """One kind of error on one dataset: ``rows`` maps a method to its cells, one per radius."""

    kind: Kind
    n_test: str
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
        by_kind = ((kind, rows[rows["kind"] == kind.name]) for kind in kinds_shown(table, spec))
        parts = tuple(_part(kind, mine, radii, spec.methods) for kind, mine in by_kind)
        result.append(Block(dataset, radii, parts))
    return result


def kinds_shown(table: pd.DataFrame, spec: TableSpec) -> list[Kind]:
    """The kinds of which ``table`` has any cell, in the table's order."""
    return [kind for kind in spec.kinds if (table["kind"] == kind.name).any()]


def markdown(table: pd.DataFrame, spec: TableSpec, notes: Footnotes) -> str:
    """The table as Markdown: one pipe table per dataset and kind; the paper's number stands in parentheses."""
    marks = _Marks(notes)
    lines = [_introduction(table, spec), ""]
    for block in blocks(table, spec):
        label = DATASET_LABELS.get(block.dataset, block.dataset)
        head = ["ℓ₂ radius", *(f"{radius:.3f}" for radius in block.radii)]
        several = len(spec.kinds) > 1
        lines += [f"### {label}" if several else f"### {label} ({block.parts[0].n_test} test points)", ""]
        for part in block.parts:
            if not part.n_test:
                continue
            lines += [f"**{part.kind.title}**, {part.n_test} test points", ""] if several else []
            lines += [pipes(head), pipes([":--", *("--:" for _ in block.radii)])]
            for method, cells in part.rows.items():
                letters = marks.letters((block.dataset, method, part.kind.name))
                name = METHOD_LABELS.get(method, method) + (f" <sup>{letters}</sup>" if letters else "")
                lines.append(pipes([name, *(_markdown_cell(cell) for cell in cells)]))
            lines.append("")
    lines += [f"<sup>{letter}</sup> {text}.  " for letter, text in marks.texts()]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: pd.DataFrame, spec: TableSpec, notes: Footnotes) -> str:
    r"""The table as a LaTeX environment to be ``\input``; its first line names the packages it needs."""
    marks = _Marks(notes)
    printed = blocks(table, spec)
    kinds = kinds_shown(table, spec)
    width = max((len(block.radii) for block in printed), default=0)
    wide = len(spec.kinds) > 1
    caption = rf"\caption{{{spec.caption.translate(_LATEX_ESCAPES)} {_bold_rule(spec)}}}"
    body = [rf"\begin{{tabular}}{{ll{'c' * width * max(1, len(kinds))}}}", r"\toprule"]
    body += _latex_kinds(kinds, width) if wide else []
    for number, block in enumerate(printed):
        body += [r"\midrule"] if number else []
        body += _latex_block(block, spec.methods, marks, width)
    body += [r"\bottomrule", r"\end{tabular}" + ("}" if wide else "")]
    if marks.texts():
        notes_text = " ".join(
            rf"\textsuperscript{{{letter}}}~{text.translate(_LATEX_ESCAPES)}." for letter, text in marks.texts()
        )
        body += [r"\par\medskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes_text}}}"]
    environment = "table*" if wide else "table"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}" + (r" and \usepackage{graphicx}" if wide else ""),
            rf"\begin{{{environment}}}[t]",
            r"\centering",
            caption,
            rf"\label{{tab:{spec.name}}}",
            *([r"\setlength{\tabcolsep}{3pt}", r"\resizebox{\textwidth}{!}{%"] if wide else []),
            *body,
            rf"\end{{{environment}}}",
            "",
        ]
    )


def _latex_kinds(kinds: Sequence[Kind], width: int) -> list[str]:
    heads = [rf"\multicolumn{{{width}}}{{c}}{{{kind.title}}}" for kind in kinds]
    rules = [rf"\cmidrule(lr){{{3 + i * width}-{2 + (i + 1) * width}}}" for i in range(len(kinds))]
    return [" & ".join(["", "", *heads]) + r" \\", " ".join(rules)]


def _latex_block(block: Block, methods: Sequence[str], marks: _Marks, width: int) -> list[str]:
    blank = [""] * (width - len(block.radii))
    radii = [*(f"{radius:.3f}" for radius in block.radii), *blank] * len(block.parts)
    lines = [_latex_row(["", r"$\ell_2$-radius", *radii]), r"\midrule"]
    label = DATASET_LABELS.get(block.dataset, block.dataset).translate(_LATEX_ESCAPES)
    for method in methods:
        letters = marks.letters(*((block.dataset, method, part.kind.name) for part in block.parts))
        name = METHOD_LABELS.get(method, method).translate(_LATEX_ESCAPES)
        name += rf"\textsuperscript{{{letters}}}" if letters else ""
        cells = [text for part in block.parts for text in (*map(_latex_cell, part.rows[method]), *blank)]
        lines.append(_latex_row([label, name, *cells]))
        label = ""
    return lines


class _Marks:
    """Letters for footnotes, given in order of appearance; equal texts share a letter."""

    def __init__(self, notes: Footnotes) -> None:
        self._notes = notes
        self._seen: list[str] = []

    def letters(self, *cells: tuple[str, str, str]) -> str:
        """The letters of all remarks on the given (dataset, method, kind), each once."""
        found = []
        for text in dict.fromkeys(text for cell in cells for text in self._notes.get(cell, ())):
            if text not in self._seen:
                self._seen.append(text)
            found.append(_letter(self._seen.index(text)))
        return ",".join(found)

    def texts(self) -> list[tuple[str, str]]:
        return [(_letter(i), text) for i, text in enumerate(self._seen)]


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index % 26] * (1 + index // 26)


def _introduction(table: pd.DataFrame, spec: TableSpec) -> str:
    text = f"{spec.caption} {_bold_rule(spec)}"
    if table["paper_error"].notna().any():
        text += " The number the paper prints stands in parentheses."
        renamed = [kind.title for kind in kinds_shown(table, spec) if kind.is_attack and kind.paper]
        if renamed:
            text += f" What the paper calls empirical is the {renamed[0]}."
    return text


def _bold_rule(spec: TableSpec) -> str:
    if any(kind.is_attack for kind in spec.kinds):
        return "The smallest error of a column is in bold where all methods were evaluated on equally many points."
    return "The best (smallest) error of a column is in bold."


def _part(kind: Kind, rows: pd.DataFrame, radii: Sequence[float], methods: Sequence[str]) -> Part:
    counts = sorted(set(rows["n_test"].tolist()))
    n_test = "" if not counts else f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return Part(kind, n_test, {method: _cells(rows, method, radii) for method in methods})


def _cells(rows: pd.DataFrame, method: str, radii: Sequence[float]) -> list[Cell]:
    mine = rows[rows["method"] == method]
    errors: dict[float, float] = dict(zip(mine["radius"], mine["error"], strict=True))
    printed: dict[float, float] = dict(zip(mine["radius"], mine["paper_error"], strict=True))
    comparable = rows["n_test"].nunique() == 1
    cells = []
    for radius in radii:
        if radius not in errors:
            cells.append(Cell(None, None, False))
            continue
        error, paper = f"{errors[radius]:.3f}", printed[radius]
        best = min(f"{value:.3f}" for value in rows.loc[rows["radius"] == radius, "error"])
        cells.append(Cell(error, None if pd.isna(paper) else f"{paper:.3f}", comparable and error == best))
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


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"


def pipes(fields: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(fields) + " |"
