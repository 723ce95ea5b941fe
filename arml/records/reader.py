"""Reading finished run records: each is validated; a damaged one is named and skipped, never used and never fatal.

So is one of an older version of the code, unless it is asked for; then it says so (``outdated``).

A runs root holds ``radii/<run>/`` (``record.json`` and ``points.csv``) and ``boundary/<run>/`` (``record.json`` and
``grid.npz``). A folder without ``record.json`` is a run that has not finished; it is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from arml.records.contents import BOUNDS, Contents
from arml.records.format import DamagedRecordError, left_out, read_description
from arml.records.integrity import check_sections, needs_proof, outdated
from arml.records.points import check_attained, check_subset, read_points


@dataclass(frozen=True)
class RadiiRecord:
    """One finished evaluation: the radii of some test points of one dataset under one metric.

    Attributes
    ----------
    folder : where it was read from
    holds : what it says that it holds: the columns of its points, which one counts, and what is claimed of it
    dataset, method, evaluation, kind : names; kind is "exact", "certified", or the name of an attack
    dataset_digest, metric_digest : what the numbers were measured on
    k : neighbours of the classifier
    seed, random_state : seed of the evaluation subset, and of the learner
    n_train, n_test : points in the dataset's two parts (not: points evaluated)
    radii : the grid the run was asked to report
    box : bounds [low, high] that perturbed points had to keep, or None
    norm : order of the norm that the radii are measured in
    start : where the attack started, or None for its default
    event : what counts as an attack, "majority" or "plurality", or None where the evaluation leaves no choice
    steps : steps of the attack, or None where the evaluation has none or left them at their default
    max_nodes : nodes that the search for exact radii was allowed per point, or None where there is no search
    proofs : whether each radius came with a proof
    outdated : which versions of the code are no longer the ones at hand, in words; empty for a record of this code
    params : the learner's parameters
    fit_report : what the learner said about its fit; may be empty
    created : when the run finished
    wall_seconds : how long it took; NaN where that was not recorded
    points : one row per evaluated point, with exactly the columns that it holds
    local : whether it is one of the user's own, and not of the ledger
    """

    folder: Path
    holds: Contents
    dataset: str
    dataset_digest: str
    method: str
    metric_digest: str
    evaluation: str
    kind: str
    k: int
    seed: int
    random_state: int | None
    n_train: int
    n_test: int
    radii: tuple[float, ...]
    box: tuple[float, ...] | None
    norm: float
    start: str | None
    event: str | None
    steps: int | None
    max_nodes: int | None
    proofs: bool
    outdated: str
    params: Mapping[str, object]
    fit_report: Mapping[str, object]
    created: datetime
    wall_seconds: float
    points: pd.DataFrame
    local: bool = True

    @property
    def counted(self) -> NDArray[np.float64]:
        """(n,) the column that counts: a point is lost at every radius from its own on."""
        return self.points[self.holds.counted].to_numpy(dtype=np.float64)


@dataclass(frozen=True)
class BoundaryRecord:
    """Predictions on a grid over two features: ``prediction[i, j]`` belongs to the point ``(xx[j], yy[i])``."""

    folder: Path
    method: str
    outdated: str
    created: datetime
    xx: NDArray[np.float64]
    yy: NDArray[np.float64]
    prediction: NDArray[np.int64]
    X_train: NDArray[np.float64]
    y_train: NDArray[np.int64]


AnyRecord = TypeVar("AnyRecord", RadiiRecord, BoundaryRecord)


def read_radii_records(
    runs: Path, warn: Callable[[str], None], *, allow_old: bool = False, local: bool = True
) -> list[RadiiRecord]:
    """Every sound record under ``runs/radii``, sorted by folder name.

    ``warn`` is called once per record that is left out: a damaged one, or, unless ``allow_old``, one of an older
    version of the code. ``local`` says whether ``runs`` are the user's own, and not the ledger.
    """

    def read(folder: Path) -> RadiiRecord:
        """A record; one of the user's own has to be whole, or who deletes a proof would only have to say so."""
        if local and left_out(folder):
            raise DamagedRecordError(f"it does without {', '.join(sorted(left_out(folder)))}, as the ledger alone may")
        return read_radii_record(folder)

    records = _read_all(runs / "radii", read, warn, allow_old)
    return [replace(record, local=local) for record in records]


