"""The pipeline: what a run leaves behind, what its identity depends on, and that nothing is computed twice."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from arml import versions
from arml.datasets import load_dataset
from arml.experiments import pipeline
from arml.experiments import provenance as provenance_module
from arml.experiments.config import FromFileConfig, RunConfig
from arml.experiments.families import EVALUATIONS
from arml.experiments.families.base import Inputs
from arml.experiments.pipeline import Outcome, evaluation_address, metric_address, run
from arml.geometry import InvalidMetricError
from arml.learners import arml as arml_learner
from arml.learners import load_metric, save_metric
from arml.neighbors import MahalanobisKNN
from arml.proofs import Claim, EntryProof
from arml.proofs import digest as digest_of
from arml.records.reader import read_boundary_record, read_radii_record

from .composing import compose_run

DATASET, METRIC = "d" * 64, "e" * 64
SIZES = {"n_train": 900, "n_test": 100, "n_features": 4, "n_classes": 2}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    runs = tmp_path_factory.mktemp("runs")
    return run(compose_run("dataset=toy", "n_eval=5", "seed=7", "device=cpu", f"output.runs={runs}"))


def points(outcome: Outcome) -> list[dict[str, str]]:
    with (outcome.record.folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_points_are_the_exact_radii_to_the_last_digit(outcome: Outcome) -> None:
    data = load_dataset("toy")
    X, y = data.evaluation_subset(5, seed=7)
    knn = MahalanobisKNN(n_neighbors=1).fit(data.X_train, data.y_train)
    bounds = knn.exact_radius(X, y)
    rows = points(outcome)
    assert [int(row["index"]) for row in rows] == data.evaluation_indices(5, seed=7).tolist()
    assert [int(row["label"]) for row in rows] == y.tolist()
    assert [int(row["prediction"]) for row in rows] == knn.predict(X).tolist()
    assert [float(row["lower"]) for row in rows] == bounds.lower.tolist()
    assert [float(row["upper"]) for row in rows] == bounds.upper.tolist()
    assert [row["status"] for row in rows] == bounds.status.tolist()
    assert outcome.errors == {radius: bounds.certified_error(radius) for radius in outcome.config.grid}
    assert outcome.clean_error == np.mean(knn.predict(X) != y)


def test_the_witness_reaches_the_radii_and_carries_the_certificate(outcome: Outcome) -> None:
    with np.load(outcome.record.folder / "witness.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    upper = [float(row["upper"]) for row in points(outcome)]
    np.testing.assert_allclose(np.linalg.norm(arrays["perturbation"], axis=1), upper, rtol=1e-12)
    claim = Claim.from_text(str(arrays["claim"]))
    data = load_dataset("toy")
    X, y = data.evaluation_subset(5, seed=7)
    assert (claim.n_neighbors, claim.norm, claim.box) == (1, 2.0, (-np.inf, np.inf))
    assert (claim.X, claim.y, claim.X_train) == (digest_of(X), digest_of(y), digest_of(data.X_train))
    assert len(EntryProof.from_arrays(claim, arrays)) == len(upper)


def test_the_record_says_what_it_is(outcome: Outcome) -> None:
    record = json.loads((outcome.record.folder / "record.json").read_text())
    assert (record["schema"], record["stage"]) == (2, "radii")
    assert record["dataset"]["name"] == "toy"
    assert record["dataset"]["digest"] == load_dataset("toy").digest
    assert record["method"] == {"name": "euclidean", "params": {}, "random_state": 7}
    settings = record["evaluation"]
    assert (settings["name"], settings["kind"], settings["k"]) == ("exact_1nn", "exact", 1)
    assert (settings["n_eval"], settings["seed"], settings["radii"]) == (5, 7, outcome.config.grid)
    assert record["holds"] == record["key"]["holds"]
    columns = {
        "index": "int",
        "label": "int",
        "prediction": "int",
        "lower": "float",
        "upper": "float",
        "status": "text",
    }
    assert record["holds"] == {
        "unit": "point", "claim": "proven", "columns": [[name, kind] for name, kind in columns.items()],
        "counts": "lower", "proof": "witness.npz", "alpha": None,
    }  # fmt: skip
    assert record["provenance"]["device"] == "cpu"
    assert outcome.record.folder.name == f"toy-euclidean-exact_1nn-{record['id'][:12]}"


def test_the_report_reads_the_record(outcome: Outcome) -> None:
    record = read_radii_record(outcome.record.folder)
    assert (record.dataset, record.method, record.kind, record.k) == ("toy", "euclidean", "exact", 1)
    assert len(record.points) == 5


def test_the_metric_is_kept_with_its_origin(outcome: Outcome) -> None:
    record = outcome.record.content
    (folder,) = (outcome.record.folder.parents[1] / "metrics").iterdir()
    described = json.loads((folder / "metric.json").read_text())
    assert described["id"] == record["metric"]["id"]
    assert load_metric(folder / "metric.npz").digest == described["metric"]["digest"] == record["metric"]["digest"]


def test_a_finished_run_is_found_without_computing(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MahalanobisKNN, "exact_radius", None)
    monkeypatch.setattr(pipeline, "make_learner", None)
    again = run(dataclasses.replace(outcome.config, radii=[0.0, 0.25]))
    assert again.record.found
    assert again.record.folder == outcome.record.folder
    assert list(again.errors) == [0.0, 0.25]
    assert "found" in again.summary


def test_a_metric_is_learned_once_for_all_evaluations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ["dataset=toy", "method=lfda", "device=cpu", f"output.runs={tmp_path}"]
    first = run(compose_run(*base, "n_eval=5"))
    monkeypatch.setattr(pipeline, "make_learner", None)
    second = run(compose_run(*base, "n_eval=6"))
    third = run(compose_run(*base, "evaluation=boundary_grid", "evaluation.resolution=15"))
    digests = {outcome.record.content["metric"]["digest"] for outcome in (first, second, third)}
    assert len(digests) == 1
    assert not second.record.found


def test_the_boundary_grid_is_the_classifiers_answer(tmp_path: Path) -> None:
    arguments = ["dataset=toy", "evaluation=boundary_grid", "evaluation.resolution=12", "k=3", "device=cpu"]
    outcome = run(compose_run(*arguments, f"output.runs={tmp_path}"))
    assert outcome.record.folder.parent.name == "boundary"
    assert outcome.record.folder.name.startswith("toy-euclidean-")
    grid = read_boundary_record(outcome.record.folder)
    knn = MahalanobisKNN(n_neighbors=3).fit(grid.X_train, grid.y_train)
    for i, j in ((0, 0), (3, 9), (11, 4)):
        assert grid.prediction[i, j] == knn.predict([[grid.xx[j], grid.yy[i]]])[0]
    assert grid.xx[0] < grid.X_train[:, 0].min()
    assert grid.yy[-1] > grid.X_train[:, 1].max()


def test_a_metric_of_ones_own_counts_by_its_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    G = np.array([[1.0, 0.5], [0.0, 2.0]])
    save_metric(first, G, {"by": "hand"})
    save_metric(second, G, {})
    base = ["dataset=toy", "method=from_file", "n_eval=10", "device=cpu", f"output.runs={tmp_path / 'runs'}"]
    outcome = run(compose_run(*base, f"method.path={first}"))
    assert run(compose_run(*base, f"method.path={second}")).record.folder == outcome.record.folder
    assert outcome.record.content["metric"]["fit_report"]["source_provenance"] == {"by": "hand"}
    save_metric(second, 2 * np.eye(2), {})
    assert run(compose_run(*base, f"method.path={second}")).record.folder != outcome.record.folder


def test_a_metric_of_another_dimension_is_refused_and_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "metric.npz"
    save_metric(path, np.eye(3), {})
    request = compose_run("dataset=toy", "method=from_file", f"method.path={path}", f"output.runs={tmp_path / 'runs'}")
    with pytest.raises(InvalidMetricError, match="3 features, the data have 2"):
        run(request)
    assert not list((tmp_path / "runs").glob("[!.]*/*"))


def test_an_interrupted_training_of_arml_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["dataset=toy", "method=arml", "method.max_iter=120", "n_eval=5", "device=cpu"]
    whole = run(compose_run(*arguments, f"output.runs={tmp_path / 'whole'}"))

    def interrupt(*args: object) -> None:
        save(*args)
        raise KeyboardInterrupt

    save = arml_learner.save_checkpoint
    monkeypatch.setattr(arml_learner, "save_checkpoint", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(compose_run(*arguments, f"output.runs={tmp_path / 'parts'}"))
    (checkpoint,) = (tmp_path / "parts" / ".checkpoints").iterdir()
    monkeypatch.setattr(arml_learner, "save_checkpoint", save)
    resumed = run(compose_run(*arguments, f"output.runs={tmp_path / 'parts'}"))
    assert resumed.record.content["metric"]["digest"] == whole.record.content["metric"]["digest"]
    assert not checkpoint.exists()


def test_a_finished_training_is_not_lost_before_its_metric_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = compose_run(
        "dataset=toy", "method=arml", "method.max_iter=7", "n_eval=5", "device=cpu", f"output.runs={tmp_path}"
    )

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "save_metric", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(request)
    (checkpoint,) = (tmp_path / ".checkpoints").iterdir()
    monkeypatch.setattr(arml_learner.Training, "run_epoch", interrupt)
    assert run(request).record.content["metric"]["fit_report"]["n_iter"] == 7
    assert not checkpoint.exists()


def test_threads_are_limited_for_one_run_only(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    outcome = run(compose_run("dataset=toy", "n_eval=5", "threads=1", "device=cpu", f"output.runs={tmp_path}"))
    assert outcome.record.content["provenance"]["threads"] == 1
    assert torch.get_num_threads() == before


def ids(
    config: RunConfig, dataset: str = DATASET, metric: str = METRIC, fit: dict[str, object] | None = None
) -> tuple[str, str]:
    described = {"name": config.dataset.name, "digest": dataset, **SIZES}
    learned = {"digest": metric, "id": "f" * 64, "fit_report": fit or {}}
    return metric_address(config, dataset).id, evaluation_address(config, described, learned).id


@pytest.fixture(scope="module")
def lmnn() -> RunConfig:
    return compose_run("dataset=usps", "method=lmnn")


def test_the_identity_does_not_depend_on_where_and_how_it_is_computed(lmnn: RunConfig) -> None:
    for change in (
        {"device": "cpu"},
        {"threads": 2},
        {"radii": [0.0, 9.0]},
        {"output": dataclasses.replace(lmnn.output, runs="elsewhere")},
        {"data": dataclasses.replace(lmnn.data, root="/elsewhere", download=False)},
    ):
        assert ids(dataclasses.replace(lmnn, **change)) == ids(lmnn)


def test_the_identity_depends_on_what_was_asked_for(lmnn: RunConfig) -> None:
    seed = dataclasses.replace(lmnn, seed=43)
    params = dataclasses.replace(lmnn, method=dataclasses.replace(lmnn.method, max_iter=7))
    for changed in (ids(seed), ids(params), ids(lmnn, dataset="f" * 64)):
        assert not set(changed) & set(ids(lmnn))
    box = dataclasses.replace(lmnn.evaluation, box=[0.0, 1.0])
    for changed in (
        ids(dataclasses.replace(lmnn, k=3)),
        ids(dataclasses.replace(lmnn, n_eval=10)),
        ids(dataclasses.replace(lmnn, evaluation=box)),
        ids(lmnn, metric="f" * 64),
        ids(lmnn, fit={"n_fit_samples": 10}),
    ):
        assert changed[0] == ids(lmnn)[0]  # the metric serves them all
        assert changed[1] != ids(lmnn)[1]


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("datasets.protocol", (True, True)),
        ("learners.baselines", (True, True)),
        ("learners.arml", (False, False)),
        ("certify.one_nn", (False, True)),
        ("certify.knn_exact", (False, False)),
    ],
)
def test_the_identity_depends_on_the_versions_of_the_stages_used(
    lmnn: RunConfig, monkeypatch: pytest.MonkeyPatch, stage: str, changes: tuple[bool, bool]
) -> None:
    before = ids(lmnn)
    monkeypatch.setattr(versions, "VERSIONS", {**versions.VERSIONS, stage: versions.VERSIONS[stage] + 1})
    assert tuple(now != then for now, then in zip(ids(lmnn), before, strict=True)) == changes


def test_the_version_of_arml_counts_for_arml(monkeypatch: pytest.MonkeyPatch) -> None:
    arml = compose_run("dataset=usps", "method=arml")
    before = ids(arml)
    newer = {**versions.VERSIONS, "learners.arml": versions.VERSIONS["learners.arml"] + 1}
    monkeypatch.setattr(versions, "VERSIONS", newer)
    assert not set(ids(arml)) & set(before)


def test_the_time_of_making_ready_is_recorded_beside_the_time_of_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "warm_up", lambda: 12.5)
    arguments = ("dataset=toy", "k=3", "n_eval=5", "device=cpu", "evaluation=certified_knn", f"output.runs={tmp_path}")
    made = run(compose_run(*arguments)).record.content["provenance"]
    assert made["warmup_seconds"] == 12.5
    assert made["wall_seconds"] < 12.5


def test_the_commit_is_that_of_the_start_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = provenance_module.CodeState("a" * 40, False)
    provenance_module.code_at_start.cache_clear()
    monkeypatch.setattr(provenance_module, "git_state", lambda package: state)

    def committed_meanwhile(inputs: Inputs, folder: Path) -> None:
        nonlocal state
        state = provenance_module.CodeState("b" * 40, True)
        certified.compute(inputs, folder)

    certified = EVALUATIONS["certified_knn"]
    slow = dataclasses.replace(certified, compute=committed_meanwhile)
    monkeypatch.setitem(EVALUATIONS, "certified_knn", slow)  # type: ignore[arg-type]  # a dict underneath
    arguments = ("dataset=toy", "k=3", "n_eval=5", "device=cpu", "evaluation=certified_knn", f"output.runs={tmp_path}")
    try:
        made = run(compose_run(*arguments)).record.content["provenance"]
    finally:
        provenance_module.code_at_start.cache_clear()
    assert state.commit == "b" * 40
    assert (made["git_commit"], made["git_dirty"]) == ("a" * 40, False)


def test_a_users_metric_is_told_apart_by_its_digest() -> None:
    config = dataclasses.replace(compose_run("dataset=toy"), method=FromFileConfig(path="a.npz"))
    moved = dataclasses.replace(config, method=FromFileConfig(path="b.npz"))
    assert metric_address(config, DATASET, "1" * 64).id == metric_address(moved, DATASET, "1" * 64).id
    assert metric_address(config, DATASET, "1" * 64).id != metric_address(config, DATASET, "2" * 64).id
