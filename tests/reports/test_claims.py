import pytest

from arml.records.files import parse_csv
from arml.reports.check import DamagedReportError, compare_claims, parse_claims
from arml.reports.claims import (
    Verdict,
    claims_csv,
    claims_markdown,
    difference_interval,
    direction,
    find_reason,
    judge,
    load_reasons,
    make_claims,
)
from arml.reports.selection import TABLE1


@pytest.mark.parametrize(
    ("dataset", "method", "error", "paper", "verdict"),
    [
        ("usps", "arml", 0.204, 0.204, Verdict.REPRODUCED),
        ("usps", "arml", 0.205, 0.204, Verdict.REPRODUCED),
        ("usps", "arml", 0.203, 0.204, Verdict.REPRODUCED),
        ("usps", "arml", 0.206, 0.204, Verdict.WITHIN),
        ("usps", "arml", 0.236, 0.204, Verdict.WITHIN),
        ("usps", "arml", 0.250, 0.204, Verdict.DIFFERS),
        ("usps", "arml", 0.160, 0.204, Verdict.DIFFERS),
        ("usps", "lmnn", 0.999, 1.0, Verdict.REPRODUCED),
        ("usps", "lmnn", 0.997, 1.0, Verdict.WITHIN),
        ("usps", "lmnn", 0.99, 1.0, Verdict.DIFFERS),
        # Nothing is random about Euclidean on the same points.
        ("usps", "euclidean", 0.225, 0.224, Verdict.REPRODUCED),
        ("usps", "euclidean", 0.226, 0.224, Verdict.DIFFERS),
        ("satimage", "euclidean", 0.647, 0.642, Verdict.WITHIN),
        ("splice", "euclidean", 0.341, 0.320, Verdict.DIFFERS),
    ],
)
def test_verdicts(dataset, method, error, paper, verdict):
    assert judge(dataset, method, "exact", error, paper, 1000) is verdict


def test_newcombes_interval_on_his_own_example():
    # Newcombe (1998), table II, method 10 without continuity correction: 56/70 - 48/80 is 0.2, (0.0524, 0.3339).
    low, high = difference_interval(56 / 70, 70, 48 / 80, 80)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_fewer_points_make_a_wider_interval():
    assert judge("usps", "arml", "exact", 0.25, 0.204, 1000) is Verdict.DIFFERS
    assert judge("usps", "arml", "exact", 0.25, 0.204, 100) is Verdict.WITHIN


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("exact", ["better", "worse", "same", "same"]),
        ("certified", ["better", "worse", "same", "same"]),
        ("boundary", ["smaller", "larger", "same", "same"]),
    ],
)
def test_direction_judges_no_attack(kind, words):
    assert [direction(kind, ours, 0.2) for ours in (0.1, 0.3, 0.2, 0.2004)] == words


def test_claims_of_a_table(usps_table):
    reasons = parse_csv("dataset,method,kind,radius,reason\nusps,arml,,0.5,because\n", {})
    usps_table.loc[usps_table["method"] == "arml", "error"] *= 0.5
    claims = make_claims(usps_table, reasons)
    arml = claims[claims["method"] == "arml"]
    assert set(claims.loc[claims["method"] == "euclidean", "verdict"]) == {"reproduced"}
    assert set(arml["direction"]) == {"better"}
    assert arml["difference"].to_numpy() == pytest.approx(-0.5 * arml["paper_error"].to_numpy())
    assert arml["reason"].tolist() == ["", "because", "", "", "", ""]
    text = claims_csv(claims)
    assert claims_csv(parse_claims(text, "claims")) == text


def test_reproduced_cells_need_no_reason(usps_table):
    reasons = parse_csv("dataset,method,kind,radius,reason\n,,,,always\n", {})
    assert set(make_claims(usps_table, reasons)["reason"]) == {""}


def test_cells_without_a_paper_number_make_no_claim(usps_table):
    usps_table["paper_error"] = float("nan")
    assert make_claims(usps_table, load_reasons("table1")).empty


def test_the_most_specific_reason_wins():
    rows = [",,,,a", "usps,,,,b", "usps,nca,,,c", "usps,nca,,0.50,d", "usps,,boundary,,e"]
    reasons = parse_csv("\n".join(["dataset,method,kind,radius,reason", *rows, ""]), {})
    cells = [
        ("mnist", "nca", "certified", 0.5),
        ("usps", "arml", "certified", 0.5),
        ("usps", "nca", "certified", 1.0),
        ("usps", "nca", "boundary", 0.5),
        ("usps", "arml", "boundary", 0.5),
    ]
    assert [find_reason(reasons, *cell) for cell in cells] == ["a", "b", "c", "d", "e"]


def test_known_reasons_of_the_project():
    reasons = load_reasons("table1")
    assert "floating-point" in find_reason(reasons, "splice", "euclidean", "exact", 0.0)
    assert "order" in find_reason(reasons, "satimage", "euclidean", "exact", 0.45)
    assert find_reason(reasons, "usps", "euclidean", "exact", 0.0) == ""


def test_markdown_counts_and_shows_every_cell(usps_table):
    usps_table.loc[11, "error"] = 0.9
    text = claims_markdown(make_claims(usps_table, load_reasons("table1")), TABLE1)
    assert "| USPS | Euclidean | 6 | 0 | 0 | 0 | 0 |" in text
    assert "| USPS | ARML | 5 | 0 | 1 | 1 | 0 |" in text
    assert "| ARML | 0.500 | 0.204 | 0.204 | 0.000 to 1.000 | 1,000 | reproduced | same |  |" in text
    assert "In 1 of 12 cells our error is smaller than the paper's (better)." in text
    assert "| Dataset | Method | reproduced | within sampling error | differs | better | worse |" in text


def test_comparison_names_worse_vanished_and_improved_cells(usps_table):
    committed = make_claims(usps_table, load_reasons("table1"))
    committed.loc[1, "verdict"] = "differs"
    fresh = make_claims(usps_table, load_reasons("table1")).drop(index=3)
    fresh.loc[0, "verdict"] = "within sampling error"
    fresh.loc[2, "verdict"] = "differs"
    comparison = compare_claims(fresh, committed)
    assert [line.split(":")[0] for line in comparison.worse] == [
        "usps/euclidean exact at radius 0",
        "usps/euclidean exact at radius 1",
    ]
    assert comparison.vanished == ["usps/euclidean exact at radius 1.5: was reproduced, now absent"]
    assert comparison.improved[0].startswith("usps/euclidean exact at radius 0.5: differs")
    assert comparison.compared == 11
    assert not comparison.passed


def test_new_cells_and_better_verdicts_pass(usps_table):
    fresh = make_claims(usps_table, load_reasons("table1"))
    assert compare_claims(fresh, fresh.iloc[:4]).passed
    assert compare_claims(fresh, fresh.assign(verdict="differs")).passed
    assert not compare_claims(fresh.iloc[:0], fresh).passed


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda text: text.replace("reproduced", "perfect", 1), "unknown verdict 'perfect'"),
        (lambda text: text.replace("verdict", "opinion", 1), "lacks the column 'verdict'"),
        (lambda text: text + text.splitlines()[-1] + "\n", "a cell twice"),
        (lambda text: text.replace("0.204", "about a fifth", 1), "not a table"),
        (lambda text: text.rsplit(",", 2)[0], "line 13 has"),
        (lambda text: "", "empty"),
    ],
)
def test_damaged_claims_are_refused(usps_table, edit, complaint):
    text = claims_csv(make_claims(usps_table, load_reasons("table1")))
    with pytest.raises(DamagedReportError, match=complaint):
        parse_claims(edit(text), "claims.csv")
