import hashlib
import json
import shutil

import numpy as np
import pytest

from arml.records.contents import BOUNDS
from arml.records.format import SCHEMA, read_description
from arml.records.reader import all_records, read_boundary_records, read_radii_records, tidy
from arml.records.store import Address
from arml.subset import evaluation_indices
from arml.versions import VERSIONS
from tests.records.synthetic import damage_points, write_boundary, write_kind, write_radii, write_record


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
    first, second = evaluation_indices(2000, 2, 42).tolist()
    rows = [["arml", first, 0.0], ["arml", second, 1.0], ["nca", first, 2.0]]
    assert frame[["method", "index", "lower"]].values.tolist() == rows
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
        ("\n353,", "\n1860,", "twice"),
        ("\n353,", "\n2000,", "row 2000 of a test part of 2000"),
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
        (lambda record: record.update(schema=1), "record.json has schema 1, this version reads 2"),
        (lambda record: record.update(stage="metrics"), "stage"),
        (lambda record: record["key"].update(fit="another"), "hash of its key"),
        (
            lambda record: record["dataset"].update(n_test="many"),
            'n_test is "many" in its section, 2000 in the key',
        ),
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


def edited(folder, edit):
    record = json.loads((folder / "record.json").read_text())
    edit(record)
    (folder / "record.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("section", "field", "value", "told"),
    [
        ("dataset", "name", "splice", 'dataset.name is "splice" in its section, "usps" in the key of its id'),
        ("dataset", "digest", "f" * 64, "dataset.digest is "),
        ("dataset", "n_train", 7, "dataset.n_train is 7 in its section, 6000 in the key"),
        ("method", "name", "arml", 'method.name is "arml" in its section, "nca" in the key'),
        ("method", "params", {"max_iter": 9}, 'method.params is {"max_iter":9} in its section, {} in the key'),
        ("method", "random_state", 7, "method.random_state is 7 in its section, 42 in the key"),
        ("metric", "digest", "f" * 64, "metric.digest is "),
        ("metric", "id", "f" * 64, "metric.id is "),
        ("metric", "fit_report", {"converged": True}, "fit_report.converged is true in its section, null in the key"),
        ("metric", "fit_report", {"n_fit_samples": 6000}, "fit_report.n_fit_samples is 6000 in its section, null in"),
        ("evaluation", "name", "exact_knn", 'evaluation.name is "exact_knn" in its section, "exact_1nn" in the key'),
        ("evaluation", "kind", "certified", 'evaluation.kind is "certified" in its section, "exact" in the key'),
        ("evaluation", "k", 3, "evaluation.k is 3 in its section, 1 in the key"),
        ("evaluation", "n_eval", None, "evaluation.n_eval is null in its section, 2 in the key"),
        ("evaluation", "seed", 7, "evaluation.seed is 7 in its section, 42 in the key"),
        ("evaluation", "box", [0.0, 1.0], "evaluation.box is [0.0,1.0] in its section, null in the key"),
        ("evaluation", "event", "majority", 'evaluation.event is "majority" in its section, nothing in the key'),
        ("evaluation", "norm", "inf", 'evaluation.norm is "inf" in its section, nothing in the key'),
        ("evaluation", "start", "noise", 'evaluation.start is "noise" in its section, nothing in the key'),
        ("evaluation", "steps", 9, "evaluation.steps is 9 in its section, nothing in the key"),
        ("evaluation", "max_nodes", 9, "evaluation.max_nodes is 9 in its section, nothing in the key"),
        ("evaluation", "proofs", True, "evaluation.proofs is true in its section, nothing in the key"),
    ],
)
def test_a_section_that_contradicts_the_key_is_refused(runs, section, field, value, told):
    folder = write_radii(runs, "usps", "nca", np.ones(2))
    edited(folder, lambda record: record[section].update({field: value}))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]