def all_records(
    runs: Path, ledger: Path | None, warn: Callable[[str], None], *, allow_old: bool = False
) -> list[RadiiRecord]:
    """The records of the ledger, and of the user's own under ``runs`` those that are not in the ledger, too.

    ``warn`` and ``allow_old`` as in `read_radii_records`.
    """
    published = []
    if ledger is not None:
        published = read_radii_records(ledger, warn, allow_old=allow_old, local=False)
    known = {record.folder.name: record.points for record in published}
    own = read_radii_records(runs, warn, allow_old=allow_old)
    return published + [r for r in own if r.folder.name not in known or not r.points.equals(known[r.folder.name])]


def read_boundary_records(runs: Path, warn: Callable[[str], None], *, allow_old: bool = False) -> list[BoundaryRecord]:
    """Every sound record under ``runs/boundary``; the rest as in `read_radii_records`."""
    return _read_all(runs / "boundary", read_boundary_record, warn, allow_old)


def read_radii_record(folder: Path) -> RadiiRecord:
    """Read and validate one record of radii, of whatever version.

    Raises
    ------
    DamagedRecordError
        If a file is missing or unreadable, a field is missing, of the wrong type or not what the record's key says, the
        points are impossible, not exactly those that the key names, or farther than the perturbations beside them.
    """
    record = _read_json(folder, "radii")
    dataset, method = _section(record, "dataset"), _section(record, "method")
    evaluation, metric = _section(record, "evaluation"), _section(record, "metric")
    random_state = method.get("random_state")
    holds = _holds(record, "point")
    points = read_points(folder / "points.csv", holds)
    n_test, seed = _field(dataset, "n_test", int), _field(evaluation, "seed", int)
    n_eval = None if evaluation.get("n_eval") is None else _field(evaluation, "n_eval", int)
    if int(points["index"].max()) >= n_test:
        raise DamagedRecordError(f"points.csv names row {points['index'].max()} of a test part of {n_test} rows")
    check_subset(points, n_test, n_eval, seed)
    key = _section(record, "key")
    proofs, versions = needs_proof(key), outdated(key)
    if holds.proof is not None and not versions and holds.proof not in left_out(folder):
        check_attained(points, folder / holds.proof)
    return RadiiRecord(
        folder=folder,
        holds=holds,
        dataset=_field(dataset, "name", str),
        dataset_digest=_field(dataset, "digest", str),
        method=_field(method, "name", str),
        metric_digest=_field(metric, "digest", str),
        evaluation=_field(evaluation, "name", str),
        kind=_field(evaluation, "kind", str),
        k=_field(evaluation, "k", int),
        seed=seed,
        random_state=None if random_state is None else _field(method, "random_state", int),
        n_train=_field(dataset, "n_train", int),
        n_test=n_test,
        radii=tuple(float(radius) for radius in _field(evaluation, "radii", list)),
        box=None if evaluation.get("box") is None else tuple(map(float, _field(evaluation, "box", list))),
        norm=float(str(evaluation.get("norm") or 2)),
        start=None if evaluation.get("start") is None else _field(evaluation, "start", str),
        event=None if evaluation.get("event") is None else _field(evaluation, "event", str),
        steps=None if evaluation.get("steps") is None else _field(evaluation, "steps", int),
        max_nodes=None if evaluation.get("max_nodes") is None else _field(evaluation, "max_nodes", int),
        proofs=proofs,
        outdated=versions,
        params=_section(method, "params"),
        fit_report=_section(metric, "fit_report") if metric.get("fit_report") else {},
        created=_created(record),
        wall_seconds=_wall_seconds(record),
        points=points,
    )


