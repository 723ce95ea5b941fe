"""Errors of which only the least and the most are known: tables, claims, and what was printed before."""

import numpy as np
import pytest

from arml.records.reader import read_radii_records
from arml.reports.check import DamagedReportError, parse_table
from arml.reports.claims import claims_markdown, load_reasons, make_claims
from arml.reports.footnotes import footnotes
from arml.reports.intervals import counted_least, interval_text, open_points
from arml.reports.latex import latex
from arml.reports.layout import markdown
from arml.reports.selection import DEMO, TABLE1, TABLE2, choose_records
from arml.reports.tables import build_table, summary, table_csv
from tests.records.synthetic import write_kind, write_radii


def read(runs, spec=TABLE1):
    return choose_records(read_radii_records(runs, pytest.fail), spec)[0]


def write_open(runs, method="arml", dataset="usps", **more):
    """Of ten points one is wrong, one tied, two are exact and six open, with bounds 0.4 and 0.6, or nothing above."""
    lower = np.array([0, 0, 0.2, 1.7] + [0.4] * 6)
    upper = np.array([0, 0, 0.2 * (1 + 1e-7), 1.7] + [0.6] * 3 + [np.inf] * 3)
    status = ["misclassified", "tied", "exact", "exact"] + ["bounded"] * 4 + ["time_limit"] * 2
    return write_radii(runs, dataset, method, lower, upper=upper, status=status, n_test=10, **more)


def test_only_open_radii_count_late(runs):
    write_open(runs)
    [record] = read(runs).values()
    assert open_points(record).tolist() == [False] * 4 + [True] * 6
    assert counted_least(record).tolist() == [0, 0, 0.2, 1.7, 0.6, 0.6, 0.6, np.inf, np.inf, np.inf]


@pytest.mark.parametrize("kind", ["certified", "boundary", "local_search"])
def test_what_is_no_exact_radius_is_never_open(runs, kind):
    write_kind(runs, "usps", "arml", kind, np.ones(1000))
    [record] = read(runs, TABLE2).values()
    assert not open_points(record).any()
    table = build_table(read(runs, TABLE2), TABLE2)
    assert table["error_least"].equals(table["error"])


def test_the_table_holds_both_ends_and_its_files_show_both(runs):
    write_open(runs)
    chosen = read(runs)
    table = build_table(chosen, TABLE1)
    assert table["error"].tolist() == [0.2, 0.9, 0.9, 0.9, 1.0, 1.0]
    assert table["error_least"].tolist() == [0.2, 0.3, 0.6, 0.6, 0.7, 0.7]
    notes = footnotes(chosen, TABLE1)
    shown = markdown(table, TABLE1, notes)
    assert "| 0.300–0.900** (0.204) |" in shown.replace("**0.3", "0.3")
    assert "the radius of 6 of 10 points is only bounded." in shown
    assert "Two numbers are the least and the most that the exact error can be" in shown
    text = latex(table, TABLE1, notes)
    assert r" & \textbf{0.200} & \textbf{0.300--0.900} & \textbf{0.600--0.900} & " in text
    assert text.isascii()
    printed = summary(table, TABLE1).splitlines()
    assert "0.300–0.900" in printed[1]
    assert len(printed[0]) == len(printed[1])
    assert parse_table(table_csv(table), "table").equals(table)
    with pytest.raises(DamagedReportError, match="lacks the column 'error_least'"):
        parse_table(table_csv(table.drop(columns="error_least")), "table")


def test_one_number_where_both_ends_print_the_same():
    assert interval_text(0.1801, 0.1804) == "0.180"
    assert interval_text(0.18, 0.24) == "0.180–0.240"
    assert interval_text(0.18, 0.24, "--") == "0.180--0.240"


def test_tables_whose_radii_are_closed_say_nothing_of_intervals(runs):
    write_radii(runs, "usps", "arml", np.ones(1000))
    chosen = read(runs)
    shown = markdown(build_table(chosen, TABLE1), TABLE1, footnotes(chosen, TABLE1))
    assert "–" not in shown
    assert "Two numbers" not in shown


@pytest.mark.parametrize(
    ("other", "bold"),
    [
        (0.25, ["nca"]),  # smaller than the least that the interval can be
        (0.30, ["nca"]),  # equal to it
        (0.35, []),  # within: either may be smaller
        (0.90, ["arml"]),  # the most that it can be
        (0.95, ["arml"]),  # larger than the most
    ],
)
def test_bold_is_what_is_smallest_whatever_the_open_radii_are(runs, other, bold):
    n = 100
    lower, upper = np.repeat([0.1, 0.4, 5.0], [30, 60, 10]), np.repeat([0.1, 0.6, 5.0], [30, 60, 10])
    status = ["exact"] * 30 + ["bounded"] * 60 + ["exact"] * 10
    write_radii(runs, "usps", "arml", lower, upper=upper, status=status, n_test=n)
    lost = round(other * n)
    write_radii(runs, "usps", "nca", np.repeat([0.1, 5.0], [lost, n - lost]), n_test=n)
    table = build_table(read(runs), TABLE1)
    lines = [line.split(" | ") for line in markdown(table, TABLE1, {}).splitlines()]
    shown = {line[0].removeprefix("| "): line[2] for line in lines if len(line) > 2}
    assert [name for name in ("nca", "arml") if "**" in shown[name.upper()]] == bold


def test_claims_judge_the_proven_error_and_say_so(runs):
    write_open(runs)
    claims = make_claims(build_table(read(runs), TABLE1), load_reasons("table1"))
    assert claims["error"].tolist() == [0.2, 0.9, 0.9, 0.9, 1.0, 1.0]
    assert "ours here is the larger one: what is proven" in claims_markdown(claims, TABLE1)
    assert "ours here is the larger one" not in claims_markdown(claims, TABLE2)


def test_a_demo_shows_them_too(runs):
    write_open(runs, dataset="digits", grid=[0.0, 0.5])
    assert "**0.300–0.900**" in markdown(build_table(read(runs, DEMO), DEMO), DEMO, {})
