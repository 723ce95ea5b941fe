"""Writing points: exactly the columns that a record holds, to the last digit."""

import numpy as np
import pytest

from arml.records.contents import POINT, Contents
from arml.records.points import read_points, write_points

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
