"""Edges of what reports take and say."""

from pathlib import Path

import pytest

from arml.records.files import parse_csv, write_bytes
from arml.records.format import DamagedRecordError
from arml.records.integrity import outdated
from arml.reports import claims
from arml.reports.check import compare_claims
from arml.reports.claims import load_reasons, make_claims
from arml.versions import VERSIONS, metric_versions, record_versions


def key(**changes):
    made = {
        "versions": dict(record_versions("arml", ["certify.one_nn"])), "method": {"name": "arml"},
        "evaluation": {"name": "exact_1nn"},
    }  # fmt: skip
    return made | changes


def test_a_key_of_the_versions_at_hand_is_not_outdated():
    assert outdated(key()) == ""


@pytest.mark.parametrize("versions", [None, [1], {}])
def test_a_key_without_versions_is_refused(versions):
    with pytest.raises(DamagedRecordError, match="names no versions"):
        outdated(key(versions=versions))


def test_versions_that_differ_are_named_with_both():
    versions = dict(record_versions("arml", ["certify.one_nn"]))
    for name, now in versions.items():
        assert outdated(key(versions=versions | {name: now - 1})) == f"{name} {now - 1}, now {now}"
        # A number that only looks the same.
        assert name in outdated(key(versions=versions | {name: float(now)}))
    for name, now in metric_versions("arml").items():
        left = {other: value for other, value in versions.items() if other != name}
        assert outdated(key(versions=left)) == f"{name} none, now {now}"
    assert outdated(key(versions=versions | {"more": 1})) == "more 1, now none"
    assert outdated(key(versions=versions | {"more": 1, "certify.one_nn": 0})).count(", now ") == 2


def test_a_record_of_any_evaluation_is_judged_by_the_stages_it_names():
    for stages in ([], ["certify.knn_bound"], list(VERSIONS)):
        versions = record_versions("arml", stages)
        assert outdated(key(versions=versions, evaluation={"name": "not yet known"})) == ""


def test_cells_that_stay_as_they_were_are_in_no_list(usps_table):
    made = make_claims(usps_table, load_reasons("table1"))
    comparison = compare_claims(made, made)
    assert (comparison.worse, comparison.vanished, comparison.improved) == ([], [], [])
    assert comparison.compared == len(made)
    assert comparison.passed


def test_reasons_have_their_columns_or_are_refused(monkeypatch, tmp_path):
    folder = tmp_path / "reasons"
    folder.mkdir()
    (folder / "toys.csv").write_text("dataset,why\nusps,because\n")
    monkeypatch.setattr(claims, "files", lambda _: tmp_path)
    with pytest.raises(ValueError, match=r"reasons/toys.csv must have the columns"):
        load_reasons("toys")


def test_a_table_of_a_header_alone_has_its_columns():
    frame = parse_csv("name,error\n", {"error": float})
    assert list(frame.columns) == ["name", "error"]
    assert len(frame) == 0


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self, target):
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(OSError, match="no space"):
        write_bytes(tmp_path / "new" / "table.md", b"text")
    assert list((tmp_path / "new").iterdir()) == []
