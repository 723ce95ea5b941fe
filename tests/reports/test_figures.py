import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from arml.records.reader import read_boundary_records, read_radii_records
from arml.reports.boundaries import boundaries_figure, write_figure1
from arml.reports.figures import curves_figure, write_curves
from arml.reports.selection import DEMO, TABLE1, DisagreementError, choose_records
from arml.reports.style import METHOD_STYLES, paper_style
from tests.records.synthetic import METHODS, write_boundary, write_paper_like, write_radii


def read(runs, spec=TABLE1):
    return choose_records(read_radii_records(runs, pytest.fail), spec)[0]


def test_figures_are_whole_and_the_same_bytes_again(runs, tmp_path):
    write_paper_like(runs, ["usps", "pendigits"], methods=("euclidean", "arml"))
    write_boundary(runs, "arml", np.diag([1.0, 3.0]), resolution=30)
    written = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        # What a reader's matplotlibrc says must not matter.
        with mpl.rc_context({"font.size": 30 if folder.name == "b" else 10}):
            files = write_curves(read(runs), TABLE1, folder)
            files += write_figure1(read_boundary_records(runs, pytest.fail), folder)
        written.append(files)
    first, second = written
    names = ["robust_error_pendigits", "robust_error_usps", "robust_error_all", "figure1"]
    assert [path.name for path in first] == [name + suffix for name in names for suffix in (".pdf", ".png")]
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    for path in first[1::2]:
        image = imread(path)
        assert min(image.shape[:2]) > 400
        assert image.std() > 0.01
    for path in first[::2]:
        content = path.read_bytes()
        assert content.startswith(b"%PDF")
        assert content.rstrip().endswith(b"%%EOF")
        assert b"CreationDate" not in content
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == sorted(path.name for path in first)


def test_a_curve_is_the_exact_step_function_with_the_papers_points(runs):
    write_radii(runs, "usps", "arml", np.repeat([0.0, 0.5, 1.25, 9.0], 250))
    with paper_style():
        [panel] = curves_figure(["usps"], read(runs), TABLE1).axes
        curve, paper = panel.lines
    assert curve.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1.25, 0.75], [2.5, 0.75]]
    assert curve.get_drawstyle() == "steps-post"
    assert paper.get_xydata().tolist()[:3] == [[0, 0.043], [0.5, 0.204], [1, 0.565]]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("ℓ₂ radius", "robust error")


def test_combined_figure_has_a_panel_per_dataset_in_the_papers_order(runs):
    write_paper_like(runs, ["usps", "mnist", "splice", "satimage"], methods=("arml",))
    with paper_style():
        figure = curves_figure(["mnist", "splice", "satimage", "usps"], read(runs), TABLE1)
    assert [panel.get_title() for panel in figure.axes] == ["MNIST", "Splice", "Satimage", "USPS"]
    assert [bool(panel.get_xlabel()) for panel in figure.axes] == [False, True, True, True]


def test_nothing_is_clipped_and_the_legend_lies_outside(runs):
    write_paper_like(runs, ["usps"])
    with paper_style():
        figure = curves_figure(["usps"], read(runs), TABLE1)
        figure.draw_without_rendering()
        [panel], [legend] = figure.axes, figure.legends
        box = legend.get_window_extent()
        assert not box.overlaps(panel.get_window_extent())
        assert not box.overlaps(panel.title.get_window_extent())
        everything = figure.get_tightbbox()
        assert everything.x0 >= 0
        assert everything.y0 >= 0
        assert everything.x1 <= figure.get_figwidth()
        assert everything.y1 <= figure.get_figheight()
        assert [text.get_text() for text in legend.get_texts()][-1] == "paper"


def test_methods_differ_in_colour_in_line_and_in_marker():
    assert set(METHOD_STYLES) == set(METHODS)
    for aspect in zip(*METHOD_STYLES.values(), strict=True):
        assert len(set(aspect)) == len(METHODS)


def test_digits_end_at_the_radii_asked_for_and_show_no_paper(runs):
    write_radii(runs, "digits", "arml", np.linspace(0, 3, 100), n_test=100, grid=[0.0, 1.5])
    with paper_style():
        figure = curves_figure(["digits"], read(runs, DEMO), DEMO)
    assert figure.axes[0].get_xlim() == (0, 1.5)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ARML"]


def test_figure1_panels_limits_and_points(runs):
    for method in reversed(METHODS):
        write_boundary(runs, method, np.eye(2), resolution=20)
    records = {record.method: record for record in read_boundary_records(runs, pytest.fail)}
    with paper_style():
        figure = boundaries_figure(records)
    assert [panel.get_title() for panel in figure.axes] == ["Euclidean", "NCA", "LMNN", "ITML", "LFDA", "ARML"]
    assert {(panel.get_xlim(), panel.get_ylim()) for panel in figure.axes} == {((-0.2, 3.8), (0.4, 4.1))}
    assert {panel.get_aspect() for panel in figure.axes} == {1.0}
    triangles, squares = figure.axes[0].lines
    assert (triangles.get_marker(), len(triangles.get_xdata())) == ("^", 4)
    assert (squares.get_marker(), len(squares.get_xdata())) == ("s", 3)


def test_figure1_without_records_says_so(tmp_path):
    with pytest.raises(ValueError, match="Figure 1 needs"):
        write_figure1([], tmp_path)


def test_of_several_grids_the_finest_is_drawn_and_equally_fine_ones_must_agree(runs):
    write_boundary(runs, "arml", np.eye(2), resolution=20)
    write_boundary(runs, "arml", np.diag([1.0, 3.0]), resolution=30)
    write_boundary(runs, "arml", np.diag([1.0, 3.0]), resolution=30, variant="the same again")
    records = read_boundary_records(runs, pytest.fail)
    write_figure1(records, runs)
    first = (runs / "figure1.png").read_bytes()
    write_figure1([record for record in records if record.prediction.size == 900], runs)
    assert (runs / "figure1.png").read_bytes() == first
    other = write_boundary(runs, "arml", np.eye(2), resolution=30, variant="another")
    with pytest.raises(DisagreementError, match="are grids of arml that are equally fine and differ") as caught:
        write_figure1(read_boundary_records(runs, pytest.fail), runs)
    assert str(other) in str(caught.value)
