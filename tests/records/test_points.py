"""Writing points: exactly the columns that a record holds, to the last digit."""

import numpy as np
import pandas as pd
import pytest

from arml.records.contents import POINT, Contents
from arml.records.files import parse_csv
from arml.records.format import DamagedRecordError
from arml.records.points import check_attained, read_points, write_points
from arml.subset import evaluation_indices

HOLDS = Contents("point", "measured", {**POINT, "radius": "float", "note": "text"}, counts="radius")
COLUMNS = {
    "radius": np.array([0.1 + 0.2, np.inf]), "index": np.array([3, 1]), "label": [1, 2], "prediction": [1, 2],
    "status": np.array(["exact", "bounded"]), "note": ["a, b", '"c"'],
}  # fmt: skip


def test_what_is_written_is_read_to_the_last_digit_in_the_order_declared(tmp_path):
    write_points(tmp_path / "points.csv", HOLDS, COLUMNS)
    points = read_points(tmp_path / "points.csv", HOLDS)
    assert list(points.columns) == list(HOLDS.columns)
    for name, values in COLUMNS.items():
        assert points[name].tolist() == list(values)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"more": [1, 2]}, "the record holds the columns index, .*, not .*, more"),
        ({"index": [0.5, 1.0]}, "column index holds one int a row, not float64"),
        ({"radius": [1, 2]}, "column radius holds one float a row, not int64"),
        ({"status": [1, 2]}, "column status holds one text a row"),
        ({"label": np.zeros((2, 1), dtype=int)}, r"not int64 of shape \(2, 1\)"),
        ({"label": [1]}, "shorter"),
    ],
)
def test_other_columns_than_the_record_holds_are_not_written(tmp_path, changes, told):
    with pytest.raises(ValueError, match=told):
        write_points(tmp_path / "points.csv", HOLDS, COLUMNS | changes)
    with pytest.raises(ValueError, match="the record holds the columns"):
        write_points(tmp_path / "points.csv", HOLDS, {})


def test_a_record_holds_at_least_one_point(tmp_path):
    (tmp_path / "points.csv").write_text(",".join(HOLDS.columns) + "\n")
    with pytest.raises(DamagedRecordError, match=r"points\.csv holds no points"):
        read_points(tmp_path / "points.csv", HOLDS)


def test_fields_that_are_empty_or_too_many_or_too_few():
    assert parse_csv("a,b\nx,0.5\ny,1.5\n", {"b": float})["b"].tolist() == [0.5, 1.5]
    numbers = parse_csv("a,b\nx,\ny,1.5\n", {"b": float})
    assert np.isnan(numbers["b"][0])
    assert numbers["b"][1] == 1.5
    assert parse_csv("a,b\n,1\n", {"b": int})["a"].tolist() == [""]
    for text, words in (("a,b\n1,2\n3\n", "line 3 has 1 fields"), ("a,b\n1,2,3\n", "line 2 has 3 fields")):
        with pytest.raises(ValueError, match=f"{words}, the header has 2"):
            parse_csv(text, {})


@pytest.mark.parametrize(
    "perturbation", [None, np.zeros((2, 3), dtype=int), np.zeros(2), np.array([["a", "b"], ["c", "d"]])]
)
def test_perturbations_are_a_matrix_of_floats(tmp_path, perturbation):
    points = pd.DataFrame({"index": [3, 1], "upper": [0.0, 5.0]})
    good = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.savez(tmp_path / "witness.npz", index=np.array([3, 1]), perturbation=good)
    check_attained(points, tmp_path / "witness.npz")
    arrays = {"index": np.array([3, 1])} | ({} if perturbation is None else {"perturbation": perturbation})
    np.savez(tmp_path / "witness.npz", **arrays)
    with pytest.raises(DamagedRecordError, match=r"witness\.npz holds no perturbations, or not as a matrix of floats"):
        check_attained(points, tmp_path / "witness.npz")


def test_the_points_of_an_evaluation_are_one_array_that_nobody_may_change():
    chosen = evaluation_indices(20, 5, 42)
    assert chosen is evaluation_indices(20, 5, 42)
    with pytest.raises(ValueError, match="read-only"):
        chosen[0] = 0
    assert chosen.tolist() == evaluation_indices(20, None, 42)[:5].tolist()
