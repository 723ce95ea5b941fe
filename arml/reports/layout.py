"""The paper's layout of a table of robust errors, and its Markdown; `arml.reports.latex` prints the same for a paper.

Datasets are blocks with their own row of radii, methods are rows, the user's own metrics after the papers' six. A cell
that was not run is an em dash. Where exact radii are only bounded a cell shows the least and the most that the error
can be.

Bold is what is smallest in its column whatever the open radii are: no other cell's least is below its most, in printed
digits. Equal digits are so all bold, as in the paper; two intervals that overlap leave none. Where the methods of a
kind were evaluated on different numbers of points their errors do not compare, and none is bold either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from arml.reports.footnotes import Footnotes
from arml.reports.intervals import DASH
from arml.reports.names import method_label, methods_in_order
from arml.reports.published import DATASET_LABELS
from arml.reports.selection import Kind, TableSpec

ABSENT = "—"
#: What Markdown would read as its own.
_ESCAPES = str.maketrans({name: "\\" + name for name in "|*<`"})


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
    """One printed error, or the absence of one; ``paper`` is None where the paper printed nothing.

    ``least`` and ``most`` are equal where the error is one number, and both None where the cell was not run.
    """

    least: str | None
    most: str | None
    paper: str | None
    best: bool

    def text(self, dash: str) -> str:
        """The number, or the two with ``dash`` between them."""
        return f"{self.most}" if self.least == self.most else f"{self.least}{dash}{self.most}"


def blocks(table: pd.DataFrame, spec: TableSpec) -> list[Block]:
    """The datasets of ``table`` in the table's order, each with all methods of ``spec`` and then its others."""
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


def markdown(table: pd.DataFrame, spec: TableSpec, notes: Footnotes, missing: str = "") -> str:
    """The table as Markdown: one pipe table per dataset and kind; the paper's number stands in parentheses.

    ``missing`` is its last line: what the table lacks.
    """
    marks = Marks(notes)
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
                name = markdown_label(method) + (f" <sup>{letters}</sup>" if letters else "")
                lines.append(pipes([name, *(_markdown_cell(cell) for cell in cells)]))
            lines.append("")
    said = [f"<sup>{letter}</sup> {text}.  " for letter, text in marks.texts()]
    lines += [*said, *([""] if said and missing else []), missing]
    return "\n".join(lines).rstrip() + "\n"


class Marks:
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
        """Each letter given so far, with its remark."""
        return [(_letter(i), text) for i, text in enumerate(self._seen)]


def _letter(index: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return alphabet[index % 26] * (1 + index // 26)


def _introduction(table: pd.DataFrame, spec: TableSpec) -> str:
    text = f"{spec.caption} {bold_rule(spec, table)}"
    if table["paper_error"].notna().any():
        text += " The number the paper prints stands in parentheses."
        renamed = [kind.title for kind in kinds_shown(table, spec) if kind.is_attack and kind.paper]
        if renamed:
            text += f" What the paper calls empirical is the {renamed[0]}."
    return text


def bold_rule(spec: TableSpec, table: pd.DataFrame) -> str:
    """What bold means in a table, and what two numbers in a cell mean where there are any."""
    interval = ""
    if (table["error_least"] < table["error"]).any():
        interval = (
            " Two numbers are the least and the most that the exact error can be where radii are only bounded; bold is "
            "then what is the smallest whatever they are."
        )
    if any(kind.is_attack for kind in spec.kinds):
        return (
            "The smallest error of a column is in bold where all methods were evaluated on equally many points."
            + interval
        )
    return "The best (smallest) error of a column is in bold." + interval


def _part(kind: Kind, rows: pd.DataFrame, radii: Sequence[float], methods: Sequence[str]) -> Part:
    counts = sorted(set(rows["n_test"].tolist()))
    n_test = "" if not counts else f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    shown = methods_in_order(methods, rows["method"])
    return Part(kind, n_test, {method: _cells(rows, method, radii) for method in shown})


def _cells(rows: pd.DataFrame, method: str, radii: Sequence[float]) -> list[Cell]:
    comparable = rows["n_test"].nunique() == 1
    cells = []
    for radius in radii:
        column = rows[rows["radius"] == radius]
        mine, others = column[column["method"] == method], column[column["method"] != method]
        if mine.empty:
            cells.append(Cell(None, None, None, False))
            continue
        [(least, most, paper)] = mine[["error_least", "error", "paper_error"]].itertuples(index=False, name=None)
        printed = f"{most:.3f}"
        best = comparable and all(printed <= f"{other:.3f}" for other in others["error_least"])
        cells.append(Cell(f"{least:.3f}", printed, None if pd.isna(paper) else f"{paper:.3f}", best))
    return cells


def _markdown_cell(cell: Cell) -> str:
    if cell.most is None:
        return ABSENT
    text = f"**{cell.text(DASH)}**" if cell.best else cell.text(DASH)
    return text if cell.paper is None else f"{text} ({cell.paper})"


def markdown_label(method: str) -> str:
    """What readers call a method, with nothing in it that Markdown would take for its own."""
    return method_label(method).translate(_ESCAPES)


def pipes(fields: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(fields) + " |"
