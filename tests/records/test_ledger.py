import gzip
import json
import shutil

import numpy as np
import pytest

from arml.records import ledger as module
from arml.records.format import DamagedRecordError
from arml.records.ledger import RefusedError, folders, publish
from arml.records.reader import read_radii_record, read_radii_records
from tests.records.synthetic import write_kind, write_radii

RADII = np.array([0.0, 0.1 + 0.2, 1 / 3, np.inf])
STATUS = ["misclassified", "exact", "exact", "unreachable"]


@pytest.fixture
def ledger(tmp_path):
    return tmp_path / "ledger"


def one(runs, **more):
    return write_radii(runs, "usps", "arml", RADII, status=STATUS, **more)


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def edit(folder, **provenance):
    path = folder / "record.json"
    content = json.loads(path.read_text())
    content["provenance"] |= provenance
    path.write_text(json.dumps(content))


def test_what_is_published_is_read_to_the_last_digit(runs, ledger):
    folder = one(runs)
    done = publish(folder, ledger, check=read_radii_record)
    assert done.new
    assert done.replaced == ()
    assert sorted(path.name for path in done.folder.iterdir()) == ["left_out.json", "points.csv.gz", "record.json"]
    assert (done.folder / "record.json").read_bytes() == (folder / "record.json").read_bytes()
    [mine], [theirs] = (
        read_radii_records(root, pytest.fail, local=local) for root, local in ((runs, True), (ledger, False))
    )
    assert mine.points.equals(theirs.points)
    assert (mine.local, theirs.local) == (True, False)
    assert list(folders(ledger)) == [done.folder]


def test_the_same_record_is_the_same_files(runs, tmp_path):
    folder = one(runs)
    for name in ("a", "b"):
        publish(folder, tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    again = publish(folder, tmp_path / "a")
    assert not again.new
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_proofs_are_taken_along_where_that_is_asked_for(runs, ledger):
    done = publish(one(runs), ledger, keep=["witness.npz"])
    assert (done.folder / "witness.npz").is_file()
    assert not (done.folder / "left_out.json").exists()


@pytest.mark.parametrize(("dirty", "words"), [(True, "differs from its commit"), (None, "nobody knows")])
def test_code_that_differs_from_its_commit_is_refused(runs, ledger, dirty, words):
    folder = one(runs)
    edit(folder, git_dirty=dirty)
    with pytest.raises(RefusedError, match=words):
        publish(folder, ledger)
    assert not ledger.exists()
    assert publish(folder, ledger, allow=["dirty"]).new


def test_older_code_is_refused(runs, ledger):
    folder = one(runs, versions={"certify.one_nn": 1})
    with pytest.raises(RefusedError, match=r"an older version of the code \(certify.one_nn 1, now"):
        publish(folder, ledger)
    assert publish(folder, ledger, allow=["old"]).new


def test_less_effort_is_refused_and_more_replaces(runs, ledger):
    few, many = (write_kind(runs, "usps", "arml", "certified", np.ones(n)) for n in (20, 50))
    first = publish(few, ledger)
    better = publish(many, ledger)
    assert better.replaced == (first.folder,)
    assert list(folders(ledger)) == [better.folder]
    with pytest.raises(RefusedError, match="with less effort"):
        publish(few, ledger)
    assert publish(few, ledger, allow=["smaller"]).replaced == (better.folder,)


def test_newer_code_replaces_older_whatever_its_effort(runs, ledger):
    old = write_kind(runs, "usps", "arml", "certified", np.ones(50), versions={"certify.knn_bound": 1})
    publish(old, ledger, allow=["old"])
    new = publish(write_kind(runs, "usps", "arml", "certified", np.ones(20)), ledger)
    assert list(folders(ledger)) == [new.folder]


def test_another_question_replaces_nothing(runs, ledger):
    asked = [
        one(runs),
        one(runs, box=[0.0, 1.0]),
        one(runs, seed=7),
        one(runs, params={"loss": "hinge"}),
        write_radii(runs, "usps", "nca", RADII, status=STATUS),
        write_radii(runs, "splice", "arml", RADII, status=STATUS),
        write_kind(runs, "usps", "arml", "certified", np.ones(4)),
    ]
    for folder in asked:
        assert publish(folder, ledger).replaced == ()
    assert len(list(folders(ledger))) == len(asked)


def test_the_same_record_with_other_numbers_is_refused(runs, ledger, tmp_path):
    publish(one(runs), ledger)
    other = write_radii(tmp_path / "elsewhere", "usps", "arml", RADII / 2, status=STATUS)
    with pytest.raises(RefusedError, match="the same record with other numbers"):
        publish(other, ledger)


def test_a_damaged_record_is_not_published(runs, ledger):
    folder = one(runs)
    (folder / "points.csv").write_text((folder / "points.csv").read_text().replace("exact", "bounded", 1))
    with pytest.raises(DamagedRecordError, match=r"points.csv was changed"):
        publish(folder, ledger)
    assert not ledger.exists()


def test_interrupted_nothing_of_it_is_there(runs, ledger, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        publish(one(runs), ledger)
    assert tree(ledger) == {}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("points.csv.gz", b"no gzip", "cannot be uncompressed"),
        ("points.csv.gz", gzip.compress(b"index\n"), "points.csv was changed"),
        ("left_out.json", b'["points.csv"]', "names other files"),
        ("left_out.json", b'{"witness.npz": 1}', "names other files"),
        ("left_out.json", b"[", "is not JSON"),
    ],
)
def test_a_damaged_ledger_is_refused_in_words(runs, ledger, name, content, words):
    done = publish(one(runs), ledger)
    (done.folder / name).write_bytes(content)
    warnings = []
    assert read_radii_records(ledger, warnings.append, local=False) == []
    assert words in warnings[0]


def test_outside_of_the_ledger_no_proof_is_left_out(runs, ledger):
    """Or whoever doubles the radii and deletes the proof would only have to say so."""
    publish(one(runs), ledger)
    warnings = []
    assert read_radii_records(ledger, warnings.append, local=True) == []
    assert "does without witness.npz, as the ledger alone may" in warnings[0]
    assert len(read_radii_records(ledger, pytest.fail, local=False)) == 1


def test_what_was_written_is_read_again_before_it_is_called_published(runs, ledger, monkeypatch):
    monkeypatch.setattr(module, "write_text", lambda path, text: path.write_text('["points.csv"]'))
    with pytest.raises(DamagedRecordError, match="names other files"):
        publish(one(runs), ledger)


def test_what_is_larger_than_any_record_is_not_uncompressed(runs, ledger, monkeypatch):
    done = publish(one(runs), ledger)
    monkeypatch.setattr("arml.records.format._LARGEST", 10)
    with pytest.raises(DamagedRecordError, match="is larger than"):
        read_radii_record(done.folder)


def test_points_that_are_not_there_are_missing(runs, ledger):
    done = publish(one(runs), ledger)
    (done.folder / "points.csv.gz").unlink()
    with pytest.raises(DamagedRecordError, match=r"points.csv is missing"):
        read_radii_record(done.folder)
    shutil.rmtree(done.folder)
    assert read_radii_records(ledger, pytest.fail) == []
