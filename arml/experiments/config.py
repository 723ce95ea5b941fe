"""Schemas of a run's configuration: what each key is called, its type, its default and the values it accepts.

The dataclasses are registered with Hydra (`arml.experiments.schemas`), which checks names and types while it composes a
configuration; `arml.experiments.checks` then checks the values against the rules that stand here beside each field. The
values themselves (grids of radii, settings of the papers) live in ``configs/``. A parameter of a method that is null
keeps the default of the library that learns it. The schema of an evaluation stands in its own file, with what it
computes: `arml.experiments.families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from omegaconf import MISSING

from arml.experiments.rules import FRACTION, GRID, ODD, SEED, at_least, one_of, positive, ruled

METHODS = ("euclidean", "nca", "lmnn", "itml", "lfda", "arml")
DATASETS = ("mnist", "fashion_mnist", "splice", "pendigits", "satimage", "usps", "digits", "toy")
DEVICES = ("auto", "cpu", "cuda")
STARTS = ("auto", "pca", "lda", "identity", "random")
LOSSES = ("hinge", "exponential", "logistic", "negative")


@dataclass
class DatasetConfig:
    """A dataset, and the radii at which the paper reports its robust errors.

    ``attack_points`` limits how many of the evaluated points the attacks that only ask for answers are run on, where
    each of them takes long; null is no limit.
    """

    name: str = one_of(MISSING, DATASETS)
    radii: list[float] = field(default_factory=list, metadata={"rule": GRID})
    attack_points: int | None = at_least(1)


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
    init: str | None = one_of(None, STARTS)
    n_components: int | None = at_least(1)
    max_iter: int | None = at_least(1)
    tol: float | None = positive()
    fit_subset: int | None = at_least(2)


@dataclass
class LMNNConfig(MethodConfig):
    """Large margin nearest neighbours (metric-learn)."""

    name: str = "lmnn"
    init: str | None = one_of(None, STARTS)
    n_components: int | None = at_least(1)
    n_neighbors: int | None = at_least(1)
    min_iter: int | None = at_least(0)
    max_iter: int | None = at_least(1)
    learn_rate: float | None = positive()
    regularization: float | None = positive()
    convergence_tol: float | None = positive()
    fit_subset: int | None = at_least(2)


@dataclass
class ITMLConfig(MethodConfig):
    """Information-theoretic metric learning (metric-learn, supervised)."""

    name: str = "itml"
    prior: str | None = one_of(None, ("identity", "covariance", "random"))
    gamma: float | None = positive()
    max_iter: int | None = at_least(1)
    tol: float | None = positive()
    n_constraints: int | None = at_least(1)


@dataclass
class LFDAConfig(MethodConfig):
    """Local Fisher discriminant analysis (metric-learn)."""

    name: str = "lfda"
    n_components: int | None = at_least(1)
    k: int | None = at_least(1)
    embedding_type: str | None = one_of(None, ("weighted", "orthonormalized", "plain"))


@dataclass
class ARMLConfig(MethodConfig):
    """Adversarially robust metric learning, the paper's method."""

    name: str = "arml"
    loss: str | None = one_of(None, LOSSES)
    max_iter: int | None = at_least(1)
    learning_rate: float | None = positive()
    n_neighbors: int | None = at_least(1)
    batch_size: int | None = at_least(1)
    n_components: int | None = at_least(1)
    early_stopping: bool | None = None
    tol: float | None = positive()
    patience: int | None = at_least(1)
    refresh_tolerance: float | None = ruled(None, FRACTION)
    max_refresh_interval: int | None = at_least(1)


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
    k: int = ruled(1, ODD)
    radii: list[float] | None = field(default=None, metadata={"rule": GRID})
    n_eval: int | None = at_least(1, 1000)
    seed: int = ruled(42, SEED)
    device: str = one_of("auto", DEVICES)
    threads: int | None = at_least(1)
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


def parameters(section: MethodConfig | EvaluationConfig) -> dict[str, object]:
    """The parameters of a method or evaluation that were set: without its name, and without what is null."""
    values = {item.name: getattr(section, item.name) for item in fields(section) if item.name != "name"}
    return {name: value for name, value in values.items() if value is not None}
