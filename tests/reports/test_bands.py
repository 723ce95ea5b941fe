import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from arml.records.reader import read_radii_records
from arml.reports.bands import bands_figure, best_attack, write_bands
from arml.reports.selection import TABLE2, choose_records
from arml.reports.style import METHOD_STYLES, paper_style
from arml.subset import evaluation_indices
from tests.records.synthetic import METHODS, write_kind, write_table2


def read(runs):
    return choose_records(read_radii_records(runs, pytest.fail), TABLE2)[0]


def draw(runs, dataset="usps"):
    with paper_style():
        return bands_figure(dataset, read(runs), TABLE2)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_step_functions_and_the_band_lies_between_certified_and_best_attack(runs):
    write_kind(runs, "usps", "arml", "certified", np.repeat([0.0, 0.5, 1.0, 9.0], 250))
    write_kind(runs, "usps", "arml", "boundary", np.repeat([0.0, 2.0, 1.25, 9.0], 250))
    write_kind(runs, "usps", "arml", "local_search", np.repeat([0.0, 0.75, 2.25, 9.0], 250))
    [panel] = draw(runs).axes
    certified, best, boundary, *paper = panel.lines
    assert certified.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1, 0.75], [2.5, 0.75]]
    assert best.get_xydata().tolist() == [[0, 0.25], [0.75, 0.5], [1.25, 0.75], [2.5, 0.75]]
    assert boundary.get_xydata().tolist() == [[0, 0.25], [1.25, 0.5], [2, 0.75], [2.5, 0.75]]
    assert {line.get_drawstyle() for line in (certified, best, boundary)} == {"steps-post"}
    assert {line.get_color() for line in panel.lines[:3]} == {METHOD_STYLES["arml"][0]}
    assert certified.get_linewidth() > best.get_linewidth()
    assert boundary.get_linestyle() == "--"
    assert [line.get_xydata().tolist()[1] for line in paper] == [[0.5, 0.203], [0.5, 0.118]]
    [band] = [item for item in panel.collections if isinstance(item, PolyCollection)]
    corners = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert {(0.5, 0.25), (0.5, 0.5), (1.0, 0.5), (1.0, 0.75), (1.25, 0.75)} <= corners


def test_the_best_attack_is_taken_point_by_point(runs):
    write_kind(runs, "usps", "arml", "boundary", np.array([1.0, 3.0]))
    write_kind(runs, "usps", "arml", "local_search", np.array([2.0, 2.0, np.inf]))
    records = read_radii_records(runs, pytest.fail)
    first, second, third = evaluation_indices(2000, 3, 42)
    assert best_attack(records).to_dict() == {first: 1.0, second: 2.0, third: np.inf}


def test_a_panel_per_method_with_shared_axes_and_one_legend(runs):
    write_table2(runs, ["usps"])
    figure = draw(runs)
    assert [panel.get_title() for panel in figure.axes] == ["Euclidean", "NCA", "LMNN", "ITML", "LFDA", "ARML"]
    assert {(panel.get_xlim(), panel.get_ylim()) for panel in figure.axes} == {((0, 2.5), (0, 1.02))}
    assert labels(figure) == [
        "certified", "gap", "best attack", "Boundary Attack", "paper, certified", "paper, empirical"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "words", "lines"),
    [
        (("certified",), ["certified"], 1),
        (("local_search",), ["Local search"], 1),
        (("certified", "boundary"), ["certified", "gap", "Boundary Attack"], 2),
        (("boundary", "local_search"), ["best attack", "Boundary Attack"], 2),
    ],
)
def test_what_is_there_is_drawn(runs, kinds, words, lines):
    write_table2(runs, ["usps"], methods=("arml",), kinds=kinds)
    figure = draw(runs)
    [panel] = figure.axes
    assert labels(figure) == [*words, "paper, certified", "paper, empirical"]
    assert len(panel.lines) == lines + 2
    assert len(panel.collections) == ("gap" in words)


