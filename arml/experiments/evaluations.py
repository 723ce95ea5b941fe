"""The evaluations a run can ask for, by name. A new one is a schema in `config` and an entry in `EVALUATIONS` here."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.datasets import Dataset
from arml.experiments.config import (
    BoundaryGridConfig,
    CertifiedKNNConfig,
    DecisionBasedConfig,
    Exact1NNConfig,
    ExactKNNConfig,
    LocalSearchConfig,
    RunConfig,
    parameters,
)
from arml.experiments.progress import progress_bar, say
from arml.learners import StoredMetric
from arml.neighbors import MahalanobisKNN
from arml.proofs import Proof
from arml.radii import AttackedBounds, RadiusBounds, SearchedBounds
from arml.records.format import PROOF_FILE

POINT_COLUMNS = ("index", "label", "prediction", "lower", "upper", "status")
ATTACK_COLUMNS = (*POINT_COLUMNS, "majority", "queries")
SEARCH_COLUMNS = (*POINT_COLUMNS, "nodes")


@dataclass(frozen=True)
class Inputs:
    """What an evaluation works on: the run's configuration, its dataset and metric, and the device to use."""

    config: RunConfig
    data: Dataset
    metric: StoredMetric
    device: str


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.

    Attributes
    ----------
    stage : folder of its records under the runs root, and their "stage"
    settings : what of the configuration it depends on besides dataset and metric; hashed into the record's id
    compute : writes the record's files into a folder
    """

    stage: str
    settings: Callable[[RunConfig], dict[str, object]]
    compute: Callable[[Inputs, Path], None]


def exact_1nn(inputs: Inputs, folder: Path) -> None:
    """Exact radii of the evaluation subset: ``points.csv``, and ``witness.npz`` with perturbations and proof."""
    config, data = inputs.config, inputs.data
    assert isinstance(config.evaluation, Exact1NNConfig)
    X, y = data.evaluation_subset(config.n_eval, config.seed)
    index = data.evaluation_indices(config.n_eval, config.seed)
    knn = _classifier(inputs)
    box = config.evaluation.box
    with progress_bar(f"{data.name} {config.method.name}: exact radii", len(y)) as advance:
        bounds = knn.exact_radius(X, y, box=None if box is None else (box[0], box[1]), progress=advance)
    _write_points(folder / "points.csv", index, y, knn.predict(X), bounds)
    assert bounds.perturbation is not None
    assert isinstance(bounds.certificate, Proof)
    write_witness(folder / PROOF_FILE, index, bounds.perturbation, bounds.certificate)


def exact_knn(inputs: Inputs, folder: Path) -> None:
    """Exact radii of the evaluation subset for K > 1: ``points.csv``, and the perturbations in ``perturbation.npz``.

    With proofs these lie in ``witness.npz``, beside the proof.
    """
    config, data = inputs.config, inputs.data
    evaluation = config.evaluation
    assert isinstance(evaluation, ExactKNNConfig)
    X, y = data.evaluation_subset(config.n_eval, config.seed)
    index = data.evaluation_indices(config.n_eval, config.seed)
    knn = _classifier(inputs)
    box = None if evaluation.box is None else (evaluation.box[0], evaluation.box[1])
    with progress_bar(f"{data.name} {config.method.name}: exact radii, K = {config.k}", len(y)) as advance:
        bounds = knn.exact_radius(
            X, y, box=box, event=evaluation.event, max_nodes=evaluation.max_nodes, proofs=evaluation.proofs,
            progress=advance,
        )  # fmt: skip
    _write_points(folder / "points.csv", index, y, knn.predict(X), bounds)
    assert bounds.perturbation is not None
    if evaluation.proofs:
        assert isinstance(bounds.certificate, Proof)
        write_witness(folder / PROOF_FILE, index, bounds.perturbation, bounds.certificate)
    else:
        arrays = {"index": index, "perturbation": bounds.perturbation}
        np.savez_compressed(folder / "perturbation.npz", allow_pickle=False, **arrays)


def certified_knn(inputs: Inputs, folder: Path) -> None:
    """Theorem 1's bounds of the evaluation subset: ``points.csv``."""
    config, data = inputs.config, inputs.data
    assert isinstance(config.evaluation, CertifiedKNNConfig)
    X, y = data.evaluation_subset(config.n_eval, config.seed)
    knn = _classifier(inputs)
    with progress_bar(f"{data.name} {config.method.name}: certified radii", len(y)) as advance:
        bounds = knn.certified_radius(X, y, norm=float(config.evaluation.norm), progress=advance)
    index = data.evaluation_indices(config.n_eval, config.seed)
    _write_points(folder / "points.csv", index, y, knn.predict(X), bounds)


