"""A new evaluation is one source file and one config file: nothing else needs to know of it, also not its reader."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from arml.datasets import load_dataset
from arml.experiments import app, families
from arml.experiments.errors import UsageError
from arml.experiments.families import EVALUATIONS, collect
from arml.experiments.overrides import jobs
from arml.experiments.pipeline import run
from arml.experiments.verify import Checker, Verdict
from arml.records.reader import RadiiRecord, read_radii_record, read_radii_records, tidy
from arml.reports.selection import TABLE1, TABLE2, choose_records
from arml.reports.tightness import comparisons

from .composing import CONFIGS

SOURCE = '''
"""How far the nearest training point of another class is, which bounds nothing and proves nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families.base import RADII, Evaluation, Inputs, point_settings, write_points
from arml.experiments.rules import ruled, Rule
from arml.records.contents import POINT, Contents


@dataclass
class NearestOtherConfig(EvaluationConfig):
    """Distance to the nearest training point of another class, times ``factor``."""

    name: str = "nearest_other"
    kind: str = "nearest_other"
    factor: float = ruled(1.0, Rule(lambda value: 0 < value <= 1, "a number above 0, at most 1"))


def contents(config: RunConfig) -> Contents:
    return Contents("point", "measured", {**POINT, "radius": "float"}, counts="radius")


def check(config: RunConfig) -> None:
    if config.k != 1:
        raise UsageError(f"k={config.k}: evaluation=nearest_other looks at one neighbour")


def compute(inputs: Inputs, folder: Path) -> None:
    index, X, y = inputs.points(inputs.config.n_eval)
    data = inputs.data
    predicted = inputs.classifier().predict(X)
    apart = np.linalg.norm(X[:, None] - data.X_train, axis=2)
    distance = np.where(data.y_train == y[:, None], np.inf, apart).min(axis=1)
    radius = np.where(predicted == y, inputs.config.evaluation.factor * distance, 0.0)
    status = np.where(predicted == y, "bounded", "misclassified")
    columns = {"index": index, "label": y, "prediction": predicted, "radius": radius, "status": status}
    write_points(inputs, folder, columns)


EVALUATIONS = (
    Evaluation(NearestOtherConfig, RADII, ("datasets.protocol",), contents, point_settings, compute, check),
)
'''
CONFIG = "defaults:\n  - /schema/evaluation@_here_: nearest_other\n"
REQUEST = ("dataset=toy", "evaluation=nearest_other", "n_eval=6", "seed=7", "device=cpu", "radii=[0,0.5]")


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of configurations with one more evaluation, whose module lies beside the package's own."""
    more = tmp_path / "more"
    more.mkdir()
    (more / "nearest_other.py").write_text(SOURCE)
    copied = Path(shutil.copytree(CONFIGS, tmp_path / "configs"))
    (copied / "evaluation" / "nearest_other.yaml").write_text(CONFIG)
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(more)])
    # As the package does when it is imported.
    for name, evaluation in collect(families.__path__).items():
        monkeypatch.setitem(EVALUATIONS, name, evaluation)  # type: ignore[arg-type]  # a dict underneath
    yield copied
    sys.modules.pop("arml.experiments.families.nearest_other", None)


@pytest.fixture
def record(configs: Path, tmp_path: Path) -> RadiiRecord:
    (job,) = jobs([*REQUEST, f"output.runs={tmp_path / 'runs'}"], configs, multirun=False)
    return read_radii_record(run(job.config).record.folder)


def test_it_is_run_from_the_command_line_and_found_again(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*REQUEST, f"output.runs={tmp_path / 'runs'}"]
    assert app.main(arguments, configs) == 0
    assert "toy euclidean nearest_other: clean error" in capsys.readouterr().out
    assert app.main(arguments, configs) == 0
    assert "found" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "radii").iterdir()
    assert folder.name.startswith("toy-euclidean-nearest_other-")


def test_its_record_says_what_it_holds_and_is_read_soundly(record: RadiiRecord) -> None:
    data = load_dataset("toy")
    X, y = data.evaluation_subset(6, seed=7)
    assert list(record.points.columns) == ["index", "label", "prediction", "status", "radius"]
    assert (record.holds.unit, record.holds.claim, record.holds.counts) == ("point", "measured", "radius")
    assert (record.evaluation, record.kind, record.proofs, record.outdated) == (
        "nearest_other",
        "nearest_other",
        False,
        "",
    )
    apart = [
        np.linalg.norm(data.X_train[data.y_train != label] - x, axis=1).min() for x, label in zip(X, y, strict=True)
    ]
    right = (record.points["prediction"] == record.points["label"]).to_numpy()
    np.testing.assert_allclose(record.counted, np.where(right, apart, 0.0), rtol=1e-12)
    described = json.loads((record.folder / "record.json").read_text())
    assert described["holds"] == described["key"]["holds"] == record.holds.described()


def test_its_settings_enter_its_identity_and_are_checked(configs: Path, tmp_path: Path, record: RadiiRecord) -> None:
    runs = f"output.runs={tmp_path / 'runs'}"
    (job,) = jobs([*REQUEST, runs, "evaluation.factor=0.5"], configs, multirun=False)
    half = run(job.config)
    assert half.record.folder != record.folder
    np.testing.assert_array_equal(read_radii_record(half.record.folder).counted, record.counted / 2)
    assert half.errors == {radius: float((record.counted / 2 <= radius).mean()) for radius in (0.0, 0.5)}
    for wrong, told in (
        ("k=3", "k=3: evaluation=nearest_other looks at one neighbour"),
        ("evaluation.factor=2", r"evaluation\.factor=2\.0: must be a number above 0, at most 1"),
        ("evaluation.box=[0,1]", r"evaluation\.box: unknown key for evaluation=nearest_other"),
        ("evaluation.kind=exact", "the kind of nearest_other is nearest_other"),
    ):
        with pytest.raises(UsageError, match=told):
            jobs([*REQUEST, wrong], configs, multirun=False)


def test_no_table_takes_it_and_a_recheck_has_nothing_to_prove(record: RadiiRecord) -> None:
    records = read_radii_records(record.folder.parents[1], pytest.fail)
    assert len(records) == 1
    for table in (TABLE1, TABLE2):
        assert choose_records(records, table) == ({}, [])
    assert comparisons(records) == []
    assert tidy(records)["radius"].tolist() == record.counted.tolist()
    assert Checker().check(record.folder).verdict is Verdict.UNPROVEN
