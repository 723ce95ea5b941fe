"""A record made again: the same numbers, or how far off they are."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from arml.experiments import again
from arml.experiments.again import differences, find, make_again
from arml.experiments.app import main
from arml.experiments.errors import UsageError
from arml.records.format import canonical_json, sha256

CONFIGS = Path(__file__).parents[2] / "configs"
SETTINGS = ["device=cpu", "threads=1"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Records of the toy set: exact radii of two methods, and an attack."""
    root = tmp_path_factory.mktemp("runs")
    for asked in (
        ["method=euclidean", "n_eval=5", "seed=7"],
        ["method=itml", "n_eval=5", "method.max_iter=3"],
        ["method=euclidean", "evaluation=exact_knn", "k=3", "n_eval=6", "evaluation.max_nodes=50"],
    ):
        assert main(["dataset=toy", f"output.runs={root}", *SETTINGS, *asked], CONFIGS) == 0
    return root


def folder(root, text):
    [found] = [path for path in (root / "radii").iterdir() if text in path.name]
    return found


@pytest.mark.parametrize("name", ["toy-euclidean-exact_1nn", "toy-itml-exact_1nn", "toy-euclidean-exact_knn"])
def test_on_one_machine_every_number_is_the_same(made, name, capsys):
    assert main([f"from_record={folder(made, name)}", *SETTINGS], CONFIGS) == 0
    said = capsys.readouterr().out
    assert "every number the same to the last bit (with its metric)" in said


def test_without_its_metric_it_is_learned_again(made, tmp_path):
    shutil.copytree(made / "radii", tmp_path / "radii")
    done = make_again([f"from_record={folder(tmp_path, 'toy-itml')}", *SETTINGS], CONFIGS)
    assert done.metric == "metric learned again, the same"
    assert done.differences == ()


def test_a_record_is_found_by_the_digits_of_its_id(made, monkeypatch):
    path = folder(made, "toy-itml")
    monkeypatch.setattr(again, "ROOTS", (str(made), "nowhere"))
    assert find(path.name.rpartition("-")[2], [made]) == path
    assert find(path.name.rpartition("-")[2][:8], [made]) == path
    assert make_again([f"from_record={path.name[-12:]}", *SETTINGS], CONFIGS).n_points == 5
    for wrong in ("abc", "0" * 12, "*" * 12, str(made)):
        with pytest.raises(UsageError, match="no folder of a record, and no id"):
            find(wrong, [made])


def test_other_numbers_are_told_and_end_in_an_error(made, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "runs")
    path = folder(tmp_path / "runs", "toy-euclidean-exact_knn")
    points = pd.read_csv(path / "points.csv")
    points["nodes"] += 1
    points.to_csv(path / "points.csv", index=False, lineterminator="\n")
    content = json.loads((path / "record.json").read_text())
    content["files"]["points.csv"] = sha256(path / "points.csv")
    (path / "record.json").write_text(json.dumps(content))
    assert main([f"from_record={path}", *SETTINGS], CONFIGS) == 1
    assert "nodes differs on 6 (with its metric)" in capsys.readouterr().out


def test_a_damaged_record_is_not_made_again(made, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "runs")
    path = folder(tmp_path / "runs", "toy-itml")
    (path / "points.csv").unlink()
    assert main([f"from_record={path}"], CONFIGS) == 2
    assert "cannot be made again: points.csv is missing" in capsys.readouterr().err


def test_a_metric_of_the_users_own_is_to_be_given(made):
    key = json.loads((folder(made, "toy-itml") / "record.json").read_text())["key"]
    assert canonical_json(key["method"]["params"]) == '{"max_iter":3}'
    with pytest.raises(UsageError, match=r"by giving its method.path"):
        again.overrides_of(key | {"method": {"name": "from_file", "params": {}}})


def test_differences_say_how_far_apart_the_numbers_are():
    old = pd.DataFrame({"index": [4, 7, 9], "lower": [1.0, 2.0, np.inf], "status": ["exact", "exact", "unreachable"]})
    assert differences(old, old.copy()) == []
    new = old.assign(lower=[1.0, 2.0 * (1 + 1e-9), np.inf], status=["exact", "bounded", "unreachable"])
    assert differences(old, new) == [
        "lower differs on 1, by at most 1.0e-09 relative (test point 7)",
        "status differs on 1",
    ]
    assert differences(old, old[:2]) == ["2 points now"]
    assert "by at most nan" in differences(old, old.assign(lower=[np.inf, np.nan, np.inf]))[0]
