import hashlib
import json

import numpy as np
import pytest
from synthetic_records import write_boundary, write_kind, write_radii

from arml.reports.records import read_boundary_records, read_radii_records, tidy


def damage_points(folder, old, new):
    """Change points.csv and its digest, so that only the content is wrong."""
    path = folder / "points.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    record = json.loads((folder / "record.json").read_text())
    record["files"]["points.csv"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "record.json").write_text(json.dumps(record))


def test_reads_every_digit(runs):
    radii = np.array([0.0, 0.1 + 0.2, 1 / 3, np.inf])
    write_radii(
        runs, "usps", "arml", radii, params={"loss": "negative"}, status=["tied", "exact", "exact", "unreachable"]
    )
    [record] = read_radii_records(runs, pytest.fail)
    assert (record.dataset, record.method, record.kind, record.k, record.seed) == ("usps", "arml", "exact", 1, 42)
    assert record.points["lower"].tolist() == radii.tolist()
    assert record.params == {"loss": "negative"}
    assert record.box is None


def test_tidy_has_a_row_per_point(runs):
    write_radii(runs, "usps", "arml", np.array([0.0, 1.0]))
    write_radii(runs, "usps", "nca", np.array([2.0]))
    frame = tidy(read_radii_records(runs, pytest.fail))
    assert frame[["method", "index", "lower"]].values.tolist() == [["arml", 0, 0.0], ["arml", 1, 1.0], ["nca", 0, 2.0]]
    assert tidy([]).empty


def test_a_missing_root_holds_no_records(tmp_path):
    assert read_radii_records(tmp_path / "nowhere", pytest.fail) == []


def test_unfinished_folders_are_left_alone(runs):
    (runs / "radii" / "usps-arml-exact_1nn-123456789abc").mkdir(parents=True)
    (runs / ".tmp").mkdir()
    assert read_radii_records(runs, pytest.fail) == []


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("1.5,1.5", "nan,nan", "impossible"),
        ("1.5,1.5", "1.5,1.0", "impossible"),
        ("1.5,1.5", "-1.5,1.5", "impossible"),
        ("1.5,1.5", "wide,1.5", "cannot be read"),
        ("exact", "certain", "unknown status 'certain'"),
        ("exact", "misclassified", "radius above 0"),
        ("1,1,1.5", "1,2,1.5", "radius above 0"),
        ("lower,upper", "upper,lower", "has columns"),
        ("\n1,", "\n0,", "twice"),
        ("\n1,", "\n2000,", "row 2000 of a test part of 2000"),
    ],
)
def test_impossible_points_are_named_and_skipped(runs, old, new, complaint):
    sound = write_radii(runs, "usps", "nca", np.array([1.0]))
    folder = write_radii(runs, "usps", "arml", np.array([0.0, 1.5]))
    damage_points(folder, old, new)
    warnings: list[str] = []
    assert [record.folder for record in read_radii_records(runs, warnings.append)] == [sound]
    assert len(warnings) == 1
    assert folder.name in warnings[0]
    assert complaint in warnings[0]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("bounded,1.5,1", "bounded,1.6,1", "majority 1.6 and upper 1.5 in row 3 are impossible"),
        ("0.0,1.5,bounded,1.5", "0.5,1.5,bounded,0.4", "lower 0.5 and majority 0.4 in row 3 are impossible"),
        ("bounded,1.5,1", "bounded,nan,1", "impossible"),
        ("bounded,1.5,1", "bounded,-1.0,1", "impossible"),
        ("bounded,1.5,1", "bounded,1.5,-1", "fewer than 0 queries"),
        ("bounded,1.5,1", "bounded,1.5,many", "cannot be read"),
        ("bounded,1.5,1", "misclassified,1.5,1", "radius above 0"),
        ("majority,queries", "majority,spent", "has columns"),
    ],
)
def test_impossible_points_of_attacks_are_named_and_skipped(runs, old, new, complaint):
    folder = write_kind(runs, "usps", "arml", "boundary", np.array([0.0, 1.5]))
    assert read_radii_records(runs, pytest.fail)[0].points["queries"].tolist() == [0, 1]
    damage_points(folder, old, new)
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert complaint in warnings[0]


def test_an_attack_may_leave_out_majority_and_queries(runs):
    write_kind(runs, "usps", "arml", "boundary", np.array([0.0, 1.5]), majority=None, settings={"steps": 10})
    [record] = read_radii_records(runs, pytest.fail)
    assert "majority" not in record.points
    assert (record.kind, record.steps, record.norm, record.box) == ("boundary", 10, 2.0, (0.0, 1.0))


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda record: record.update(schema=2), "schema 2"),
        (lambda record: record.update(stage="metrics"), "stage"),
        (lambda record: record["key"].update(fit="another"), "hash of its key"),
        (lambda record: record["dataset"].update(n_test="many"), "n_test must be int"),
        (lambda record: record["provenance"].update(created="yesterday"), "not a date"),
        (lambda record: record.pop("evaluation"), "no section 'evaluation'"),
    ],
)
def test_a_wrong_description_is_named_and_skipped(runs, edit, complaint):
    folder = write_radii(runs, "usps", "arml", np.array([0.0, 1.5]))
    record = json.loads((folder / "record.json").read_text())
    edit(record)
    (folder / "record.json").write_text(json.dumps(record))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert complaint in warnings[0]


def test_changed_truncated_and_missing_files_are_named_and_skipped(runs):
    changed = write_radii(runs, "usps", "arml", np.array([1.5]))
    (changed / "points.csv").write_text((changed / "points.csv").read_text().replace("1.5", "9.5"))
    truncated = write_radii(runs, "usps", "nca", np.array([1.5]))
    (truncated / "record.json").write_text((truncated / "record.json").read_text()[:100])
    missing = write_radii(runs, "usps", "lmnn", np.array([1.5]))
    (missing / "points.csv").unlink()
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert [any(folder.name in text for text in warnings) for folder in (changed, truncated, missing)] == [True] * 3


def test_boundary_records(runs):
    write_boundary(runs, "euclidean", np.eye(2), resolution=5)
    broken = write_boundary(runs, "arml", np.eye(2), resolution=5)
    (broken / "grid.npz").write_bytes((broken / "grid.npz").read_bytes()[:200])
    warnings: list[str] = []
    [record] = read_boundary_records(runs, warnings.append)
    assert record.prediction.shape == (5, 5)
    assert broken.name in warnings[0]