def attack(inputs: Inputs, folder: Path) -> None:
    """An attack on the evaluation subset: ``points.csv``, and ``attack.npz`` with the perturbations.

    The points' certified bounds are computed along with it, so that a record cannot hold a contradiction.
    """
    config, data = inputs.config, inputs.data
    evaluation = config.evaluation
    assert isinstance(evaluation, LocalSearchConfig | DecisionBasedConfig)
    n_eval = attacked_points(config)
    X, y = data.evaluation_subset(n_eval, config.seed)
    knn = _classifier(inputs)
    steps, start = None, "training"
    if isinstance(evaluation, DecisionBasedConfig):
        steps, start = evaluation.steps, evaluation.start or start
    box = None if evaluation.box is None else (evaluation.box[0], evaluation.box[1])
    with progress_bar(f"{data.name} {config.method.name}: {evaluation.name}", len(y)) as advance:
        bounds = knn.attacked_radius(
            X, y, attack=evaluation.name, box=box, seed=config.seed, steps=steps, start=start, progress=advance
        )
    for note in bounds.notes:
        say(f"{data.name} {config.method.name} {evaluation.name}: {note}")
    index = data.evaluation_indices(n_eval, config.seed)
    _write_points(folder / "points.csv", index, y, knn.predict(X), bounds)
    assert bounds.perturbation is not None
    arrays = {"index": index, "perturbation": bounds.perturbation, "majority": bounds.majority_perturbation}
    present = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(folder / "attack.npz", allow_pickle=False, **present)


def attacked_points(config: RunConfig) -> int | None:
    """Number of points an attack is run on; None for the whole test part."""
    limit = config.dataset.attack_points if isinstance(config.evaluation, DecisionBasedConfig) else None
    limits = [n for n in (config.n_eval, limit) if n is not None]
    return min(limits, default=None)


def boundary_grid(inputs: Inputs, folder: Path) -> None:
    """Predictions on a grid around the training points of a dataset in the plane: ``grid.npz``.

    ``prediction[i, j]`` belongs to the point ``(xx[j], yy[i])``.
    """
    evaluation, data = inputs.config.evaluation, inputs.data
    assert isinstance(evaluation, BoundaryGridConfig)
    if data.n_features != 2:
        raise ValueError(f"a boundary grid needs two features, dataset {data.name} has {data.n_features}")
    low, high = data.X_train.min(axis=0), data.X_train.max(axis=0)
    # The same on all sides, whatever the shape of the point set.
    border = evaluation.margin * (high - low).max()
    xx, yy = np.linspace(low - border, high + border, evaluation.resolution).T
    plane = np.stack(np.meshgrid(xx, yy), axis=-1).reshape(-1, 2)
    prediction = _classifier(inputs).predict(plane).reshape(len(yy), len(xx))
    np.savez_compressed(
        folder / "grid.npz", xx=xx, yy=yy, prediction=prediction, X_train=data.X_train, y_train=data.y_train
    )


def _classifier(inputs: Inputs) -> MahalanobisKNN:
    knn = MahalanobisKNN(n_neighbors=inputs.config.k, metric=inputs.metric, device=inputs.device)
    return knn.fit(inputs.data.X_train, inputs.data.y_train)


def write_witness(path: Path, index: NDArray[np.int64], perturbation: NDArray[np.float64], proof: Proof) -> None:
    """Rows of the test part, perturbations, proof and its claim, as `arml.experiments.verify` reads them."""
    arrays: dict[str, NDArray[np.generic]] = {"index": index, "perturbation": perturbation}
    arrays |= {"claim": np.array(proof.claim.text()), **proof.arrays()}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _write_points(
    path: Path,
    index: NDArray[np.int64],
    label: NDArray[np.int64],
    prediction: NDArray[np.int64],
    bounds: RadiusBounds,
) -> None:
    ids = (index.tolist(), label.tolist(), prediction.tolist())
    values = [bounds.lower.tolist(), bounds.upper.tolist(), bounds.status.tolist()]
    header: tuple[str, ...] = POINT_COLUMNS
    if isinstance(bounds, SearchedBounds):
        values.append(bounds.nodes.tolist())
        header = SEARCH_COLUMNS
    if isinstance(bounds, AttackedBounds):
        values += [bounds.majority.tolist(), bounds.queries.tolist()]
        header = ATTACK_COLUMNS
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(header)
        # csv writes a float by its repr, which reads back to the same float.
        rows.writerows(zip(*ids, *values, strict=True))


def _point_settings(config: RunConfig) -> dict[str, object]:
    """The grid of radii is left out on purpose: each point has its one radius, whatever thresholds are reported."""
    return {"k": config.k, "n_eval": config.n_eval, "seed": config.seed, **parameters(config.evaluation)}


def _attack_settings(config: RunConfig) -> dict[str, object]:
    return _point_settings(config) | {"n_eval": attacked_points(config)}


def _grid_settings(config: RunConfig) -> dict[str, object]:
    return {"k": config.k, **parameters(config.evaluation)}


EVALUATIONS: Mapping[str, Evaluation] = {
    "exact_1nn": Evaluation("radii", _point_settings, exact_1nn),
    "exact_knn": Evaluation("radii", _point_settings, exact_knn),
    "certified_knn": Evaluation("radii", _point_settings, certified_knn),
    "local_search": Evaluation("radii", _attack_settings, attack),
    "boundary": Evaluation("radii", _attack_settings, attack),
    "hopskipjump": Evaluation("radii", _attack_settings, attack),
    "boundary_grid": Evaluation("boundary", _grid_settings, boundary_grid),
}