def read_boundary_record(folder: Path) -> BoundaryRecord:
    """Read and validate one record of a decision boundary.

    Raises
    ------
    DamagedRecordError
        If a file is missing or unreadable, or its arrays do not fit together.
    """
    record = _read_json(folder, "boundary")
    _holds(record, "grid")
    with np.load(folder / "grid.npz", allow_pickle=False) as stored:
        xx, yy, prediction = stored["xx"], stored["yy"], stored["prediction"]
        X_train, y_train = stored["X_train"], stored["y_train"]
    if xx.ndim != 1 or yy.ndim != 1 or prediction.shape != (len(yy), len(xx)):
        raise DamagedRecordError(
            f"grid.npz: prediction has shape {prediction.shape} on axes of shapes {xx.shape} and {yy.shape}"
        )
    if X_train.shape != (len(y_train), 2):
        raise DamagedRecordError(f"grid.npz: X_train has shape {X_train.shape} for {len(y_train)} labels in the plane")
    return BoundaryRecord(
        folder=folder,
        method=_field(_section(record, "method"), "name", str),
        outdated=outdated(_section(record, "key")),
        created=_created(record),
        xx=xx.astype(np.float64),
        yy=yy.astype(np.float64),
        prediction=prediction.astype(np.int64),
        X_train=X_train.astype(np.float64),
        y_train=y_train.astype(np.int64),
    )


def tidy(records: list[RadiiRecord]) -> pd.DataFrame:
    """All points of all records in one frame: the identifying columns of `RadiiRecord`, then those of the points.

    These are `BOUNDS`, and whatever more a record holds; what another one has not is NaN in its rows.
    """
    columns = ["run", "dataset", "method", "evaluation", "kind", "k", "seed", "random_state", "created"]
    frames = [
        record.points.assign(run=record.folder.name, **{name: getattr(record, name) for name in columns[1:]})
        for record in records
    ]
    held = list(dict.fromkeys([*BOUNDS, *(name for record in records for name in record.holds.columns)]))
    if not frames:
        return pd.DataFrame(columns=[*columns, *held])
    return pd.concat(frames, ignore_index=True).reindex(columns=[*columns, *held])


def _read_all(
    parent: Path, read: Callable[[Path], AnyRecord], warn: Callable[[str], None], allow_old: bool
) -> list[AnyRecord]:
    records = []
    finished = sorted(path.parent for path in parent.glob("*/record.json") if not path.parent.name.startswith("."))
    for folder in finished:
        try:
            record = read(folder)
        # A record may be broken in any way; none may keep the others from being read.
        except (ValueError, LookupError, TypeError, AttributeError, OSError, BadZipFile, MemoryError) as error:
            warn(f"skipped the damaged record {folder}: {_words(error)}; run it again, which replaces it")
            continue
        if record.outdated and not allow_old:
            warn(
                f"left out {folder}: it was made by an older version of the code ({record.outdated}); run it again, or "
                "show it with a mark: --allow-old"
            )
            continue
        records.append(record)
    return records


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, DamagedRecordError) else f"{type(error).__name__}: {error}"


def _read_json(folder: Path, stage: str) -> Mapping[str, object]:
    """The description of the record in ``folder``, checked by `arml.records.integrity`."""
    record = read_description(folder / "record.json", folder.name.rpartition("-")[2])
    if record.get("stage") != stage:
        raise DamagedRecordError(f"record.json is of stage {record.get('stage')!r}, not {stage!r}")
    check_sections(record)
    return record


Value = TypeVar("Value", str, int, list)


def _field(section: Mapping[str, object], name: str, kind: type[Value]) -> Value:
    value = section.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DamagedRecordError(f"record.json: {name} must be {kind.__name__}, got {value!r}")
    return value


def _section(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = record.get(name)
    if not isinstance(value, dict):
        raise DamagedRecordError(f"record.json has no section {name!r}")
    return value


def _holds(record: Mapping[str, object], unit: str) -> Contents:
    holds = Contents.read(_section(record, "holds"))
    if holds.unit != unit:
        raise DamagedRecordError(f"record.json says that a row is a {holds.unit}, not a {unit}")
    return holds


def _wall_seconds(record: Mapping[str, object]) -> float:
    value = _section(record, "provenance").get("wall_seconds")
    return float(value) if isinstance(value, int | float) else float("nan")


def _created(record: Mapping[str, object]) -> datetime:
    text = _field(_section(record, "provenance"), "created", str)
    try:
        created = datetime.fromisoformat(text)
    except ValueError as error:
        raise DamagedRecordError(f"record.json: created is {text!r}, not a date") from error
    return created if created.tzinfo else created.replace(tzinfo=UTC)
