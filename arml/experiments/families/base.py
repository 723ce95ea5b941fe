"""What an evaluation is, and what the families share: their classifier, their points, the files they write.

No module of a family imports torch, pandas or a stage before it computes: they are read with every request, also one
that is turned down at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arml.experiments.config import EvaluationConfig, RunConfig, parameters
from arml.proofs import Proof
from arml.records.contents import Contents

if TYPE_CHECKING:
    from arml.datasets import Dataset
    from arml.learners import StoredMetric
    from arml.neighbors import MahalanobisKNN
    from arml.records.shards import Shards

#: Folder of the records of points, under the runs root.
RADII = "radii"


@dataclass(frozen=True)
class Inputs:
    """What an evaluation works on: the run's configuration, its dataset and metric, and the device to use.

    ``holds`` is what its record is to hold, ``shards`` where finished points of it are kept meanwhile, if they are.
    """

    config: RunConfig
    holds: Contents
    data: Dataset
    metric: StoredMetric
    device: str
    shards: Shards | None = None

    def classifier(self) -> MahalanobisKNN:
        """The K-NN classifier under the metric, with the training part of the dataset."""
        from arml.neighbors import MahalanobisKNN

        knn = MahalanobisKNN(n_neighbors=self.config.k, metric=self.metric, device=self.device)
        return knn.fit(self.data.X_train, self.data.y_train)

    def points(self, n_eval: int | None) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Rows of the test part (n,), points (n, d) and labels (n,) of the subset of ``n_eval`` points, or of all."""
        index = self.data.evaluation_indices(n_eval, self.config.seed)
        return index, *self.data.evaluation_subset(n_eval, self.config.seed)


def _anything(config: RunConfig) -> None:
    """No two values of a configuration contradict each other."""


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes
    ----------
    schema : its section of the configuration; the default of ``name`` is its name
    stage : folder of its records under the runs root, and their "stage"; `RADII` where a row is a point
    versions : names of the code stages in `arml.versions.VERSIONS` that its numbers come from, besides dataset and
        metric
    contents : what its record holds
    settings : what of the configuration it depends on besides dataset and metric; hashed into the record's id
    compute : writes the record's files into a folder; ``points.csv`` with exactly the columns of its contents
    check : raises `arml.experiments.errors.UsageError` where values that are right by themselves do not go together
    """

    schema: type[EvaluationConfig]
    stage: str
    versions: tuple[str, ...]
    contents: Callable[[RunConfig], Contents]
    settings: Callable[[RunConfig], dict[str, object]]
    compute: Callable[[Inputs, Path], None]
    check: Callable[[RunConfig], None] = _anything

    @property
    def name(self) -> str:
        """What it is asked for by."""
        return self.schema().name


def point_settings(config: RunConfig) -> dict[str, object]:
    """Settings of an evaluation of points: K, which points, and its own.

    The grid of radii is left out on purpose: each point has its one radius, whatever thresholds are reported.
    """
    return {"k": config.k, "n_eval": config.n_eval, "seed": config.seed, **parameters(config.evaluation)}


def as_box(bounds: Sequence[float] | None) -> tuple[float, float] | None:
    """[low, high] of a configuration as the classifier takes it."""
    return None if bounds is None else (bounds[0], bounds[1])


def write_points(inputs: Inputs, folder: Path, columns: Mapping[str, Sequence[object] | NDArray[np.generic]]) -> None:
    """``points.csv`` of a record; ``columns`` are (n,) each, and those that the record is to hold.

    Raises
    ------
    ValueError
        If they are others, or of another type.
    """
    from arml.records.points import write_points as write

    write(folder / "points.csv", inputs.holds, columns)


def write_witness(path: Path, index: NDArray[np.int64], perturbation: NDArray[np.float64], proof: Proof) -> None:
    """Rows of the test part, perturbations, proof and its claim, as `arml.experiments.verify` reads them."""
    arrays: dict[str, NDArray[np.generic]] = {"index": index, "perturbation": perturbation}
    arrays |= {"claim": np.array(proof.claim.text()), **proof.arrays()}
    np.savez_compressed(path, allow_pickle=False, **arrays)
