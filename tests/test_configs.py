"""Every configuration composes, is typed, and agrees with the code it configures; wrong requests are explained."""

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from arml.datasets import dataset_names
from arml.experiments.config import (
    DATASETS,
    LOSSES,
    METHOD_SCHEMAS,
    METHODS,
    ARMLConfig,
    LMNNConfig,
    NCAConfig,
    parameters,
)
from arml.experiments.errors import UsageError
from arml.experiments.families import EVALUATIONS
from arml.learners import ARML, make_learner
from arml.learners.baselines import ALGORITHMS, baseline_parameters
from arml.learners.losses import LOSSES as LOSS_FUNCTIONS
from arml.reports.published import paper_radii

from .experiments.composing import CONFIGS, compose_jobs, compose_run


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


@pytest.mark.parametrize("dataset", options("dataset"))
def test_every_dataset_composes_with_a_grid_of_six_radii(dataset: str) -> None:
    config = compose_run(f"dataset={dataset}")
    assert config.dataset.name == dataset
    assert len(config.grid) == 6
    assert config.grid[0] == 0


@pytest.mark.parametrize("method", [name for name in options("method") if name != "from_file"])
def test_every_method_composes_and_its_learner_is_built(method: str) -> None:
    config = compose_run(f"method={method}")
    assert type(config.method) is METHOD_SCHEMAS[method]
    learner = make_learner(method, parameters(config.method), random_state=config.seed, device="cpu")
    assert hasattr(learner, "fit")


@pytest.mark.parametrize("evaluation", options("evaluation"))
def test_every_evaluation_composes_and_exists(evaluation: str) -> None:
    config = compose_run(f"evaluation={evaluation}", "dataset=toy", "k=3" if evaluation == "exact_knn" else "k=1")
    assert type(config.evaluation) is EVALUATIONS[evaluation].schema


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_and_sweeps_over_the_six_methods(experiment: str) -> None:
    arguments = [f"experiment={experiment}", *(["dataset=usps"] if experiment.startswith("table") else [])]
    swept = compose_jobs(*arguments, multirun=True)
    evaluations = {job.config.evaluation.name for job in swept}
    for evaluation in evaluations:
        methods = [job.config.method.name for job in swept if job.config.evaluation.name == evaluation]
        assert sorted(methods) == sorted(METHODS)
    several = {"table2": {"certified_knn", "local_search", "boundary"}}
    assert evaluations == several.get(experiment, evaluations)
    assert experiment in several or len(evaluations) == 1
    assert {(job.config.k, job.config.seed) for job in swept} == {(11 if experiment == "table2" else 1, 42)}


@pytest.mark.parametrize("special", sorted((CONFIGS / "experiment").glob("*/*.yaml")), ids=lambda path: path.stem)
def test_what_an_experiment_changes_in_one_method_reaches_that_method(special: Path) -> None:
    config = compose_run(f"experiment={special.parent.name}", f"method={special.stem}")
    for name, value in OmegaConf.load(special).items():
        assert getattr(config.method, str(name)) == value


def test_the_groups_are_what_the_code_offers() -> None:
    assert options("dataset") == sorted(DATASETS) == sorted(dataset_names())
    assert options("method") == sorted(METHOD_SCHEMAS) == sorted([*METHODS, "from_file"])
    assert options("evaluation") == list(EVALUATIONS)


def test_the_schemas_know_only_parameters_that_the_learners_take() -> None:
    for name, schema in METHOD_SCHEMAS.items():
        own = set(vars(schema())) - {"name", "path"}
        if name == "arml":
            assert own <= set(ARML().get_params())
        elif name in ALGORITHMS:
            assert own <= set(baseline_parameters(name))
        else:
            assert not own
    assert set(LOSSES) == set(LOSS_FUNCTIONS)


def test_the_settings_of_the_paper() -> None:
    for dataset, radii in paper_radii("table1").items():
        np.testing.assert_allclose(OmegaConf.load(CONFIGS / "dataset" / f"{dataset}.yaml").radii, radii)
    swept = OmegaConf.load(CONFIGS / "experiment" / "table1.yaml").hydra.sweeper.params
    assert set(swept.dataset.split(",")) == set(paper_radii("table1"))
    config = compose_run("experiment=table1", "dataset=usps", "method=arml")
    assert (config.k, config.evaluation.name, config.n_eval, config.seed) == (1, "exact_1nn", 1000, 42)
    assert isinstance(config.method, ARMLConfig)
    assert (config.method.loss, config.method.max_iter, config.method.learning_rate) == ("negative", 1000, 1e-3)
    assert config.method.n_neighbors == 10


def test_quadratic_baselines_are_fitted_on_a_subset_by_default() -> None:
    for method, schema in (("nca", NCAConfig), ("lmnn", LMNNConfig)):
        config = compose_run(f"method={method}")
        assert isinstance(config.method, schema)
        assert config.method.fit_subset == 10_000