def test_a_number_of_another_type_is_another_value(runs):
    folder = write_radii(runs, "usps", "nca", np.ones(2))
    edited(folder, lambda record: record["evaluation"].update(k=True))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert "evaluation.k is true in its section, 1 in the key" in warnings[0]


def test_the_grid_to_report_is_a_choice_and_in_no_key(runs):
    folder = write_radii(runs, "usps", "nca", np.ones(2))
    edited(folder, lambda record: record["evaluation"].update(radii=[0.0, 0.25]))
    [record] = read_radii_records(runs, pytest.fail)
    assert record.radii == (0.0, 0.25)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        ([1860, 353], "it lacks 1 (the first is row 1333 of the test part)"),
        ([1860, 353, 1333, 1289], "it has besides 1 (the first is row 1289 of the test part)"),
        ([1860, 353, 0], "it lacks 1 (the first is row 1333 of the test part) and has besides 1 (the first is row 0"),
        ([353, 1860, 1333], "in another order"),
    ],
)
def test_points_that_are_not_the_subset_the_key_names_are_refused(runs, index, told):
    write_radii(runs, "usps", "nca", np.ones(len(index)), n_eval=3, index=np.array(index))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]
    assert "the evaluation subset that the key names (n_eval=3, seed=42, 2000 test points)" in warnings[0]


def test_all_of_a_small_test_part_is_its_subset(runs):
    write_radii(runs, "usps", "nca", np.ones(5), n_eval=1000, n_test=5)
    [record] = read_radii_records(runs, pytest.fail)
    assert sorted(record.points["index"]) == list(range(5))


@pytest.mark.parametrize(
    ("evaluation", "more", "told"),
    [
        ("exact_1nn", {}, "a proof belongs to it, but witness.npz is not among the files it lists"),
        ("exact_knn", {"settings": {"proofs": True}}, "a proof belongs to it, but witness.npz is not among"),
    ],
)
def test_a_record_without_the_proof_that_belongs_to_it_is_refused(runs, evaluation, more, told):
    folder = write_radii(runs, "usps", "nca", np.ones(2), evaluation=evaluation, witness=True, **more)
    (folder / "witness.npz").unlink()
    edited(folder, lambda record: record["files"].pop("witness.npz"))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda record: record["files"].pop("points.csv"), "points.csv is not among the files it lists"),
        (lambda record: record["files"].update({"../x": "0"}), "lists '../x', which is not a file of its folder"),
        (lambda record: record.update(key=[]), "key, files and provenance must be objects"),
        (lambda record: record["key"].update(seed=float("nan")), "holds a number that is not finite"),
        (lambda record: record.update(provenance={}), "created must be str"),
        (lambda record: record["evaluation"].update(radii=[None]), "TypeError"),
    ],
)
def test_a_broken_description_is_named_and_the_others_are_read(runs, edit, told):
    sound = write_radii(runs, "usps", "arml", np.ones(2))
    edited(write_radii(runs, "usps", "nca", np.ones(2)), edit)
    warnings: list[str] = []
    assert [record.folder for record in read_radii_records(runs, warnings.append)] == [sound]
    assert told in warnings[0]


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({"certify.one_nn": 1}, f"certify.one_nn 1, now {VERSIONS['certify.one_nn']}"),
        ({"certify.one_nn": VERSIONS["certify.one_nn"] + 1}, f"now {VERSIONS['certify.one_nn']}"),
        ({"learners.none": 1}, "learners.none 1, now none"),
        ({"learners.baselines": True}, "learners.baselines True, now 1"),
    ],
)
def test_another_version_is_named_with_that_at_hand(runs, versions, told):
    write_radii(runs, "usps", "nca", np.ones(2), versions=versions)
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]
    [record] = read_radii_records(runs, pytest.fail, allow_old=True)
    assert told in record.outdated


