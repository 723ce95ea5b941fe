"""The last line of a table: what it lacks."""

import numpy as np
import pytest

from arml.records.reader import read_radii_records
from arml.reports.layout import markdown
from arml.reports.missing import missing_line
from arml.reports.selection import TABLE1, TABLE2, choose_records
from arml.reports.tables import build_table
from tests.records.synthetic import METHODS, write_kind, write_paper_like, write_radii
from tests.reports.test_report_scripts import script

ALL = TABLE1.datasets


def line(runs, spec=TABLE1, **more):
    warnings = []
    records = read_radii_records(runs, warnings.append, **more)
    chosen, _ = choose_records(records, spec)
    return missing_line(build_table(chosen, spec), chosen, records, spec, warnings)


def test_a_whole_table_lacks_nothing(runs):
    write_paper_like(runs, list(ALL))
    assert line(runs) == "Missing: nothing."


def test_rows_and_datasets_without_numbers_are_counted(runs):
    write_paper_like(runs, ["usps", "splice"], methods=METHODS[:5])
    write_radii(runs, "usps", "from_file", np.ones(1000), metric="5")
    assert line(runs) == (
        "Missing: 2 of 12 rows have no numbers; no numbers of MNIST, Fashion-MNIST, Pendigits, Satimage."
    )


def test_rows_from_before_records_were_kept_are_said_not_to_be_looked_into(runs):
    write_paper_like(runs, list(ALL))
    records = read_radii_records(runs, pytest.fail)
    chosen, _ = choose_records(records, TABLE1)
    table = build_table(chosen, TABLE1)
    del chosen["usps", "arml", "exact"]
    records = [record for record in records if (record.dataset, record.method) != ("usps", "arml")]
    assert missing_line(table, chosen, records, TABLE1) == (
        "Missing: 1 row is from before records were kept, so that nothing is counted there."
    )


def test_refused_records_are_counted_by_why_and_only_those_of_the_table(runs):
    write_paper_like(runs, list(ALL))
    for kind in ("certified", "local_search"):
        (write_kind(runs, "usps", "arml", kind, np.ones(1000)) / "points.csv").write_text("torn")
    (write_radii(runs, "usps", "arml", np.ones(1000), variant="torn") / "points.csv").write_text("torn")
    for name in ("nca", "lmnn"):
        write_radii(runs, "usps", name, np.ones(1000), versions={"datasets.protocol": 0})
    (write_radii(runs, "digits", "arml", np.ones(4), n_test=4) / "points.csv").write_text("torn")
    assert line(runs) == "Missing: 3 records were left out: 1 damaged, 2 of older code."
    assert "2 records were left out: 2 damaged" in line(runs, TABLE2)
    assert "left out: 1 damaged, 2 of a row that another one fills" in line(runs, allow_old=True)


def test_one_whose_folder_does_not_say_what_it_is_counts(runs):
    write_paper_like(runs, list(ALL))
    folder = write_radii(runs, "usps", "arml", np.ones(1000), variant="another")
    folder.rename(folder.with_name("my: copy"))
    assert line(runs) == "Missing: 1 record was left out: 1 damaged."


def test_sound_records_that_are_not_shown_are_counted_by_why(runs):
    write_paper_like(runs, list(ALL))
    write_radii(runs, "usps", "arml", np.ones(1000), k=3)
    write_radii(runs, "usps", "arml", np.ones(1000), fit_report={"n_fit_samples": 10})
    write_radii(runs, "usps", "nca", np.ones(1000), metric="7", fit_report={"n_fit_samples": 10})
    assert line(runs) == (
        "Missing: 3 records were left out: 1 with other settings, 1 of another metric or other data, "
        "1 of a row that another one fills."
    )


def test_limits_and_points_left_out_are_counted(runs):
    lower, upper = np.full(100, 0.5), np.full(100, 0.6)
    status = ["exact"] * 90 + ["bounded"] * 7 + ["time_limit"] * 3
    write_kind(runs, "usps", "arml", "exact", np.r_[upper[:90], lower[90:]], upper=upper, status=status)
    write_kind(runs, "usps", "arml", "boundary", np.ones(300))
    write_kind(runs, "usps", "arml", "certified", np.full(1000, 0.4))
    assert line(runs, TABLE2).endswith(
        "; 2 rows without all test points that the table asks for, 1,600 points in all; 10 of 100 exact radii are only "
        "bounded; the limit of time was reached on 3 points."
    )


def test_it_is_the_last_line_of_the_table_and_names_no_folder(runs):
    write_paper_like(runs, list(ALL))
    damaged = write_radii(runs, "usps", "arml", np.ones(1000), variant="torn")
    (damaged / "points.csv").write_text("torn")
    assert script("report")(["--runs", str(runs), "--out", str(runs.parent), "--only", "tables"]) == 0
    text = (runs.parent / "tables" / "table1.md").read_text()
    assert text.endswith("\n\nMissing: 1 record was left out: 1 damaged.\n")
    assert "\n\n\n" not in text
    assert str(runs.parent) not in text


def test_a_table_without_the_line_ends_as_before(runs):
    write_paper_like(runs, ["usps"])
    table = build_table(choose_records(read_radii_records(runs, pytest.fail), TABLE1)[0], TABLE1)
    assert markdown(table, TABLE1, {}).endswith(" |\n")
