"""Whether the LaTeX tables fit a page: by counting, and by compiling where there is pdflatex."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from arml.records.reader import read_radii_records
from arml.reports.footnotes import footnotes
from arml.reports.latex import latex
from arml.reports.selection import TABLE1, TABLE2, choose_records
from arml.reports.tables import build_table
from tests.records.synthetic import METHODS, write_kind, write_paper_like, write_radii, write_table2

# Points of TeX: a page of 6.5 by 9 inches; cmr8 sets a digit in 4.25, cmbx8 in 4.9, on lines 9.5 apart.
WIDTH, HEIGHT = 6.5 * 72.27, 9 * 72.27
CHARACTER, BOLD, LINE = 4.3, 4.9, 9.5


@pytest.fixture
def tables(runs):
    """Both tables with every dataset and kind, intervals in all exact cells and footnotes on all rows."""
    n, rng = 1000, np.random.default_rng(0)
    write_table2(runs, list(TABLE2.datasets), kinds=("certified", "boundary", "local_search"), n_boundary=300)
    report = {"n_fit_samples": 5000, "converged": False, "n_iter": 999}
    for dataset in TABLE1.datasets:
        write_paper_like(runs, [dataset], methods=("euclidean",))
        for method in METHODS:
            lower = np.sort(rng.uniform(0.001, 0.4, n))
            given = {"upper": lower + 2, "status": ["time_limit"] * n, "fit_report": report}
            if method != "euclidean":
                write_radii(runs, dataset, method, lower, **given)
    chosen1 = choose_records(read_radii_records(runs, pytest.fail), TABLE1)[0]
    for method in METHODS:
        write_kind(runs, "usps", method, "hopskipjump", np.ones(100))
        write_kind(runs, "usps", method, "exact", np.full(100, 0.01), upper=np.full(100, 2.2), status=["bounded"] * 100)
    chosen2 = choose_records(read_radii_records(runs, pytest.fail), TABLE2)[0]
    return {
        spec.name: latex(build_table(chosen, spec), spec, footnotes(chosen, spec))
        for spec, chosen in ((TABLE1, chosen1), (TABLE2, chosen2))
    }


def plain(cell):
    """What is printed of a cell, without what is set small or not at all."""
    return re.sub(r"\\textsuperscript\{[^}]*\}|\\[a-z_]+\{?|[{}$]", "", cell).replace("--", "-")


def width(tabular):
    rows = [line.removesuffix(r" \\").split(" & ") for line in tabular if line.endswith(r"\\")]
    rows = [row for row in rows if not row[0].startswith(r"\multicolumn")]
    columns = []
    for cells in zip(*rows, strict=True):
        marks = max((len("".join(re.findall(r"superscript\{([^}]*)\}", cell))) for cell in cells), default=0)
        sizes = [len(plain(cell)) * (BOLD if "textbf" in cell else CHARACTER) for cell in cells]
        columns.append(max(sizes) + marks * CHARACTER * 0.75)
    return sum(columns) + 2 * 3 * len(columns)


def height(float_):
    """Rows, rules, and what is set in lines of the whole width: caption and footnotes."""
    lines = float_.splitlines()
    rows = sum(line.endswith(r"\\") for line in lines)
    rules = sum(line in (r"\midrule", r"\toprule", r"\bottomrule") for line in lines)
    texts = [line for line in lines if line.startswith((r"\caption", r"\parbox"))]
    set_ = sum(-(-len(plain(text)) * 4.6 // WIDTH) for text in texts)
    return rows * LINE + rules * 6 + set_ * 12 + 30


@pytest.mark.parametrize("name", ["table1", "table2"])
def test_every_float_fits_a_page(tables, name):
    floats = tables[name].split(r"\end{table}")[:-1]
    assert len(floats) == (1 if name == "table1" else 6)
    for float_ in floats:
        start, end = float_.index(r"\toprule"), float_.index(r"\bottomrule")
        assert width(float_[start:end].splitlines()) < WIDTH
        assert height(float_) < HEIGHT


def test_names_of_files_are_set_as_they_are(runs):
    source = {"source": r"a_b{c}$d$^~%&#<e>.npz"}
    write_radii(runs, "usps", "from_file", np.ones(1000), fit_report=source)
    text = latex(build_table(choose_records(read_radii_records(runs, pytest.fail), TABLE1)[0], TABLE1), TABLE1, {})
    name = r"a\_b\{c\}\$d\$\textasciicircum{}\textasciitilde{}\%\&\#\textless{}e\textgreater{}"
    assert f" & {name} & " in text


@pytest.mark.slow
def test_they_compile_and_nothing_is_too_large(tables, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex")
    for name, text in tables.items():
        (tmp_path / f"{name}.tex").write_text(text)
    page = r"\usepackage[letterpaper,textwidth=6.5in,textheight=9in]{geometry}\usepackage{booktabs}"
    inputs = "".join(rf"\input{{{name}}}" for name in tables)
    document = rf"\documentclass{{article}}{page}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # the second time references are known
        made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stdout[-3000:]
    log = (tmp_path / "paper.log").read_text(errors="replace")
    assert not re.findall(r"Overfull \\hbox.*|.*Float too large.*|.*undefined.*", log)
