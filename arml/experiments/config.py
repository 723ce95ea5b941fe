"""Schemas of a run's configuration: what each key is called, its type, its default and the values it accepts.

The dataclasses are registered with Hydra, which checks names and types while it composes a configuration;
`arml.experiments.checks` then checks the values against the rules that stand here beside each field. The values
themselves (grids of radii, settings of the papers) live in ``configs/``. A parameter of a method that is null keeps the
default of the library that learns it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

METHODS = ("euclidean", "nca", "lmnn", "itml", "lfda", "arml")
DATASETS = ("mnist", "fashion_mnist", "splice", "pendigits", "satimage", "usps", "digits", "toy")
DEVICES = ("auto", "cpu", "cuda")
STARTS = ("auto", "pca", "lda", "identity", "random")
LOSSES = ("hinge", "exponential", "logistic", "negative")


@dataclass(frozen=True)
class Rule:
    """Condition on a value, and the words for it in "must be ..."."""

    holds: Callable[[Any], bool]
    words: str
    choices: tuple[str, ...] = ()


def _ruled(default: Any, rule: Rule) -> Any:
    return field(default=default, metadata={"rule": rule})


def _one_of(default: str | None, choices: tuple[str, ...]) -> Any:
    return _ruled(default, Rule(lambda value: value in choices, f"one of {', '.join(choices)}", choices))


def _at_least(minimum: int, default: int | None = None) -> Any:
    return _ruled(default, Rule(lambda value: value >= minimum, f"a whole number of at least {minimum}"))


def _positive() -> Any:
    return _ruled(None, Rule(lambda value: 0 < value < math.inf, "a finite number above 0"))


def _is_grid(radii: list[float]) -> bool:
    finite = all(0 <= radius < math.inf for radius in radii)
    return bool(radii) and finite and all(a < b for a, b in pairwise(radii))


_GRID = Rule(_is_grid, "a non-empty list of finite numbers, none negative, each greater than the one before")
_ODD = Rule(lambda value: value >= 1 and value % 2 == 1, "an odd whole number of at least 1")
_SEED = Rule(lambda value: 0 <= value < 2**32, "a whole number from 0 to 2**32 - 1")
_NOT_NEGATIVE = Rule(lambda value: 0 <= value < math.inf, "a finite number, not negative")
_FRACTION = Rule(lambda value: 0 <= value <= 1, "a number from 0 to 1")
_BOX = Rule(
    lambda box: len(box) == 2 and -math.inf < box[0] < box[1] < math.inf,
    "two finite numbers [low, high] with low < high",
)


@dataclass
class DatasetConfig:
    """A dataset, and the radii at which the paper reports its robust errors.

    ``attack_points`` limits how many of the evaluated points the attacks that only ask for answers are run on, where
    each of them takes long; null is no limit.
    """

    name: str = _one_of(MISSING, DATASETS)
    radii: list[float] = field(default_factory=list, metadata={"rule": _GRID})
    attack_points: int | None = _at_least(1)


@dataclass
class MethodConfig:
    """What every method has; each method adds its own parameters."""

    name: str = MISSING


@dataclass
class EuclideanConfig(MethodConfig):
    """The identity: nothing is learned."""

    name: str = "euclidean"


@dataclass
class NCAConfig(MethodConfig):
    """Neighbourhood components analysis (metric-learn)."""

    name: str = "nca"
    init: str | None = _one_of(None, STARTS)
    n_components: int | None = _at_least(1)
    max_iter: int | None = _at_least(1)
    tol: float | None = _positive()
    fit_subset: int | None = _at_least(2)


@dataclass
class LMNNConfig(MethodConfig):
    """Large margin nearest neighbours (metric-learn)."""

    name: str = "lmnn"
    init: str | None = _one_of(None, STARTS)
    n_components: int | None = _at_least(1)
    n_neighbors: int | None = _at_least(1)
    min_iter: int | None = _at_least(0)
    max_iter: int | None = _at_least(1)
    learn_rate: float | None = _positive()
    regularization: float | None = _positive()
    convergence_tol: float | None = _positive()
    fit_subset: int | None = _at_least(2)


@dataclass
class ITMLConfig(MethodConfig):
    """Information-theoretic metric learning (metric-learn, supervised)."""

    name: str = "itml"
    prior: str | None = _one_of(None, ("identity", "covariance", "random"))
    gamma: float | None = _positive()
    max_iter: int | None = _at_least(1)
    tol: float | None = _positive()
    n_constraints: int | None = _at_least(1)


@dataclass
class LFDAConfig(MethodConfig):
    """Local Fisher discriminant analysis (metric-learn)."""

    name: str = "lfda"
    n_components: int | None = _at_least(1)
    k: int | None = _at_least(1)
    embedding_type: str | None = _one_of(None, ("weighted", "orthonormalized", "plain"))


@dataclass
class ARMLConfig(MethodConfig):
    """Adversarially robust metric learning, the paper's method."""

    name: str = "arml"
    loss: str | None = _one_of(None, LOSSES)
    max_iter: int | None = _at_least(1)
    learning_rate: float | None = _positive()
    n_neighbors: int | None = _at_least(1)
    batch_size: int | None = _at_least(1)
    n_components: int | None = _at_least(1)
    early_stopping: bool | None = None
    tol: float | None = _positive()
    patience: int | None = _at_least(1)
    refresh_tolerance: float | None = field(default=None, metadata={"rule": _FRACTION})
    max_refresh_interval: int | None = _at_least(1)