def rewritten(folder, edit):
    """The record of another key: ``edit`` changes the description, and the record gets the id that goes with it."""
    record = json.loads((folder / "record.json").read_text())
    edit(record)
    (folder / "record.json").unlink()
    content = {name: value for name, value in record.items() if name not in ("schema", "id", "stage", "key", "files")}
    return write_record(folder, "radii", folder.name.rpartition("-")[0], record["key"], content)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda key: key.pop("metric"), "record.json has no section 'metric', or its key has none"),
        (lambda key: key["dataset"].pop("n_test"), "dataset.n_test is 2000 in its section, nothing in the key"),
        (lambda key: key.pop("holds"), "record.json has no section 'holds', or its key has none"),
        (lambda key: key["holds"].update(counts="upper"), 'holds.counts is "lower" in its section, "upper" in the key'),
        (lambda key: key.pop("versions"), "its key names no versions"),
    ],
)
def test_a_key_that_does_not_tell_what_the_record_says_is_refused(runs, edit, told):
    rewritten(write_radii(runs, "usps", "nca", np.ones(2)), lambda record: edit(record["key"]))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]


def held_as(**changes):
    def edit(record):
        for section in (record, record["key"]):
            section["holds"].update(changes)

    return edit


COLUMNS = [[name, kind] for name, kind in BOUNDS.items()]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"columns": [*COLUMNS, ["nodes", "int"]]}, "has columns index, label, prediction, lower, upper, status, the"),
        ({"columns": COLUMNS[::-1]}, "the record says status, upper, lower, prediction, label, index"),
        ({"columns": COLUMNS[1:]}, "a point has the columns index, label, prediction, status, and one that counts"),
        ({"columns": [[*COLUMNS[0], 1], *COLUMNS[1:]]}, "does not say what it holds"),
        ({"unit": "pair"}, "says that a row is a pair, not a point"),
        ({"unit": "planet"}, "does not say what it holds"),
        ({"counts": None}, "a point has the columns"),
        ({"proof": "proof.npz"}, "a proof belongs to it, but proof.npz is not among the files it lists"),
    ],
)
def test_a_record_that_holds_something_else_than_it_says_is_refused(runs, changes, told):
    rewritten(
        write_radii(runs, "usps", "nca", np.ones(2), evaluation="certified_knn", kind="certified"), held_as(**changes)
    )
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]


def test_columns_that_nobody_knows_are_read_as_declared(runs):
    folder = write_radii(runs, "usps", "nca", np.array([0.0, 1.5]))
    path = folder / "points.csv"
    heads = path.read_text().splitlines()
    path.write_text("\n".join([heads[0] + ",hardness,note", heads[1] + ",0.1,flat", heads[2] + ",inf,"]) + "\n")
    more = [*COLUMNS, ["hardness", "float"], ["note", "text"]]
    rewritten(folder, held_as(columns=more, claim="measured", counts="upper", proof=None))
    [record] = read_radii_records(runs, pytest.fail)
    assert record.points["hardness"].tolist() == [0.1, np.inf]
    assert record.points["note"].tolist() == ["flat", ""]
    assert (record.holds.claim, record.holds.counts, record.proofs) == ("measured", "upper", False)
    assert record.counted.tolist() == [0.0, 1.5]
    assert {"hardness", "note"} <= set(tidy([record]).columns)


@pytest.mark.parametrize(("radius", "told"), [("-0.5", "radius -0.5 in row 3 is"), ("nan", "radius nan in row 3 is")])
def test_what_counts_is_a_radius_in_whatever_column(runs, radius, told):
    folder = write_radii(runs, "usps", "nca", np.array([0.0, 1.5]))
    head, first, second = [line.split(",") for line in (folder / "points.csv").read_text().splitlines()]
    lines = [[*head[:3], "radius", "status"], [*first[:4], first[5]], [*second[:3], radius, second[5]]]
    (folder / "points.csv").write_text("\n".join(map(",".join, lines)) + "\n")
    columns = [*COLUMNS[:3], ["radius", "float"], COLUMNS[5]]
    rewritten(folder, held_as(columns=columns, claim="measured", counts="radius", proof=None))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert told in warnings[0]


