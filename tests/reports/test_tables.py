import numpy as np
import pytest

from arml.records.reader import read_radii_records
from arml.reports.footnotes import footnotes
from arml.reports.latex import latex
from arml.reports.layout import markdown
from arml.reports.published import paper_errors
from arml.reports.selection import DEMO, TABLE1, DisagreementError, choose_records
from arml.reports.tables import COLUMNS, build_table, table_csv
from arml.versions import VERSIONS
from tests.records.synthetic import METHODS, radii_like, write_paper_like, write_radii


def read(runs, spec=TABLE1):
    return choose_records(read_radii_records(runs, pytest.fail), spec)


def test_paper_numbers_are_complete_and_plausible():
    printed = paper_errors("table1")
    assert len(printed) == 6 * 6 * 6
    assert len(paper_errors("table2")) == 2 * 6 * 6 * 6
    assert (printed.groupby(["dataset", "method"])["paper_error"].diff().dropna() >= 0).all()
    satimage = printed[(printed["dataset"] == "satimage") & (printed["method"] == "arml")]
    assert satimage["radius"].tolist() == [0, 0.15, 0.3, 0.45, 0.6, 0.75]
    assert satimage["paper_error"].tolist() == [0.095, 0.605, 0.839, 0.899, 0.92, 0.946]
    with pytest.raises(ValueError, match="table3"):
        paper_errors("table3")


def test_numbers_in_the_papers_order(runs):
    write_paper_like(runs, ["usps", "mnist"])
    chosen, notes = read(runs)
    table = build_table(chosen, TABLE1)
    assert notes == []
    assert list(table.columns) == list(COLUMNS)
    assert table["dataset"].tolist() == ["mnist"] * 36 + ["usps"] * 36
    assert table["method"].unique().tolist() == list(METHODS)
    assert np.allclose(table["error"], table["paper_error"], atol=1e-12)
    assert ((table["error_low"] <= table["error"]) & (table["error"] <= table["error_high"])).all()


def test_csv_text_by_hand(runs):
    write_radii(runs, "digits", "arml", np.array([0.0, 0.5, 0.7, 2.0]), n_test=4, grid=[0.0, 0.5])
    chosen, _ = read(runs, DEMO)
    lines = table_csv(build_table(chosen, DEMO)).splitlines()
    assert lines[0] == "dataset,method,k,kind,radius,error,error_least,error_low,error_high,n_test,paper_error"
    assert lines[1].startswith("digits,arml,1,exact,0.0,0.25,0.25,0.0455872608")
    assert lines[2].startswith("digits,arml,1,exact,0.5,0.5,0.5,0.15003898")
    assert lines[1].endswith(",4,")


def test_markdown_bold_ties_absent_cells_and_paper_numbers(runs):
    errors = {0.0: 0.05, 0.5: 0.2, 1.0: 0.6, 1.5: 0.8, 2.0: 0.97, 2.5: 0.999}
    rng = np.random.default_rng(0)
    write_radii(runs, "usps", "euclidean", radii_like(errors, 1000, rng))
    write_radii(runs, "usps", "arml", radii_like(errors | {0.0: 0.043, 0.5: 0.21}, 1000, rng))
    chosen, _ = read(runs)
    text = markdown(build_table(chosen, TABLE1), TABLE1, footnotes(chosen, TABLE1))
    assert "| ℓ₂ radius | 0.000 | 0.500 | 1.000 | 1.500 | 2.000 | 2.500 |" in text
    assert "| Euclidean | 0.050 (0.045) | **0.200** (0.224) | **0.600** (0.585) |" in text
    assert "| ARML | **0.043** (0.043) | 0.210 (0.204) | **0.600** (0.565) |" in text
    assert "| NCA | — | — | — | — | — | — |" in text
    assert "MNIST" not in text


def test_footnotes_come_from_the_records(runs):
    status = ["tied"] * 47 + ["misclassified"] * 3 + ["exact"] * 949 + ["time_limit"]
    radii = np.concatenate([np.zeros(50), np.ones(950)])
    subset = {"n_fit_samples": 10000, "converged": False, "n_iter": 30}
    write_radii(runs, "mnist", "euclidean", radii, status=status)
    write_radii(runs, "mnist", "nca", radii, n_train=60000, fit_report=subset)
    write_radii(runs, "mnist", "lmnn", radii, n_train=60000, fit_report={"n_fit_samples": 10000})
    write_radii(runs, "mnist", "arml", radii, fit_report={"epochs": 1000})
    chosen, _ = read(runs)
    text = markdown(build_table(chosen, TABLE1), TABLE1, footnotes(chosen, TABLE1))
    assert "<sup>a</sup> on 4.7 % of the points another class is exactly as near" in text
    assert "<sup>b</sup> the radius of 1 of 1,000 points is only bounded" in text
    assert "<sup>c</sup> fitted on a stratified subset of 10,000 of 60,000 points." in text
    assert "<sup>d</sup> the fit stopped before it converged, after 30 iterations." in text
    assert "| Euclidean <sup>a,b</sup> |" in text
    assert "| NCA <sup>c,d</sup> |" in text
    assert "| LMNN <sup>c</sup> |" in text
    assert "| ARML | " in text