def test_a_glob_over_methods_is_the_six_learned_ones() -> None:
    swept = compose_jobs("method=glob(*)", "dataset=toy", multirun=True)
    assert sorted(job.config.method.name for job in swept) == sorted(METHODS)


def test_the_grid_can_be_given() -> None:
    assert compose_run("radii=[0,0.25,3]").grid == [0.0, 0.25, 3.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("kk=3", r"kk: unknown key; did you mean 'k'\? Valid: data, dataset, device"),
        ("method=arml method.los=hinge", r"method\.los: unknown key for method=arml; did you mean 'method\.loss'"),
        ("method.max_iter=3", r"method\.max_iter: unknown key for method=euclidean. Valid: method\.name"),
        ("data.rot=x", r"data\.rot: unknown key; did you mean 'data\.root'"),
        ("k.x=3", "k is a single value"),
        ("+foo=1", "keys cannot be added"),
        ("~k", "keys cannot be added or deleted"),
        ("method=armll", r"method=armll: unknown method 'armll'; did you mean 'arml'\? Valid: arml, euclidean"),
        ("dataset=minst", r"dataset=minst: unknown dataset 'minst'; did you mean 'mnist'\? Valid: digits"),
        ("evaluation=exact", r"unknown evaluation 'exact'; did you mean 'exact_(1nn|knn)'\?"),
        ("experiment=tabel1", r"unknown experiment 'tabel1'; did you mean 'table1'\?"),
        ("method=null", "unknown method 'null'"),
        ("method=arml method.loss=negativ", r"method\.loss=negativ: .*did you mean 'negative'\? Valid: exponential"),
        ("method=arml method.max_iter=0", r"method\.max_iter=0: must be a whole number of at least 1"),
        ("method=arml method.learning_rate=nan", r"method\.learning_rate=nan: must be a finite number above 0"),
        ("method.name=arml", "choose a method with method=NAME"),
        ("dataset.name=minst", r"dataset\.name=minst: unknown value 'minst'; did you mean 'mnist'"),
        ("k=4", "k=4: must be an odd whole number of at least 1"),
        ("k=-1", "k=-1: must be an odd"),
        ("k=three", "k=three: must be an odd"),
        ("k=null", "k=null: must be an odd"),
        ("k=11", "k=11: evaluation=exact_1nn is exact for one neighbour only; use evaluation=exact_knn, or k=1"),
        ("radii=[0,-0.1]", r"radii=\[0\.0, -0\.1\]: must be a non-empty list"),
        ("radii=[0,0.2,0.1]", "each greater than the one before"),
        ("radii=[]", "non-empty"),
        ("radii=[0,.inf]", "finite"),
        ("radii=0.5", "radii=0.5: must be a non-empty list"),
        ("n_eval=0", "n_eval=0: must be a whole number of at least 1"),
        ("seed=-1", "seed=-1: must be a whole number from 0"),
        ("threads=0", "threads=0: must be"),
        ("device=gpu", r"device=gpu: unknown value 'gpu'; did you mean 'cpu'\? Valid: auto, cpu, cuda"),
        ("method=from_file", r"method=from_file needs method\.path=FILE\.npz"),
        ("method=from_file method.path=/nowhere/m.npz", r"method\.path=/nowhere/m\.npz: no such file"),
        (f"data.root={__file__}", "not a folder"),
        ("data.root=/nowhere data.download=false", "no such folder"),
        (f"output.runs={__file__}/runs", r"output\.runs=.*: not a folder"),
        ("evaluation=boundary_grid", "dataset=digits: evaluation=boundary_grid draws a plane"),
        ("evaluation.box=[1,0]", r"evaluation\.box=\[1\.0, 0\.0\]: must be two finite numbers"),
        ("evaluation.kind=certified", "the kind of exact_1nn is exact"),
        ("dataset=usps,mnist", "names several values of dataset; add -m"),
        ("k=[", "cannot read"),
    ],
)
def test_a_wrong_request_is_explained(arguments: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        compose_jobs(*arguments.split())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("dataset=toy method=euclidean,armll", "unknown method 'armll'"),
        ("dataset=toy k=1,3", "k=3: evaluation=exact_1nn"),
        ("dataset=toy method=glob(q*)", "matches nothing"),
        ("dataset=toy method=euclidean,lfda method.k=3", r"method\.k: unknown key for method=euclidean"),
    ],
)
def test_a_sweep_is_refused_when_one_of_its_runs_is_wrong(arguments: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compose_jobs(*arguments.split(), multirun=True)


def test_the_data_root_of_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARML_DATA", __file__)
    with pytest.raises(UsageError, match=r"ARML_DATA=.*: not a folder"):
        compose_run()