@dataclass
class FromFileConfig(MethodConfig):
    """A metric of the user's own, read from an .npz file with G ("components") or M."""

    name: str = "from_file"
    path: str | None = None


@dataclass
class EvaluationConfig:
    """What every evaluation has: its name, and the kind of its radii."""

    name: str = MISSING
    kind: str = MISSING


@dataclass
class Exact1NNConfig(EvaluationConfig):
    """Exact radii of the 1-NN classifier (Algorithm 2); ``box`` keeps perturbed points inside [low, high]."""

    name: str = "exact_1nn"
    kind: str = "exact"
    box: list[float] | None = field(default=None, metadata={"rule": _BOX})


@dataclass
class ExactKNNConfig(EvaluationConfig):
    """Exact radii for K > 1, by a search of at most ``max_nodes`` nodes a point; ``proofs`` are large, and off.

    ``box`` keeps perturbed points inside [low, high].
    """

    name: str = "exact_knn"
    kind: str = "exact"
    event: str = _one_of("plurality", ("plurality", "majority"))
    max_nodes: int = _at_least(1, 200_000)
    proofs: bool = False
    box: list[float] | None = field(default=None, metadata={"rule": _BOX})


@dataclass
class CertifiedKNNConfig(EvaluationConfig):
    """Proven lower bounds for any odd K (Theorem 1); ``norm`` is that of the perturbation."""

    name: str = "certified_knn"
    kind: str = "certified"
    norm: str = _one_of("2", ("2", "1", "inf"))


@dataclass
class LocalSearchConfig(EvaluationConfig):
    """White-box attack on K-NN; ``box`` keeps perturbed points inside [low, high]."""

    name: str = "local_search"
    kind: str = "local_search"
    box: list[float] | None = field(default=None, metadata={"rule": _BOX})


@dataclass
class DecisionBasedConfig(EvaluationConfig):
    """An attack that only asks for answers (foolbox), of so many steps, inside the box [low, high].

    It starts from the nearest training point of another class, or with ``start=noise`` as foolbox does by default.
    """

    steps: int = _at_least(1, 1)
    start: str | None = _one_of(None, ("training", "noise"))
    box: list[float] = field(default_factory=lambda: [0.0, 1.0], metadata={"rule": _BOX})


@dataclass
class BoundaryAttackConfig(DecisionBasedConfig):
    """Boundary Attack with foolbox's default settings, as in the paper."""

    name: str = "boundary"
    kind: str = "boundary"
    steps: int = _at_least(1, 25_000)


@dataclass
class HopSkipJumpConfig(DecisionBasedConfig):
    """HopSkipJump, a second attack of the same kind; it works inside [0, 1] only."""

    name: str = "hopskipjump"
    kind: str = "hopskipjump"
    steps: int = _at_least(1, 64)


@dataclass
class BoundaryGridConfig(EvaluationConfig):
    """Predictions on a regular grid over the plane of a two-dimensional dataset (Figure 1)."""

    name: str = "boundary_grid"
    kind: str = "grid"
    resolution: int = _at_least(2, 300)
    margin: float = field(default=0.1, metadata={"rule": _NOT_NEGATIVE})


@dataclass
class DataConfig:
    """Where datasets are looked for; null means $ARML_DATA, else ./data."""

    root: str | None = None
    download: bool = True


@dataclass
class OutputConfig:
    """Where records are kept."""

    runs: str = "results/runs"


@dataclass
class RunConfig:
    """One run: one dataset, one method, one evaluation."""

    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    k: int = field(default=1, metadata={"rule": _ODD})
    radii: list[float] | None = field(default=None, metadata={"rule": _GRID})
    n_eval: int | None = _at_least(1, 1000)
    seed: int = field(default=42, metadata={"rule": _SEED})
    device: str = _one_of("auto", DEVICES)
    threads: int | None = _at_least(1)
    data: DataConfig = field(default_factory=DataConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    @property
    def grid(self) -> list[float]:
        """The radii to report: the ones asked for, else the dataset's own."""
        return list(self.dataset.radii if self.radii is None else self.radii)


METHOD_SCHEMAS: Mapping[str, type[MethodConfig]] = {
    schema().name: schema
    for schema in (EuclideanConfig, NCAConfig, LMNNConfig, ITMLConfig, LFDAConfig, ARMLConfig, FromFileConfig)
}
EVALUATION_SCHEMAS: Mapping[str, type[EvaluationConfig]] = {
    schema().name: schema
    for schema in (
        Exact1NNConfig,
        ExactKNNConfig,
        CertifiedKNNConfig,
        LocalSearchConfig,
        BoundaryAttackConfig,
        HopSkipJumpConfig,
        BoundaryGridConfig,
    )
}


def parameters(section: MethodConfig | EvaluationConfig) -> dict[str, object]:
    """The parameters of a method or evaluation that were set: without its name, and without what is null."""
    values = {item.name: getattr(section, item.name) for item in fields(section) if item.name != "name"}
    return {name: value for name, value in values.items() if value is not None}


def register() -> None:
    """Make the schemas known to Hydra, as ``run_schema`` and the groups ``schema/method`` and ``schema/evaluation``."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunConfig)
    for name, method in METHOD_SCHEMAS.items():
        store.store(group="schema/method", name=name, node=method)
    for name, evaluation in EVALUATION_SCHEMAS.items():
        store.store(group="schema/evaluation", name=name, node=evaluation)
