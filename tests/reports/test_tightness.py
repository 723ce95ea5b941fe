"""Exact radii beside Table 2: the ratios, the shares, the figure, and which records are compared."""

import numpy as np
import pandas as pd
import pytest

from arml.radii import SandwichError
from arml.records.reader import read_radii_records
from arml.reports.bands import bands_figure
from arml.reports.sandwich import check_sandwich
from arml.reports.selection import TABLE2, DisagreementError, choose_records
from arml.reports.style import paper_style
from arml.reports.tables import build_table
from arml.reports.tightness import comparisons, tightness_figure, tightness_markdown, tightness_table, write_tightness
from tests.records.synthetic import write_kind


def read(runs):
    return read_radii_records(runs, pytest.fail)


def write_all(runs, exact, **more):
    write_kind(runs, "usps", "arml", "certified", 0.9 * exact)
    write_kind(runs, "usps", "arml", "local_search", 1.1 * exact)
    write_kind(runs, "usps", "arml", "boundary", 1.5 * exact[:100])
    return write_kind(runs, "usps", "arml", "exact", exact, **more)


@pytest.fixture
def exact():
    return np.r_[np.zeros(50), np.linspace(0.1, 2.0, 950)]


@pytest.mark.parametrize("other", [{"box": [0.0, 1.0]}, {"seed": 7}, {"settings": {"event": "majority"}}])
def test_exact_radii_of_another_question_are_not_the_tables(runs, exact, other):
    mine = write_kind(runs, "usps", "arml", "exact", exact[:500])
    write_kind(runs, "usps", "arml", "exact", exact, **other)
    [item] = comparisons(read(runs))
    assert item.record.folder == mine


def test_exact_radii_that_disagree_are_an_error_and_old_ones_are_marked(runs, exact):
    first = write_kind(runs, "usps", "arml", "exact", exact)
    second = write_kind(runs, "usps", "arml", "exact", exact * 1.5, variant="second")
    with pytest.raises(DisagreementError, match=r"disagree: lower of test point \d+ is") as caught:
        comparisons(read(runs))
    assert {str(first), str(second)} <= set(str(caught.value).split())
    write_kind(runs, "splice", "nca", "exact", exact, versions={"certify.knn_exact": 1})
    records = [record for record in read_radii_records(runs, pytest.fail, allow_old=True) if record.dataset == "splice"]
    [path] = [path for path in write_tightness(records, runs / "out", ["tables"]) if path.suffix == ".md"]
    assert "Splice, NCA, K = 11: made by an older version of the code (certify.knn_exact 1, now " in path.read_text()


def test_ratios_are_taken_point_by_point_to_the_exact_radius(runs, exact):
    write_all(runs, exact)
    [row] = tightness_table(comparisons(read(runs))).to_dict("records")
    assert (row["dataset"], row["method"], row["k"], row["n_correct"]) == ("usps", "arml", 11, 950)
    assert (row["exact"], row["gap_left"], row["nodes"], row["boundary_points"]) == (1.0, 0.0, 7.0, 100)
    assert row["certified"] == pytest.approx(0.9)
    assert row["local_search"] == pytest.approx(1.1)
    assert row["boundary"] == pytest.approx(1.5)
    assert row["gap_before"] == pytest.approx(0.2 / 1.1)


def test_points_that_are_only_bounded_count_for_the_gap_alone(runs, exact):
    upper = exact.copy()
    upper[-95:] *= 2
    status = ["misclassified"] * 50 + ["exact"] * 855 + ["time_limit"] * 95
    write_all(runs, exact, upper=upper, status=status)
    [row] = tightness_table(comparisons(read(runs))).to_dict("records")
    assert row["exact"] == pytest.approx(0.9)
    assert row["gap_left"] == pytest.approx(0.5)
    assert row["certified"] == pytest.approx(0.9)
    assert "| USPS | ARML | 11 | 950 | 90.0% | 50.0% |" in tightness_markdown(pd.DataFrame([row]))


def test_only_records_of_the_same_question_are_compared(runs, exact):
    write_kind(runs, "usps", "arml", "exact", exact)
    write_kind(runs, "usps", "arml", "certified", 0.9 * exact, metric="3")
    write_kind(runs, "usps", "arml", "local_search", 1.1 * exact, seed=7)
    write_kind(runs, "usps", "nca", "local_search", 1.1 * exact, metric="4")
    [item] = comparisons(read(runs))
    assert not item.ratios
    assert np.isnan(item.gap_before)
    assert "— | — | — |" in tightness_markdown(tightness_table([item]))
    assert not any("figures" in str(path) for path in write_tightness(read(runs), runs / "out", ["tables", "figures"]))