def test_a_metric_of_before_can_still_be_read(tmp_path):
    for schema, name in ((1, "metric.json"), (SCHEMA, "metric.json"), (SCHEMA, "record.json")):
        key = {"seed": 1}
        content = {"schema": schema, "id": Address("metrics", "", key).id, "key": key, "files": {}, "provenance": {}}
        (tmp_path / name).write_text(json.dumps(content))
        assert read_description(tmp_path / name, content["id"])["schema"] == schema


def test_a_test_part_of_impossible_size_fills_no_memory(runs):
    write_radii(runs, "usps", "nca", np.ones(2), n_test=10**13, index=np.arange(2))
    warnings: list[str] = []
    assert read_radii_records(runs, warnings.append) == []
    assert "a test part of 10000000000000 rows is none that there is" in warnings[0]


def test_boundary_records_of_an_older_version_are_left_out(runs):
    write_boundary(runs, "nca", np.eye(2), resolution=5, versions={"evaluations.grid": 0})
    warnings: list[str] = []
    assert read_boundary_records(runs, warnings.append) == []
    at_hand = VERSIONS["evaluations.grid"]
    assert f"older version of the code (evaluations.grid 0, now {at_hand})" in warnings[0]
    [record] = read_boundary_records(runs, pytest.fail, allow_old=True)
    assert record.outdated == f"evaluations.grid 0, now {at_hand}"


def test_a_grid_that_contradicts_its_key_is_refused(runs):
    folder = write_boundary(runs, "euclidean", np.eye(2), resolution=5)
    edited(folder, lambda record: record["evaluation"].update(k=3))
    warnings: list[str] = []
    assert read_boundary_records(runs, warnings.append) == []
    assert "evaluation.k is 3 in its section, 1 in the key" in warnings[0]


@pytest.mark.parametrize(
    "changed",
    [
        {"prediction": np.zeros((5, 4), dtype=int)}, {"prediction": np.zeros(25, dtype=int)}, {"xx": np.zeros((5, 1))},
        {"yy": np.zeros((5, 1))}, {"yy": np.zeros(4)},
    ],
)  # fmt: skip
def test_a_grid_whose_axes_do_not_fit_is_refused(runs, changed):
    folder = write_boundary(runs, "euclidean", np.eye(2), resolution=5)
    with np.load(folder / "grid.npz") as stored:
        arrays = dict(stored) | changed
    np.savez(folder / "grid.npz", **arrays)
    digest = hashlib.sha256((folder / "grid.npz").read_bytes()).hexdigest()
    edited(folder, lambda record: record["files"].update({"grid.npz": digest}))
    warnings: list[str] = []
    assert read_boundary_records(runs, warnings.append) == []
    assert "grid.npz: prediction has shape" in warnings[0]


def test_of_the_users_own_records_those_count_that_the_ledger_does_not_have(runs, tmp_path):
    ledger = tmp_path / "ledger"
    one = write_radii(ledger, "usps", "arml", np.ones(2))
    write_radii(ledger, "usps", "nca", np.ones(2))
    # The same record, the same id with other radii, and one of its own.
    shutil.copytree(one, runs / "radii" / one.name)
    write_radii(runs, "usps", "nca", np.full(2, 2.0))
    write_radii(runs, "usps", "lmnn", np.ones(2))

    def told(where, own=runs):
        return [(record.method, record.local) for record in all_records(own, where, pytest.fail)]

    assert told(ledger) == [("arml", False), ("nca", False), ("lmnn", True), ("nca", True)]
    assert told(None) == [("arml", True), ("lmnn", True), ("nca", True)]
    assert told(ledger, tmp_path / "none") == [("arml", False), ("nca", False)]
