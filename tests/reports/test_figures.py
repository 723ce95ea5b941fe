import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from arml.records.reader import read_boundary_records, read_radii_records
from arml.reports.boundaries import boundaries_figure, write_figure1
from arml.reports.figures import curves_figure, write_curves
from arml.reports.selection import DEMO, TABLE1, DisagreementError, choose_records
from arml.reports.style import METHOD_STYLES, OTHER_STYLES, method_styles, paper_style
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
    own = {f"from_file:{name}": style for name, style in zip("abcde", OTHER_STYLES, strict=True)}
    styles = method_styles([*METHODS, *reversed(own)])
    assert styles == METHOD_STYLES | own
    assert len(set(styles.values())) == len(styles)


# Machado, Oliveira and Fernandes (2009), severity 1, on linear light; and the brightness alone.
SEEN = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "grey": [[0.2126, 0.7152, 0.0722]] * 3,
}


def look(color, matrix):
    """A colour as it is seen, in a space where equal steps look about equal."""
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(np.clip(np.array(matrix) @ linear, 0, 1))


def dashes(style):
    """Dash and gap lengths of a line over their sum, one number for each of eight parts."""
    if style == "-":
        return np.ones(64)
    steps = np.cumsum(style[1])
    at = np.arange(64) / 64 * 24 % steps[-1]
    return 1.0 - np.searchsorted(steps, at, side="right") % 2


@pytest.mark.parametrize("sight", list(SEEN))
def test_curves_are_told_apart_by_their_colour_or_else_by_their_dashes(sight):
    looks = list(METHOD_STYLES.items())
    for i, (_, (color, line, _)) in enumerate(looks):
        for _, (other, another, _) in looks[:i]:
            near = np.linalg.norm(look(color, SEEN[sight]) - look(other, SEEN[sight])) < 0.2
            assert not near or np.mean(dashes(line) != dashes(another)) > 0.15


def test_open_radii_are_a_band_between_two_curves(runs):
    lower, upper = np.repeat([0.0, 0.5, 1.0, 9.0], 250), np.repeat([0.0, 0.5, 1.25, 9.0], 250)
    status = ["misclassified"] * 250 + ["exact"] * 250 + ["time_limit"] * 250 + ["exact"] * 250
    write_radii(runs, "usps", "arml", lower, upper=upper, status=status)
    with paper_style():
        figure = curves_figure(["usps"], read(runs), TABLE1)
    [panel] = figure.axes
    least, most, _ = panel.lines
    assert least.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1.25, 0.75], [2.5, 0.75]]
    assert most.get_xydata().tolist() == [[0, 0.25], [0.5, 0.5], [1, 0.75], [2.5, 0.75]]
    sampling, between = panel.collections
    assert {(1.0, 0.5), (1.0, 0.75), (1.25, 0.75)} <= {tuple(point) for point in between.get_paths()[0].vertices}
    assert sampling.get_alpha() < between.get_alpha()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ARML", "radii only bounded", "paper"]


def test_the_users_own_metrics_are_drawn_beside_the_papers_under_their_names(runs):
    write_paper_like(runs, ["usps", "splice"])
    names = ["my_metric", "arml", "a_very_long_name_that_has_no_room_in_a_legend", "a$b$"]
    for place, name in enumerate(names):
        report = {"source": f"/home/me/{name}.npz"}
        write_radii(runs, "usps", "from_file", np.linspace(0, 3, 1000), metric=str(place + 3), fit_report=report)
    for datasets in (["usps"], ["splice", "usps"]):
        with paper_style():
            figure = curves_figure(datasets, read(runs), TABLE1)
            figure.draw_without_rendering()
            [legend] = figure.legends
            assert [text.get_text() for text in legend.get_texts()][6:] == [
                r"a\$b\$", "a_very_long_name_th…", "arml (file)", "my_metric", "paper",
            ]  # fmt: skip
            box, everything = legend.get_window_extent(), figure.get_tightbbox()
            assert not any(box.overlaps(panel.get_tightbbox()) for panel in figure.axes)
            assert min(everything.x0, everything.y0) >= 0
            assert everything.x1 <= figure.get_figwidth()
            assert everything.y1 <= figure.get_figheight()
            for panel in figure.axes:
                assert panel.get_position().width > 0.3
                assert panel.get_position().height > 0.3


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
