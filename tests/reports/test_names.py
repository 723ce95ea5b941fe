"""The user's own metrics in reports, by the names of their files."""

from dataclasses import replace

import numpy as np
import pytest

from arml.records.reader import read_radii_records
from arml.reports.claims import load_reasons, make_claims
from arml.reports.footnotes import footnotes
from arml.reports.latex import latex
from arml.reports.layout import markdown
from arml.reports.names import figure_label, is_from_file, method_label, with_names
from arml.reports.selection import TABLE1, TABLE2, choose_records
from arml.reports.tables import build_table
from arml.reports.tightness import comparisons
from tests.records.synthetic import write_kind, write_paper_like, write_radii


def write_own(runs, source, metric, radius=1.0, dataset="usps", **more):
    radii = np.full(1000, radius)
    return write_radii(runs, dataset, "from_file", radii, metric=metric, fit_report={"source": source}, **more)


def read(runs):
    return read_radii_records(runs, pytest.fail)


def test_rows_come_after_the_six_under_the_names_of_the_files(runs):
    write_paper_like(runs, ["usps"])
    write_own(runs, "/home/me/my_metric.npz", "3")
    write_own(runs, "b|c.npy", "4", radius=0.1)
    chosen, notes = choose_records(read(runs), TABLE1)
    assert notes == []
    table = build_table(chosen, TABLE1)
    assert table["method"].unique().tolist()[6:] == ["from_file:b|c", "from_file:my_metric"]
    assert table[table["method"] == "from_file:my_metric"]["error"].tolist() == [0, 0, 1, 1, 1, 1]
    lines = markdown(table, TABLE1, footnotes(chosen, TABLE1)).splitlines()
    last = next(place for place, line in enumerate(lines) if line.startswith("| ARML"))
    assert lines[last + 1].startswith(r"| b\|c | **0.000** | 1.000 |")
    assert lines[last + 2].startswith("| my_metric | **0.000** | **0.000** | 1.000 |")
    assert r" & my\_metric & \textbf{0.000} & " in latex(table, TABLE1, {})
    claims = make_claims(table, load_reasons("table1"))
    assert not claims["method"].map(is_from_file).any()
    assert len(claims) == 36


def test_files_of_one_name_are_told_apart_by_their_digests_where_they_meet(runs):
    write_own(runs, "/a/my_metric.npz", "3")
    write_own(runs, "/b/my_metric.npz", "4")
    write_own(runs, "/c/my_metric.npz", "5", dataset="splice")
    chosen, _ = choose_records(read(runs), TABLE1)
    assert list(chosen) == [
        ("splice", "from_file:my_metric", "exact"),
        ("usps", "from_file:my_metric (33333333)", "exact"),
        ("usps", "from_file:my_metric (44444444)", "exact"),
    ]


def test_several_records_of_one_file_are_one_row(runs):
    for kind in ("certified", "local_search", "exact"):
        write_kind(runs, "usps", "from_file", kind, np.ones(1000), metric="3", fit_report={"source": "m.npz"})
    write_kind(runs, "usps", "from_file", "exact", np.ones(1000), metric="4", fit_report={"source": "n.npz"})
    assert [cell[1:] for cell in choose_records(read(runs), TABLE2)[0]] == [
        ("from_file:m", "certified"), ("from_file:m", "exact"), ("from_file:m", "local_search"),
        ("from_file:n", "exact"),
    ]  # fmt: skip
    assert [item.record.method for item in comparisons(read(runs))] == ["from_file:m", "from_file:n"]


def test_those_of_the_ledger_are_in_no_table(runs):
    write_own(runs, "/a/my_metric.npz", "3")
    records = [replace(record, local=False) for record in read(runs)]
    assert choose_records(records, TABLE1)[0] == {}


def test_names_are_given_once(runs):
    write_own(runs, "/a/my_metric.npz", "3")
    once = with_names(read(runs))
    assert with_names(once) == once
    assert choose_records(once, TABLE1)[0].keys() == choose_records(read(runs), TABLE1)[0].keys()


@pytest.mark.parametrize(
    ("method", "label", "drawn"),
    [
        ("arml", "ARML", "ARML"),
        ("from_file:arml", "arml (file)", "arml (file)"),
        ("from_file:ARML", "ARML (file)", "ARML (file)"),
        ("from_file:my_metric", "my_metric", "my_metric"),
        ("from_file:$x$", "$x$", r"\$x\$"),
        ("from_file:" + "a" * 30, "a" * 30, "a" * 19 + "…"),
        ("another", "another", "another"),
    ],
)
def test_labels(method, label, drawn):
    assert (method_label(method), figure_label(method)) == (label, drawn)


@pytest.mark.parametrize(
    ("source", "name"), [(None, "from_file"), ("", "from_file"), ("/a/b c\n.npz", "b c"), ("m", "m")]
)
def test_whatever_the_source_there_is_a_name(runs, source, name):
    write_own(runs, source, "3")
    assert [record.method for record in with_names(read(runs))] == [f"from_file:{name}"]
