import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from arml.records.files import write_text
from arml.records.reader import read_radii_records
from arml.reports.claims import claims_csv, load_reasons, make_claims
from arml.reports.selection import TABLE1, choose_records
from arml.reports.tables import build_table, table_csv
from tests.records.synthetic import write_paper_like

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "table1.ipynb"


@pytest.mark.slow
@pytest.mark.parametrize("with_records", [True, False])
def test_the_notebook_runs_on_records_and_on_committed_tables(runs, tmp_path, monkeypatch, with_records):
    write_paper_like(runs, ["usps"], methods=("euclidean", "arml"), shift=0.002)
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail), TABLE1)
    table = build_table(chosen, TABLE1)
    write_text(runs.parent / "tables" / "table1.csv", table_csv(table))
    write_text(runs.parent / "claims" / "table1.csv", claims_csv(make_claims(table, load_reasons("table1"))))
    if not with_records:
        runs.rename(tmp_path / "elsewhere")
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path / "notebooks")}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs)
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert "12 cells of 1 datasets" in text
    assert ("make reproduce-table1" in text) is not with_records
    assert len(pictures) == (1 if with_records else 0)


def test_the_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