def test_latex_is_well_formed(runs):
    write_paper_like(runs, ["usps", "fashion_mnist"], methods=("euclidean", "arml"))
    radii = np.concatenate([np.zeros(47), np.ones(953)])
    write_radii(runs, "usps", "nca", radii, status=["tied"] * 47 + ["exact"] * 953, fit_report={"n_fit_samples": 10})
    chosen, _ = read(runs)
    text = latex(build_table(chosen, TABLE1), TABLE1, footnotes(chosen, TABLE1))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 2 * (1 + 6)
    assert {row.count(" & ") for row in rows} == {7}
    body = text.split("\n", 1)[1]
    assert body.count("{") == body.count("}")
    assert [body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") == 1 for name in ("table", "tabular")]
    assert r"\begin{tabular}{llcccccc}" in body
    assert r"4.7 \% of the points" in body
    assert "%" not in body.replace(r"\%", "")
    assert "_" not in body.replace(r"$\ell_2$", "")
    assert r"USPS & Euclidean & " in body
    assert r" & ARML & \textbf{0.043} & 0.204" in body
    assert r" & LMNN & --- & " in body
    assert body.isascii()


def test_a_dataset_without_paper_numbers_prints_none(runs):
    write_radii(runs, "digits", "arml", np.array([0.0, 1.0, 2.0]), n_test=3, grid=[0.0, 1.0])
    chosen, _ = read(runs, DEMO)
    text = markdown(build_table(chosen, DEMO), DEMO, footnotes(chosen, DEMO))
    assert "| ARML | **0.333** | **0.667** |" in text
    assert "### Digits (3 test points)" in text
    assert "paper" not in text


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"k": 3}, "k=3 (not 1)"),
        ({"seed": 7}, "seed=7 (not 42)"),
        ({"box": [0.0, 1.0]}, "box=(0.0, 1.0) (not None)"),
        ({"params": {"max_iter": 100}}, "params.max_iter=100 (not 1000)"),
        ({"params": {"batch_size": 64}}, "params.batch_size=64 (not its default)"),
        ({"n_test": 5000, "points": 999}, "n_eval=999 (not 1000)"),
    ],
)
def test_records_with_other_settings_stay_out_and_are_named(runs, settings, reason):
    radii = np.ones(settings.pop("points", 1000))
    folder = write_radii(runs, "usps", "arml", radii, **settings)
    chosen, notes = read(runs)
    assert chosen == {}
    assert folder.name in notes[0]
    assert reason in notes[0]


def test_stated_defaults_and_small_test_parts_fit(runs):
    params = {"loss": "negative", "max_iter": 1000, "learning_rate": 0.001, "batch_size": None}
    write_radii(runs, "usps", "arml", np.ones(300), n_test=300, params=params)
    write_radii(runs, "usps", "nca", np.ones(300), n_test=300, params={"fit_subset": 5000})
    chosen, notes = read(runs)
    assert list(chosen) == [("usps", "nca", "exact"), ("usps", "arml", "exact")]
    assert notes == []


def test_of_several_records_the_largest_fit_is_taken_and_named_whatever_the_clock_said(runs):
    def write(created, points, radii, variant=None):
        report = {"n_fit_samples": points}
        return write_radii(runs, "usps", "nca", radii, fit_report=report, created=created, variant=variant)

    same = [write(f"2026-01-0{day}T00:00:00+00:00", 5000, np.ones(1000), str(day)) for day in (1, 2, 3)]
    write("2026-03-01T00:00:00+00:00", 100, 2 * np.ones(1000))
    chosen, notes = read(runs)
    assert chosen["usps", "nca", "exact"].folder == min(same)
    assert "4 records fit" in notes[0]
    assert min(same).name in notes[0]
    write("2026-02-01T00:00:00+00:00", 5000, 2 * np.ones(1000))
    with pytest.raises(DisagreementError, match=r"lower of test point 1860 is .* in the first, .* in the second"):
        read(runs)


def test_a_record_of_an_older_version_yields_to_one_of_this_and_is_marked_where_it_is_all_there_is(runs):
    old = write_radii(runs, "usps", "nca", np.ones(1000), versions={"certify.one_nn": 1})
    refused = []
    assert read_radii_records(runs, refused.append) == []
    [message] = refused
    assert message.startswith(f"left out {old}: it was made by an older version of the code (certify.one_nn 1, now ")
    assert "--allow-old" in message
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail, allow_old=True), TABLE1)
    [notes] = footnotes(chosen, TABLE1).values()
    assert notes == [f"made by an older version of the code (certify.one_nn 1, now {VERSIONS['certify.one_nn']})"]
    assert notes[0] in markdown(build_table(chosen, TABLE1), TABLE1, footnotes(chosen, TABLE1))
    # However many points the old one was fitted on, and whatever its numbers are.
    new = write_radii(runs, "usps", "nca", 2 * np.ones(1000), fit_report={"n_fit_samples": 100})
    chosen, _ = choose_records(read_radii_records(runs, pytest.fail, allow_old=True), TABLE1)
    assert chosen["usps", "nca", "exact"].folder == new


def test_arml_that_searched_less_than_at_every_epoch_says_so(runs):
    radii = np.ones(1000)
    searched = {"searches": [[0, 1.0], [1, 0.1]], "n_iter": 1000}
    write_radii(runs, "mnist", "arml", radii, fit_report=searched)
    write_radii(runs, "usps", "arml", radii, fit_report={"searches": [[0, 1.0], [1, 1.0]], "n_iter": 2})
    chosen, _ = read(runs)
    notes = footnotes(chosen, TABLE1)
    [text] = notes["mnist", "arml", "exact"]
    assert text.startswith("neighbour lists were searched anew when")
    assert ("usps", "arml", "exact") not in notes