def test_figure_has_a_panel_per_dataset_and_every_ratio_in_it(runs, exact):
    write_all(runs, exact)
    write_kind(runs, "splice", "nca", "exact", exact)
    write_kind(runs, "splice", "nca", "certified", 0.5 * exact)
    with paper_style():
        figure = tightness_figure(comparisons(read(runs)))
    assert [axes.get_title() for axes in figure.axes] == ["Splice, K = 11", "USPS, K = 11"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"radius found / exact radius"}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "Theorem 1",
        "local search",
        "Boundary Attack",
        "25–75 % of the points",
        "5–95 %",
    ]
    medians = sorted(line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() in (">", "s", "<"))
    np.testing.assert_allclose(medians, [0.9, 1.1, 1.5])


@pytest.mark.parametrize("factors", [(0.9, 1.5), (0.999, 1.001), (0.4, 7.2)])
def test_the_axis_is_logarithmic_with_plain_numbers_and_no_bar_or_text_leaves_it(runs, exact, factors):
    low, high = factors
    write_kind(runs, "usps", "arml", "exact", exact)
    write_kind(runs, "usps", "arml", "certified", low * exact)
    write_kind(runs, "usps", "arml", "boundary", high * exact)
    # Nothing is proven on one point of ten, and as many are never broken: their bars leave the figure.
    write_kind(runs, "usps", "nca", "exact", exact, metric="2")
    write_kind(runs, "usps", "nca", "certified", np.where(np.arange(1000) % 10 == 1, 0.0, low * exact), metric="2")
    with paper_style():
        figure = tightness_figure(comparisons(read(runs)))
        figure.draw_without_rendering()
    [axes], [legend] = figure.axes, figure.legends
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert 0.1 < left <= low
    assert high <= right < 10
    shown = [tick.get_text() for tick in axes.get_xticklabels() if left <= tick.get_position()[0] <= right]
    assert {"0.7", "1", "1.5"} <= set(shown)
    assert not high > 7 or {"0.5", "2", "3", "5", "7"} <= set(shown)
    boxes = [tick.get_window_extent() for tick in axes.get_xticklabels() if left <= tick.get_position()[0] <= right]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert not legend.get_window_extent().overlaps(axes.get_tightbbox())
    everything = figure.get_tightbbox()
    assert min(everything.x0, everything.y0) >= 0
    assert everything.x1 <= figure.get_figwidth()


def test_the_table_ends_with_what_it_lacks(runs, exact):
    upper = exact.copy()
    upper[-95:] *= 2
    status = ["misclassified"] * 50 + ["exact"] * 855 + ["bounded"] * 90 + ["time_limit"] * 5
    write_all(runs, exact, upper=upper, status=status)
    write_kind(runs, "usps", "arml", "exact", exact, seed=7)
    records = read(runs)
    said = ["skipped the damaged record /runs/radii/usps-arml-boundary-0123456789ab: torn; run it again"] * 2
    said += ["left out /runs/radii/usps-arml-exact_1nn-0123456789ab: it was made by an older version"]
    [path] = [p for p in write_tightness(records, runs, ["tables"], None, said, ["usps"]) if p.suffix == ".md"]
    assert path.read_text().splitlines()[-1] == (
        "Missing: 95 of 950 correctly classified points are in no ratio: 95 radii are only bounded, 5 of them for want "
        "of time; 3 records were left out: 2 damaged, 1 with other settings."
    )


def test_exact_errors_stand_in_table_2_between_the_others(runs, exact):
    write_all(runs, exact)
    chosen, _ = choose_records(read(runs), TABLE2)
    check_sandwich(chosen, TABLE2)
    table = build_table(chosen, TABLE2).set_index(["kind", "radius"])["error"]
    assert table["certified", 1.0] > table["exact", 1.0] > table["local_search", 1.0]
    with paper_style():
        figure = bands_figure("usps", chosen, TABLE2)
    assert "exact" in [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("kind", ["certified", "local_search", "boundary"])
def test_an_exact_radius_that_contradicts_another_record_is_named(runs, exact, kind):
    write_kind(runs, "usps", "arml", "exact", exact)
    write_kind(runs, "usps", "arml", kind, exact * (1.01 if kind == "certified" else 0.99))
    with pytest.raises(SandwichError, match="950 of 1000 common points contradict"):
        check_sandwich(choose_records(read(runs), TABLE2)[0], TABLE2)


def test_a_majority_lost_early_does_not_contradict_a_vote_lost_late(runs, exact):
    write_kind(runs, "usps", "arml", "exact", exact)
    write_kind(runs, "usps", "arml", "local_search", 1.1 * exact, majority=0.8 * exact)
    check_sandwich(choose_records(read(runs), TABLE2)[0], TABLE2)
