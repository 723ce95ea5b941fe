"""The evaluations behind Table 2: how they are asked for, what they leave behind, what their identity depends on."""

import csv
import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from arml.attacks import AttackResult
from arml.attacks import run as attacks
from arml.datasets import load_dataset
from arml.experiments.config import METHODS, DatasetConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families import EVALUATIONS
from arml.experiments.families.attacks import attacked_points
from arml.experiments.pipeline import Outcome, evaluation_address, run
from arml.experiments.verify import Checker, Verdict
from arml.neighbors import MahalanobisKNN
from arml.records.contents import ATTACK, BOUNDS, SEARCH
from arml.records.reader import read_radii_record
from arml.reports.published import paper_radii

from .composing import CONFIGS, compose_jobs, compose_run

ATTACKS = ("local_search", "boundary", "hopskipjump")
SMALL = ("dataset=digits", "k=11", "n_eval=8", "seed=7", "device=cpu")


def evaluation_id(config: RunConfig) -> str:
    dataset = {"name": config.dataset.name, "digest": "d" * 64, "n_test": 1000}
    return evaluation_address(config, dataset, {"digest": "e" * 64, "id": "f" * 64, "fit_report": {}}).id


def points(outcome: Outcome) -> list[dict[str, str]]:
    with (outcome.record.folder / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(outcome: Outcome, name: str) -> list[float]:
    return [float(row[name]) for row in points(outcome)]


@pytest.fixture(scope="module")
def classifier() -> tuple[MahalanobisKNN, np.ndarray, np.ndarray]:
    data = load_dataset("digits")
    return MahalanobisKNN(11).fit(data.X_train, data.y_train), *data.evaluation_subset(8, seed=7)


@pytest.mark.parametrize(
    ("name", "kind", "rest"),
    [
        ("certified_knn", "certified", {"norm": "2"}),
        ("exact_knn", "exact", {"event": "plurality", "max_nodes": 200_000, "proofs": False, "box": None}),
        ("local_search", "local_search", {"box": None}),
        ("boundary", "boundary", {"steps": 25_000, "start": None, "box": [0.0, 1.0]}),
        ("hopskipjump", "hopskipjump", {"steps": 64, "start": None, "box": [0.0, 1.0]}),
    ],
)
def test_each_is_asked_for_by_its_name(name: str, kind: str, rest: dict[str, object]) -> None:
    config = compose_run(f"evaluation={name}", "k=11")
    assert dataclasses.asdict(config.evaluation) == {"name": name, "kind": kind, **rest}
    assert EVALUATIONS[name].stage == "radii"


def test_table_2_is_composed_with_the_papers_settings() -> None:
    swept = OmegaConf.load(CONFIGS / "experiment" / "table2.yaml").hydra.sweeper.params
    assert set(swept.dataset.split(",")) == set(paper_radii("table2"))
    assert set(swept.method.split(",")) == set(METHODS)
    for dataset, radii in paper_radii("table2").items():
        np.testing.assert_allclose(OmegaConf.load(CONFIGS / "dataset" / f"{dataset}.yaml").radii, radii)
    jobs = compose_jobs("experiment=table2", "dataset=usps", "method=euclidean", multirun=True)
    assert [job.config.evaluation.name for job in jobs] == ["certified_knn", "local_search", "boundary"]
    assert {(job.config.k, job.config.n_eval, job.config.seed) for job in jobs} == {(11, 1000, 42)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("evaluation=certified_knn k=4", "k=4: must be an odd"),
        ("evaluation=certified_knn evaluation.norm=3", r"evaluation\.norm=3: unknown value '3'\. Valid: 1, 2, inf"),
        ("evaluation=certified_knn evaluation.steps=3", r"evaluation\.steps: unknown key for evaluation=certified_knn"),
        ("evaluation=exact_knn k=1", "evaluation=exact_knn is for more neighbours"),
        ("evaluation=exact_knn k=3 evaluation.event=vote", r"evaluation\.event=vote: unknown value 'vote'"),
        ("evaluation=exact_knn k=3 evaluation.max_nodes=0", r"evaluation\.max_nodes=0: must be a whole number"),
        ("evaluation=local_search evaluation.steps=3", r"evaluation\.steps: unknown key for evaluation=local_search"),
        ("evaluation=local_search evaluation.box=[1,1]", r"evaluation\.box=.*: must be two finite numbers"),
        ("evaluation=boundary evaluation.steps=0", r"evaluation\.steps=0: must be a whole number of at least 1"),
        ("evaluation=hopskipjump evaluation.steps=-1", r"evaluation\.steps=-1: must be a whole number"),
        ("evaluation=boundary evaluation.box=[1,0]", r"evaluation\.box=.*: must be two finite numbers"),
        ("evaluation=hopskipjump evaluation.box=[0,2]", r"hopskipjump works in \[0, 1\] only; use evaluation=boundary"),
        ("evaluation=boundary evaluation.kind=exact", "the kind of boundary is boundary"),
        ("evaluation=boundry", r"unknown evaluation 'boundry'; did you mean 'boundary'\?"),
        ("dataset.attack_points=0", r"dataset\.attack_points=0: must be a whole number of at least 1"),
    ],
)
def test_a_wrong_request_is_explained(arguments: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose_jobs(*arguments.split())


def test_any_norm_and_box_that_make_sense_are_taken() -> None:
    for norm in ("1", "2", "inf"):
        config = compose_run("evaluation=certified_knn", f"evaluation.norm={norm}", "k=11")
        assert config.evaluation.norm == norm  # type: ignore[attr-defined]  # known by its schema
    config = compose_run("evaluation=boundary", "evaluation.box=[-1,2]", "evaluation.steps=5")
    assert (config.evaluation.box, config.evaluation.steps) == ([-1.0, 2.0], 5)  # type: ignore[attr-defined]  # as above


def test_the_certificate_is_recorded_to_the_last_digit(tmp_path: Path, classifier) -> None:
    knn, X, y = classifier
    for norm in ("2", "inf"):
        arguments = ("evaluation=certified_knn", f"evaluation.norm={norm}", f"output.runs={tmp_path}")
        outcome = run(compose_run(*SMALL, *arguments))
        assert list(points(outcome)[0]) == list(BOUNDS)
        bounds = knn.certified_radius(X, y, norm=float(norm))
        assert column(outcome, "lower") == bounds.lower.tolist()
        assert column(outcome, "upper") == bounds.upper.tolist()
        assert [row["status"] for row in points(outcome)] == bounds.status.tolist()
        assert column(outcome, "prediction") == knn.predict(X).tolist()
        assert outcome.errors == {radius: bounds.certified_error(radius) for radius in outcome.config.grid}
        record = read_radii_record(outcome.record.folder)
        assert (record.evaluation, record.kind, record.k, record.norm) == (
            "certified_knn",
            "certified",
            11,
            float(norm),
        )
        assert (record.box, record.steps) == (None, None)


def test_the_attack_is_recorded_with_its_perturbations(tmp_path: Path, classifier) -> None:
    knn, X, y = classifier
    outcome = run(compose_run(*SMALL, "evaluation=local_search", f"output.runs={tmp_path}"))
    assert list(points(outcome)[0]) == [*BOUNDS, *ATTACK]
    bounds = knn.attacked_radius(X, y)
    for name in ("lower", "upper", "majority", "queries"):
        assert column(outcome, name) == getattr(bounds, name).tolist()
    assert outcome.errors == {radius: bounds.empirical_error(radius) for radius in outcome.config.grid}
    with np.load(outcome.record.folder / "attack.npz", allow_pickle=False) as stored:
        perturbation = stored["perturbation"]
        assert stored["index"].tolist() == column(outcome, "index")
    np.testing.assert_allclose(np.linalg.norm(perturbation, axis=1), column(outcome, "upper"), rtol=1e-12)
    assert (knn.predict(X + perturbation) != y).all()
    record = read_radii_record(outcome.record.folder)
    assert (record.evaluation, record.kind, record.k) == ("local_search", "local_search", 11)
    assert (record.box, record.steps) == (None, None)
    assert (record.holds.claim, record.holds.counts, list(record.holds.columns)) == (
        "attacked",
        "upper",
        [*BOUNDS, *ATTACK],
    )
    settings = json.loads((outcome.record.folder / "record.json").read_text())["evaluation"]
    assert settings.get("box") is None


@pytest.mark.parametrize("proofs", [False, True])
def test_exact_radii_are_recorded_and_rechecked_from_the_record(tmp_path: Path, classifier, proofs: bool) -> None:
    knn, X, y = classifier
    arguments = ("evaluation=exact_knn", f"evaluation.proofs={proofs}", f"output.runs={tmp_path}")
    outcome = run(compose_run(*SMALL, *arguments))
    folder = outcome.record.folder
    assert list(points(outcome)[0]) == [*BOUNDS, *SEARCH]
    bounds = knn.exact_radius(X, y, max_nodes=200_000)
    for name in ("upper", "nodes"):
        assert column(outcome, name) == getattr(bounds, name).tolist()
    np.testing.assert_allclose(column(outcome, "lower"), bounds.lower, rtol=1e-6)
    record = read_radii_record(folder)
    assert (record.evaluation, record.kind, record.k, record.event) == ("exact_knn", "exact", 11, "plurality")
    assert (folder / "witness.npz").exists() == proofs
    assert (folder / "perturbation.npz").exists() != proofs
    assert record.proofs == proofs
    assert Checker().check(folder).verdict is (Verdict.CONFIRMED if proofs else Verdict.UNPROVEN)


def test_exact_radii_within_a_box_are_recorded_and_rechecked(tmp_path: Path, classifier) -> None:
    knn, X, y = classifier
    arguments = ("evaluation=exact_knn", "evaluation.proofs=true", f"output.runs={tmp_path}")
    outcome = run(compose_run(*SMALL, *arguments, "evaluation.box=[0,1]"))
    bounds = knn.exact_radius(X, y, max_nodes=200_000, box=(0.0, 1.0))
    assert column(outcome, "upper") == bounds.upper.tolist()
    assert read_radii_record(outcome.record.folder).box == (0.0, 1.0)
    assert Checker().check(outcome.record.folder).verdict is Verdict.CONFIRMED
    # Without a box none is named: a record's id is that from before there was one.
    free = run(compose_run(*SMALL, *arguments))
    assert "box" not in json.loads((free.record.folder / "record.json").read_text())["evaluation"]
    assert outcome.record.folder != free.record.folder


@pytest.mark.parametrize("name", ["certified_knn", "exact_knn", "local_search"])
def test_a_finished_run_is_found_without_computing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    arguments = ("dataset=toy", "k=3", "n_eval=5", "device=cpu", f"evaluation={name}", f"output.runs={tmp_path}")
    first = run(compose_run(*arguments))
    monkeypatch.setattr(MahalanobisKNN, "fit", None)
    again = run(compose_run(*arguments))
    assert not first.record.found
    assert again.record.found
    assert again.record.folder == first.record.folder
    assert again.errors == first.errors


def test_a_decision_based_attack_runs_on_as_many_points_as_the_dataset_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def nothing_found(knn: object, attack: str, X: np.ndarray, *rest: object) -> AttackResult:
        *_, box, seed, steps, _, _ = rest
        asked.update(attack=attack, points=len(X), box=box, seed=seed, steps=steps)
        failed = np.full(len(X), np.inf)
        return AttackResult(np.zeros(X.shape), failed, np.full(len(X), 9), majority_radius=failed)

    monkeypatch.setattr("arml.neighbors.run_attack", nothing_found)
    limited = (*SMALL, "dataset.attack_points=3", f"output.runs={tmp_path}")
    outcome = run(compose_run(*limited, "evaluation=boundary", "evaluation.steps=11"))
    rows = points(outcome)
    assert len(rows) == 3
    assert asked["attack"] == "boundary"
    assert (asked["box"], asked["seed"], asked["steps"]) == ((0.0, 1.0), 7, 11)
    assert asked["points"] == sum(row["status"] != "misclassified" for row in rows)
    right = [row for row in rows if row["status"] != "misclassified"]
    assert {(float(row["upper"]), int(row["queries"])) for row in right} == {(math.inf, 9)}
    assert [row["index"] for row in rows] == [str(i) for i in load_dataset("digits").evaluation_indices(3, seed=7)]
    record = read_radii_record(outcome.record.folder)
    assert (record.kind, record.box, record.steps) == ("boundary", (0.0, 1.0), 11)
    assert len(points(run(compose_run(*limited, "evaluation=local_search")))) == 8


@pytest.mark.parametrize("name", ATTACKS)
def test_the_limit_of_points_is_one_of_decision_based_attacks_and_in_their_identity(name: str) -> None:
    config = compose_run("dataset=mnist", f"evaluation={name}", "k=11")
    assert config.dataset.attack_points == 100

    def with_limit(limit: int | None) -> RunConfig:
        return dataclasses.replace(config, dataset=dataclasses.replace(config.dataset, attack_points=limit))

    if name == "local_search":
        assert attacked_points(config) == 1000
        assert evaluation_id(with_limit(50)) == evaluation_id(config)
    else:
        assert attacked_points(config) == 100
        assert evaluation_id(with_limit(50)) != evaluation_id(config)
        # The same hundred points, asked for in three ways.
        assert evaluation_id(with_limit(None)) != evaluation_id(config)
        fewer = dataclasses.replace(with_limit(None), n_eval=100)
        assert evaluation_id(fewer) == evaluation_id(config)
        assert evaluation_id(dataclasses.replace(config, n_eval=500)) == evaluation_id(config)
    assert attacked_points(dataclasses.replace(config, n_eval=20)) == 20
    assert attacked_points(dataclasses.replace(with_limit(None), n_eval=None)) is None
    certified = compose_run("dataset=mnist", "evaluation=certified_knn", "k=11")
    lifted = dataclasses.replace(certified, dataset=DatasetConfig("mnist", certified.dataset.radii, None))
    assert evaluation_id(lifted) == evaluation_id(certified)


def test_what_an_evaluation_depends_on_enters_its_identity() -> None:
    requests = [
        "evaluation=certified_knn k=11",
        "evaluation=certified_knn k=9",
        "evaluation=certified_knn k=11 evaluation.norm=1",
        "evaluation=local_search k=11",
        "evaluation=local_search k=11 evaluation.box=[0,1]",
        "evaluation=boundary k=11",
        "evaluation=boundary k=11 evaluation.steps=9",
        "evaluation=boundary k=11 evaluation.box=[0,2]",
        "evaluation=hopskipjump k=11",
    ]
    identities = {evaluation_id(compose_run("dataset=usps", *request.split())) for request in requests}
    assert len(identities) == len(requests)


def test_every_attack_that_can_be_configured_exists() -> None:
    assert set(ATTACKS) == set(attacks.ATTACKS)
    for name in ATTACKS:
        assert {"certify.knn_bound"} < set(EVALUATIONS[name].versions)
