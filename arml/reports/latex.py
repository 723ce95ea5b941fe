"""A table of robust errors for a paper, as LaTeX (booktabs).

A table of one kind of error is one float, datasets below each other as in the paper. Several kinds have no room beside
each other, so each dataset is a float of its own with the kinds as groups of rows. Either fits a page of 6.5 by 9
inches without being scaled.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from arml.reports.footnotes import Footnotes
from arml.reports.layout import Block, Cell, Marks, Part, blocks, bold_rule
from arml.reports.names import method_label
from arml.reports.published import DATASET_LABELS
from arml.reports.selection import TableSpec

_ESCAPES = str.maketrans({
    "%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "–": "--", "—": "---",
})  # fmt: skip
_ABSENT = "---"


def latex(table: pd.DataFrame, spec: TableSpec, notes: Footnotes) -> str:
    r"""The table as LaTeX floats to be ``\input``; its first line names the package it needs."""
    printed = blocks(table, spec)
    caption = f"{spec.caption} {bold_rule(spec, table)}".translate(_ESCAPES)
    lines = [r"% needs \usepackage{booktabs}"]
    if len(spec.kinds) == 1:
        lines += _one_float(printed, caption, spec, notes)
    else:
        for number, block in enumerate(printed):
            mine = caption if number == 0 else rf"As Table~\ref{{{_label(spec, printed[0])}}}."
            lines += _dataset_float(block, mine, spec, notes)
    return "\n".join(lines) + "\n"


def _one_float(printed: Sequence[Block], caption: str, spec: TableSpec, notes: Footnotes) -> list[str]:
    marks = Marks(notes)
    width = max((len(block.radii) for block in printed), default=0)
    body = []
    for number, block in enumerate(printed):
        body += [r"\midrule"] if number else []
        blank = [""] * (width - len(block.radii))
        body += [_row(["", *_radii(block), *blank]), r"\midrule"]
        label = _escaped(DATASET_LABELS.get(block.dataset, block.dataset))
        for row in _rows(block, block.parts[0], marks):
            body.append(_row([label, *row, *blank]))
            label = ""
    return _float(body, f"ll{'c' * width}", caption, f"tab:{spec.name}", marks)


def _dataset_float(block: Block, caption: str, spec: TableSpec, notes: Footnotes) -> list[str]:
    marks = Marks(notes)
    body = [_row(_radii(block))]
    for part in block.parts:
        if not part.n_test:
            continue
        title = _escaped(f"{part.kind.title}, {part.n_test} test points")
        body += [r"\midrule", _row([rf"\multicolumn{{{1 + len(block.radii)}}}{{l}}{{\emph{{{title}}}}}"])]
        body += [_row(row) for row in _rows(block, part, marks)]
    name = _escaped(DATASET_LABELS.get(block.dataset, block.dataset))
    return _float(body, f"l{'c' * len(block.radii)}", f"{name}. {caption}", _label(spec, block), marks)


def _float(body: Sequence[str], columns: str, caption: str, label: str, marks: Marks) -> list[str]:
    texts = " ".join(rf"\textsuperscript{{{letter}}}~{_escaped(text)}." for letter, text in marks.texts())
    return [
        r"\begin{table}[tp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        r"\footnotesize",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", rf"\parbox{{\linewidth}}{{\scriptsize {texts}}}"] if texts else []),
        r"\end{table}",
    ]


def _radii(block: Block) -> list[str]:
    return [r"$\ell_2$-radius", *(f"{radius:.3f}" for radius in block.radii)]


def _rows(block: Block, part: Part, marks: Marks) -> list[list[str]]:
    rows = []
    for method, cells in part.rows.items():
        letters = marks.letters((block.dataset, method, part.kind.name))
        mark = rf"\textsuperscript{{{letters}}}" if letters else ""
        rows.append([_escaped(method_label(method)) + mark, *map(_cell, cells)])
    return rows


def _cell(cell: Cell) -> str:
    if cell.most is None:
        return _ABSENT
    text = cell.text("--")
    return rf"\textbf{{{text}}}" if cell.best else text


def _label(spec: TableSpec, block: Block) -> str:
    return f"tab:{spec.name}:{block.dataset}"


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES)


def _row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"
