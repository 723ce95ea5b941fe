import pytest

from arml.records.contents import ATTACK, BOUNDS, Contents
from arml.records.format import DamagedRecordError

RADII = Contents("point", "attacked", {**BOUNDS, **ATTACK}, counts="upper")


def test_what_is_written_is_read():
    for contents in (
        RADII,
        Contents("grid", "measured", {}),
        Contents("pair", "probabilistic", {"index": "int", "radius": "float"}, counts="radius", alpha=0.001),
        Contents("point", "proven", dict(BOUNDS), counts="lower", proof="witness.npz"),
    ):
        assert Contents.read(contents.described()) == contents
    # Also in the order of the columns.
    assert list(Contents.read(RADII.described()).columns) == [*BOUNDS, *ATTACK]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"unit": "planet"}, "holds one of"),
        ({"claim": "sworn"}, "holds one of"),
        ({"columns": {"index": "complex"}}, "columns are of the types"),
        ({"columns": {"index": "int"}, "counts": "index"}, "must be one of floats"),
        ({"counts": "nothing"}, "must be one of floats"),
        ({"alpha": 0.1}, "has an alpha"),
        ({"claim": "probabilistic"}, "has an alpha"),
        ({"counts": None}, "a point has the columns index, label, prediction, status, and one that counts"),
        ({"columns": {"index": "int", "label": "int", "status": "text", "lower": "float"}}, "a point has the columns"),
        ({"columns": {**BOUNDS, "label": "text"}}, "a point has the columns"),
    ],
)
def test_impossible_contents_are_refused(changes, words):
    made = {"unit": "point", "claim": "proven", "columns": dict(BOUNDS), "counts": "lower"} | changes
    with pytest.raises(ValueError, match=words):
        Contents(**made)


@pytest.mark.parametrize("edit", [{"unit": 3}, {"columns": 7}, {"columns": [["index"]]}, {"more": 1}, {"proof": ...}])
def test_a_damaged_section_is_refused(edit):
    section = {**RADII.described(), **edit}
    if edit.get("proof") is ...:
        del section["proof"]
    with pytest.raises(DamagedRecordError, match="what it holds"):
        Contents.read(section)
    with pytest.raises(DamagedRecordError):
        Contents.read(None)


def test_where_nothing_counts_nothing_is_given():
    assert RADII.counted == "upper"
    with pytest.raises(ValueError, match="of a record of a grid, no column counts"):
        Contents("grid", "measured", {}).counted  # noqa: B018 - the access is what is tested
