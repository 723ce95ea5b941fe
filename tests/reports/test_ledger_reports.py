"""Tables from the ledger, from what was computed before there was one, and from the user's own records."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from arml.records.ledger import folders, publish
from tests.records.synthetic import write_kind, write_paper_like, write_radii
from tests.reports.test_report_scripts import contents, script

METHODS = ("euclidean", "nca", "arml")


@pytest.fixture
def report(runs):
    main = script("report")
    return lambda *more: main(["--runs", str(runs), "--out", str(runs.parent), *more])


@pytest.fixture
def ledger(runs, tmp_path):
    """A ledger with three rows of Table 1; the user's own runs are empty."""
    made = tmp_path / "made"
    write_paper_like(made, ["usps"], methods=METHODS)
    for folder in folders(made):
        publish(folder, runs.parent / "records")
    return runs.parent / "records"


def rows(runs, name="table1"):
    table = pd.read_csv(runs.parent / "tables" / f"{name}.csv")
    return table.groupby(["dataset", "method"], sort=False)["error"].apply(list).to_dict()


def earlier(ledger, *cells):
    (ledger / "earlier").mkdir(parents=True)
    lines = [f"{dataset},{method},1,exact,{radius},{error},1000" for dataset, method, radius, error in cells]
    (ledger / "earlier" / "table1.csv").write_text(
        "\n".join(["dataset,method,k,kind,radius,error,n_test", *lines]) + "\n"
    )
    (ledger / "earlier" / "table1_remarks.csv").write_text(
        "dataset,method,kind,remark\nusps,lmnn,exact,fitted on a sample\n"
    )


def test_tables_and_figures_come_from_the_ledger_alone_and_stay_the_same(report, runs, ledger, capsys):
    assert report() == 0
    assert "of 3 rows 0 of your own, 3 from the ledger" in capsys.readouterr().err
    first = contents(runs.parent)
    assert report() == 0
    assert contents(runs.parent) == first
    assert list(rows(runs)) == [("usps", method) for method in METHODS]


def test_a_narrowed_run_changes_its_own_row_only(report, runs, ledger, capsys):
    report()
    before = rows(runs)
    capsys.readouterr()
    write_radii(runs, "usps", "nca", np.full(1000, 9.0), metric="7")
    assert report() == 0
    after = rows(runs)
    assert list(after) == list(before)
    assert after["usps", "nca"] == [0.0] * 6 != before["usps", "nca"]
    assert all(after["usps", method] == before["usps", method] for method in ("euclidean", "arml"))
    errors = capsys.readouterr().err
    assert "of 3 rows 1 of your own, 2 from the ledger" in errors
    assert "2 records fit table1; took usps-nca-exact_1nn-" in errors


def test_a_record_of_the_ledger_in_the_runs_is_not_a_new_one(report, runs, ledger, tmp_path, capsys):
    shutil.copytree(tmp_path / "made", runs)
    assert report("--only", "tables") == 0
    assert "0 of your own, 3 from the ledger" in capsys.readouterr().err


def test_the_same_metric_with_other_radii_is_said_to_differ_from_the_ledger(report, runs, ledger, capsys):
    write_radii(runs, "usps", "nca", np.full(1000, 9.0), variant="other")
    assert report("--only", "tables") == 0
    assert "is not what the ledger has: " in capsys.readouterr().err


def test_rows_of_another_metric_do_not_push_out_a_row_with_more_kinds(report, runs, tmp_path, capsys):
    made, ledger = tmp_path / "made", runs.parent / "records"
    for kind in ("certified", "local_search"):
        publish(write_kind(made, "usps", "arml", kind, np.ones(1000)), ledger)
    write_kind(runs, "usps", "arml", "certified", np.full(1000, 2.0), metric="5")
    assert report("--only", "tables", "--table", "table2") == 0
    table = pd.read_csv(runs.parent / "tables" / "table2.csv")
    assert set(table["kind"]) == {"certified", "local_search"}
    assert "0 of your own, 2 from the ledger" in capsys.readouterr().err


def test_two_metrics_of_one_row_that_are_both_the_users_are_a_disagreement(report, runs, capsys):
    for metric in "12":
        write_radii(runs, "usps", "nca", np.full(1000, 9.0), metric=metric)
    assert report("--only", "tables") == 1
    told = capsys.readouterr().err
    assert "contradict each other" in told
    assert re.search("metric_digest is (1{12} in the first, 2{12}|2{12} in the first, 1{12}) in the second", told)


def test_cells_from_before_stand_and_say_so(report, runs, ledger, capsys):
    earlier(ledger, ("usps", "lmnn", 0.5, 0.125), ("usps", "lmnn", 0.0, 0.1), ("usps", "nca", 0.0, 0.9))
    assert report() == 0
    table = rows(runs)
    assert list(table) == [("usps", method) for method in ("euclidean", "nca", "lmnn", "arml")]
    assert table["usps", "lmnn"] == [0.1, 0.125]
    assert len(table["usps", "nca"]) == 6  # the record goes before
    text = (runs.parent / "tables" / "table1.md").read_text()
    assert "computed before records were kept" in text
    assert "fitted on a sample" in text
    assert "1 from before records were kept" in capsys.readouterr().err
    claims = pd.read_csv(runs.parent / "claims" / "table1.csv")
    assert (claims["method"] == "lmnn").sum() == 2


def test_figures_that_would_lack_a_curve_are_left_as_they_are(report, runs, ledger, capsys):
    earlier(ledger, ("usps", "lmnn", 0.5, 0.125))
    (runs.parent / "figures").mkdir(parents=True)
    (runs.parent / "figures" / "robust_error_usps.png").write_bytes(b"as it was")
    assert report("--only", "figures") == 0
    assert (runs.parent / "figures" / "robust_error_usps.png").read_bytes() == b"as it was"
    assert "figures that show usps stay as they are" in capsys.readouterr().err
