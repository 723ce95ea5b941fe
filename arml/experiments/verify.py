"""Recheck finished records: the radii a record claims, against the dataset and metric it names, without the solver."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from arml.certify import KNNCertificate, OneNNCertificate, RecheckReport, recheck
from arml.datasets import load_dataset
from arml.learners import load_metric
from arml.neighbors import MahalanobisKNN
from arml.radii import RadiusBounds


class UnverifiableRecordError(ValueError):
    """A record cannot be rechecked: the message says why."""


def records_with_proofs(runs: Path) -> Iterator[Path]:
    """Folders of the records under ``runs`` that come with a certificate, in order of their names."""
    return (path.parent for path in sorted((runs / "radii").glob("*/witness.npz")))


def recheck_record(folder: Path, data_root: str | None = None) -> RecheckReport:
    """Recheck every point of the record in ``folder`` with `arml.recheck`.

    Raises
    ------
    UnverifiableRecordError
        If the dataset at hand is not the record's, its metric is not among the records, or the metric has changed.
    """
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    data = load_dataset(record["dataset"]["name"], data_root)
    if data.digest != record["dataset"]["digest"]:
        raise UnverifiableRecordError(f"{folder}: the record was made from other files of {data.name} than those here")
    metrics = folder.parent.parent / "metrics"
    found = list(metrics.glob(f"*-{record['metric']['id'][:12]}/metric.npz"))
    if not found:
        raise UnverifiableRecordError(f"{folder}: its metric {record['metric']['id'][:12]} is not under {metrics}")
    metric = load_metric(found[0])
    if metric.digest != record["metric"]["digest"]:
        raise UnverifiableRecordError(f"{folder}: {found[0]} is not the metric the record was made with")
    index, labels, bounds = _read_bounds(folder)
    X, y = data.X_test[index], data.y_test[index]
    if not np.array_equal(labels, y):
        raise UnverifiableRecordError(f"{folder}: points.csv has other labels than the test part of {data.name}")
    knn = MahalanobisKNN(n_neighbors=int(record["evaluation"]["k"]), metric=metric).fit(data.X_train, data.y_train)
    box = record["evaluation"].get("box")
    return recheck(knn, X, y, bounds, box=None if box is None else (box[0], box[1]))


def _read_bounds(folder: Path) -> tuple[np.ndarray, np.ndarray, RadiusBounds]:
    """Indices, labels and bounds of a record's points, with perturbations and certificate."""
    with (folder / "points.csv").open(newline="", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    with np.load(folder / "witness.npz", allow_pickle=False) as stored:
        arrays = dict(stored)
    index = np.array([int(point["index"]) for point in points], dtype=np.int64)
    labels = np.array([int(point["label"]) for point in points], dtype=np.int64)
    if not np.array_equal(arrays.pop("index"), index):
        raise UnverifiableRecordError(f"{folder}: points.csv and witness.npz are about different points")
    bounds = RadiusBounds(
        np.array([float(point["lower"]) for point in points]),
        np.array([float(point["upper"]) for point in points]),
        np.array([point["status"] for point in points]),
        arrays.pop("perturbation"),
        (KNNCertificate if "setting" in arrays else OneNNCertificate).from_arrays(arrays),
    )
    return index, labels, bounds
