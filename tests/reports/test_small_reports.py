"""Edges of what reports take and say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arml.radii import SandwichError
from arml.records.files import parse_csv, write_bytes
from arml.records.format import DamagedRecordError
from arml.records.integrity import outdated
from arml.records.reader import read_radii_records
from arml.reports import claims
from arml.reports.check import compare_claims
from arml.reports.claims import load_reasons, make_claims
from arml.reports.earlier import REMARK, cells_without_records, with_earlier
from arml.reports.footnotes import footnotes
from arml.reports.latex import latex
from arml.reports.published import dataset_order, method_order
from arml.reports.sandwich import check_sandwich
from arml.reports.selection import DEMO, EXACT, TABLE1, TABLE2, choose_records
from arml.reports.tables import COLUMNS, build_table, summary
from arml.versions import VERSIONS, metric_versions, record_versions
from tests.records.synthetic import write_kind, write_radii


def key(**changes):
    made = {
        "versions": dict(record_versions("arml", ["certify.one_nn"])), "method": {"name": "arml"},
        "evaluation": {"name": "exact_1nn"},
    }  # fmt: skip
    return made | changes


def test_a_key_of_the_versions_at_hand_is_not_outdated():
    assert outdated(key()) == ""


@pytest.mark.parametrize("versions", [None, [1], {}])
def test_a_key_without_versions_is_refused(versions):
    with pytest.raises(DamagedRecordError, match="names no versions"):
        outdated(key(versions=versions))


def test_versions_that_differ_are_named_with_both():
    versions = dict(record_versions("arml", ["certify.one_nn"]))
    for name, now in versions.items():
        assert outdated(key(versions=versions | {name: now - 1})) == f"{name} {now - 1}, now {now}"
        # A number that only looks the same.
        assert name in outdated(key(versions=versions | {name: float(now)}))
    for name, now in metric_versions("arml").items():
        left = {other: value for other, value in versions.items() if other != name}
        assert outdated(key(versions=left)) == f"{name} none, now {now}"
    assert outdated(key(versions=versions | {"more": 1})) == "more 1, now none"
    assert outdated(key(versions=versions | {"more": 1, "certify.one_nn": 0})).count(", now ") == 2


def test_a_record_of_any_evaluation_is_judged_by_the_stages_it_names():
    for stages in ([], ["certify.knn_bound"], list(VERSIONS)):
        versions = record_versions("arml", stages)
        assert outdated(key(versions=versions, evaluation={"name": "not yet known"})) == ""


def test_cells_that_stay_as_they_were_are_in_no_list(usps_table):
    made = make_claims(usps_table, load_reasons("table1"))
    comparison = compare_claims(made, made)
    assert (comparison.worse, comparison.vanished, comparison.improved) == ([], [], [])
    assert comparison.compared == len(made)
    assert comparison.passed


def test_reasons_have_their_columns_or_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "reasons"
    folder.mkdir()
    (folder / "toys.csv").write_text("dataset,why\nusps,because\n")
    monkeypatch.setattr(claims, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"reasons/toys.csv must have the columns"):
        load_reasons("toys")


def test_a_table_of_a_header_alone_has_its_columns():
    frame = parse_csv("name,error\n", {"error": float})
    assert list(frame.columns) == ["name", "error"]
    assert len(frame) == 0


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self, target):
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(OSError, match="no space"):
        write_bytes(tmp_path / "new" / "table.md", b"text")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_record_of_a_metric_fitted_with_another_seed_does_not_belong(runs):
    write_radii(runs, "usps", "arml", np.ones(1000))
    [record] = read_radii_records(runs, pytest.fail)
    assert TABLE1.mismatch(record, EXACT) is None
    assert TABLE1.mismatch(replace(record, random_state=None), EXACT) is None
    assert TABLE1.mismatch(replace(record, random_state=7), EXACT) == "random_state=7 (not 42)"


def test_the_worst_contradiction_is_the_one_that_lies_farthest_apart(runs):
    lower, upper = np.ones(1000), np.ones(1000)
    (lower[3], upper[3]), (lower[5], upper[5]) = (3.0, 2.9), (1.0, 0.25)
    write_kind(runs, "usps", "arml", "certified", lower)
    write_kind(runs, "usps", "arml", "local_search", upper)
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail), TABLE2)
    with pytest.raises(SandwichError, match=r"up to 1\.0 by .* at 0\.25 by .*\(2 of 1000 common points contradict\)"):
        check_sandwich(chosen, TABLE2)


def test_names_that_the_paper_does_not_have_come_last_and_by_name():
    names = ["zoo", "usps", "ant", "fashion_mnist", "splice"]
    assert sorted(names, key=dataset_order)[3:] == ["ant", "zoo"]
    assert sorted(sorted(names), key=dataset_order) == sorted(names, key=dataset_order)
    assert sorted(names, key=dataset_order)[:3] == [name for name in TABLE1.datasets if name in names]
    assert sorted(["zzz", "arml", "aaa", "euclidean"], key=method_order) == ["euclidean", "arml", "aaa", "zzz"]


def radii_of_two_datasets(runs):
    """Table 1 of two datasets; Fashion-MNIST has no record of euclidean."""
    for dataset, method, robust in (("usps", "euclidean", 0.2), ("usps", "arml", 0.6), ("fashion_mnist", "arml", 9.0)):
        write_radii(runs, dataset, method, np.full(1000, robust))
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail), TABLE1)
    return build_table(chosen, TABLE1), footnotes(chosen, TABLE1)


def test_a_summary_has_each_datasets_own_lines_under_its_radii(runs):
    table, _ = radii_of_two_datasets(runs)
    lines = summary(table, TABLE1).splitlines()
    datasets = [name for name in TABLE1.datasets if name in ("usps", "fashion_mnist")]
    expected = []
    for name in datasets:
        radii = sorted(set(table[table["dataset"] == name]["radius"]))
        label, rows = {
            "usps": ("USPS, l2 radius", [("Euclidean", 0.2), ("ARML", 0.6)]),
            "fashion_mnist": ("Fashion-MNIST, l2 radius", [("ARML", 9.0)]),
        }[name]
        expected.append(label.ljust(26) + "".join(f"{radius:>8.3g}" for radius in radii))
        for method, robust in rows:
            expected.append(f"  {method}".ljust(26) + "".join(f"{float(robust <= radius):>8.3f}" for radius in radii))
    assert lines == expected


def test_latex_has_columns_for_the_longest_grid_and_fills_up_shorter_ones(runs):
    spec = replace(DEMO, datasets=("digits", "usps"), n_eval=None)
    for dataset, grid in (("digits", [0.0, 1.0]), ("usps", [0.0, 0.5, 1.0, 1.5])):
        write_radii(runs, dataset, "arml", np.ones(40), n_test=40, grid=grid)
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail), spec)
    text = latex(build_table(chosen, spec), spec, footnotes(chosen, spec))
    assert r"\begin{tabular}{llcccc}" in text
    assert {row.count(" & ") for row in text.splitlines() if row.endswith(r"\\")} == {5}


def earlier(ledger, cells, remarks=""):
    (ledger / "earlier").mkdir(parents=True)
    text = "dataset,method,k,kind,radius,error,n_test\n" + cells
    (ledger / "earlier" / "table1.csv").write_text(text)
    if remarks:
        (ledger / "earlier" / "table1_remarks.csv").write_text("dataset,method,kind,remark\n" + remarks)


def test_earlier_cells_fill_what_no_record_has_and_are_marked(runs, tmp_path):
    table, notes = radii_of_two_datasets(runs)
    cells = "usps,lmnn,1,exact,0.5,0.125,1000\nusps,arml,1,exact,0.5,0.9,1000\n"
    # Nor is there room in the table for other datasets, methods and kinds.
    cells += "".join(f"{names},0.5,0.9,1000\n" for names in ("zoo,lmnn,1,exact", "usps,svm,1,exact", "usps,nca,1,fast"))
    earlier(tmp_path, cells, "usps,lmnn,exact,fitted on a sample\nusps,arml,exact,of another time\n")
    assert cells_without_records(table, TABLE1, tmp_path) == [("usps", "lmnn", "exact")]
    whole, marked = with_earlier(table, notes, TABLE1, tmp_path)
    assert list(whole.columns) == list(COLUMNS)
    added = whole[whole["method"] == "lmnn"]
    assert added[["dataset", "radius", "error", "n_test"]].values.tolist() == [["usps", 0.5, 0.125, 1000]]
    assert added["error_low"].item() < 0.125 < added["error_high"].item()
    rest = whole[whole["method"] != "lmnn"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, table, check_dtype=False)
    assert {cell: texts for cell, texts in marked.items() if cell not in notes} == {
        ("usps", "lmnn", "exact"): [REMARK, "fitted on a sample"]
    }


def test_earlier_cells_need_no_remarks_and_no_files(runs, tmp_path):
    table, notes = radii_of_two_datasets(runs)
    assert cells_without_records(table, TABLE1, tmp_path) == []
    assert with_earlier(table, notes, TABLE1, tmp_path) == (table, notes)
    earlier(tmp_path, "usps,lmnn,1,exact,0.5,0.125,1000\n")
    _, marked = with_earlier(table, notes, TABLE1, tmp_path)
    assert marked["usps", "lmnn", "exact"] == [REMARK]
    # Of an empty table all that fits is added.
    whole, _ = with_earlier(table.iloc[:0], {}, TABLE1, tmp_path)
    assert whole[["dataset", "method"]].values.tolist() == [["usps", "lmnn"]]