def test_all_curves_of_a_panel_are_of_the_same_points_and_the_title_says_how_many(runs):
    write_table2(runs, ["usps"], methods=("arml", "nca"), n_boundary=100)
    write_kind(runs, "splice", "arml", "certified", np.linspace(0, 0.5, 1000))
    exact = write_kind(runs, "splice", "arml", "exact", np.linspace(0, 0.5, 1000)[:100])
    write_kind(runs, "splice", "nca", "certified", np.linspace(0, 0.5, 1000))
    nca, arml = draw(runs).axes
    assert (nca.get_title(), arml.get_title()) == ("NCA\n100 common points", "ARML\n100 common points")
    for line in arml.lines[:3]:
        errors = line.get_ydata() * 100
        assert np.allclose(errors, errors.round())
    # A panel whose kinds have equally many points stays whole.
    nca, arml = draw(runs, "splice").axes
    assert (nca.get_title(), arml.get_title()) == ("NCA", "ARML\n100 common points")
    certified, drawn = arml.lines[:2]
    assert certified.get_xydata().tolist() == drawn.get_xydata().tolist()
    assert len(nca.lines[0].get_xydata()) > 500
    assert exact.name in {record.folder.name for record in read(runs).values()}


def test_an_open_exact_curve_is_a_band_between_two(runs):
    lower, upper = np.repeat([0.0, 0.5, 1.0, 9.0], 250), np.repeat([0.0, 0.5, 1.25, 9.0], 250)
    status = ["misclassified"] * 250 + ["exact"] * 250 + ["bounded"] * 250 + ["exact"] * 250
    write_kind(runs, "usps", "arml", "exact", lower, upper=upper, status=status)
    figure = draw(runs)
    [panel] = figure.axes
    least, most = panel.lines[:2]
    assert least.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1.25, 0.75], [2.5, 0.75]]
    assert most.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1, 0.75], [2.5, 0.75]]
    [band] = panel.collections
    corners = {tuple(point) for point in band.get_paths()[0].vertices.tolist()}
    assert {(1.0, 0.5), (1.0, 0.75), (1.25, 0.75)} <= corners
    assert labels(figure) == ["exact", "exact, only bounded", "paper, certified", "paper, empirical"]


def test_the_users_own_metrics_have_panels_after_the_six(runs):
    write_table2(runs, ["usps"], methods=("arml",))
    write_kind(runs, "usps", "from_file", "certified", np.ones(1000), fit_report={"source": "/a/my_metric.npz"})
    assert [panel.get_title() for panel in draw(runs).axes] == ["ARML", "my_metric"]


@pytest.mark.parametrize(
    "methods", [("arml",), ("euclidean", "arml"), ("euclidean", "nca", "lmnn", "arml"), (*METHODS, "from_file")]
)
def test_nothing_is_clipped_and_nothing_overlaps(runs, methods):
    six = tuple(method for method in methods if method != "from_file")
    write_table2(runs, ["usps"], methods=six, n_boundary=300)
    for method in six:
        n = 100 if method in ("itml", "lfda") else 1000
        status = ["time_limit"] * n
        write_kind(runs, "usps", method, "exact", np.full(n, 0.1), upper=np.ones(n), status=status)
    if "from_file" in methods:
        source = {"source": "a_name_that_is_longer_than_a_panel_is_wide.npz"}
        write_kind(runs, "usps", "from_file", "certified", np.ones(1000), fit_report=source)
        write_kind(runs, "usps", "from_file", "local_search", np.ones(300) * 2, fit_report=source)
    figure = draw(runs)
    with paper_style():
        figure.draw_without_rendering()
    [legend] = figure.legends
    boxes = [panel.get_window_extent() for panel in figure.axes]
    titles = [panel.title.get_window_extent() for panel in figure.axes]
    for box in (*boxes, *titles):
        assert not legend.get_window_extent().overlaps(box)
    for i, title in enumerate(titles):
        assert not any(title.overlaps(other) for other in (*titles[:i], *titles[i + 1 :], *boxes))
    everything = figure.get_tightbbox()
    assert min(everything.x0, everything.y0) >= 0
    assert everything.x1 <= figure.get_figwidth()
    assert everything.y1 <= figure.get_figheight()


def test_files_are_the_same_bytes_again(runs, tmp_path):
    write_table2(runs, ["usps", "splice"], methods=("arml",))
    first, second = (write_bands(read(runs), TABLE2, tmp_path / name) for name in "ab")
    assert [path.name for path in first] == [
        f"bands_{name}.{end}" for name in ("splice", "usps") for end in ("pdf", "png")
    ]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
