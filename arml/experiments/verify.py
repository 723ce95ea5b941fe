"""Recheck finished records: the radii a record claims, against the dataset and metric it names, without the solver.

A record is read as the reports read it, so whatever they refuse is refused here, too. Then its dataset and its metric
are held against their digests, and every radius against the proof that came with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arml import proofs
from arml.datasets import Dataset, DatasetError, load_dataset
from arml.learners import StoredMetric, load_metric
from arml.neighbors import MahalanobisKNN
from arml.proofs import Claim, EntryProof, Proof, TreeProof
from arml.radii import RadiusBounds
from arml.records.format import DamagedRecordError, canonical_json, left_out, read_arrays
from arml.records.points import check_attained
from arml.records.reader import RadiiRecord, read_radii_record
from arml.records.store import read_record

#: Refused points that a sentence names; there may be thousands.
_NAMED = 3


class Verdict(StrEnum):
    """What a recheck makes of a record."""

    CONFIRMED = "confirmed"
    UNPROVEN = "cannot be checked: made without a proof"
    UNCHECKABLE = "cannot be checked"
    DAMAGED = "damaged"


class UncheckableRecordError(ValueError):
    """A record that may be sound but cannot be rechecked here; the message says why and what to do."""


@dataclass(frozen=True)
class Checked:
    """One record and its verdict; ``details`` says how many radii were confirmed, or why they were not.

    ``remedy`` is the command that makes a record with a proof, where this one has none.
    """

    folder: Path
    verdict: Verdict
    details: str = ""
    remedy: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the record: it is confirmed, or claims no proof."""
        return self.verdict in (Verdict.CONFIRMED, Verdict.UNPROVEN)

    def __str__(self) -> str:
        if self.verdict is Verdict.CONFIRMED:
            return f"{self.folder.name}: {self.verdict} ({self.details})"
        return f"{self.folder.name}: {self.verdict}" + (f": {self.details}" if self.details else "")


def radii_records(runs: Path) -> Iterator[Path]:
    """Folders of all records of radii under ``runs``, damaged ones included, in order of their names."""
    return (path for path in sorted((runs / "radii").glob("*")) if path.is_dir() and not path.name.startswith("."))


class Checker:
    """Rechecks records one after the other; keeps the dataset of the last, which the next one mostly shares."""

    def __init__(self, data_root: str | Path | None = None) -> None:
        self._data_root = data_root
        self._data: Dataset | None = None

    def check(self, folder: Path) -> Checked:
        """The verdict on the record in ``folder``; whatever is wrong with it is a verdict, never an exception."""
        try:
            return self._check(folder)
        except UncheckableRecordError as error:
            return Checked(folder, Verdict.UNCHECKABLE, str(error))
        except DamagedRecordError as error:
            return Checked(folder, Verdict.DAMAGED, str(error))
        # What a hostile file can make of a reader is not to be listed; the records after it are still to be checked.
        except Exception as error:
            return Checked(folder, Verdict.DAMAGED, f"its check ended in {type(error).__name__}: {error}")

    def _check(self, folder: Path) -> Checked:
        record = read_radii_record(folder)
        content = json.loads((folder / "record.json").read_text(encoding="utf-8"))  # as it was just checked
        key = content["key"]
        proof_file = record.holds.proof
        if proof_file is None:
            return Checked(folder, Verdict.UNPROVEN, remedy=proving_command(key))
        if proof_file in left_out(folder):
            raise UncheckableRecordError(f"the ledger does without its proof; run it again: {proving_command(key)}")
        data = self._dataset(record, content["dataset"])
        metric = find_metric(folder, content)
        arrays = read_arrays(folder / proof_file)
        if "claim" not in arrays:
            if not record.outdated:
                raise DamagedRecordError(f"{proof_file} names no claim")
            raise UncheckableRecordError(
                f"made by an older version of the code ({record.outdated}); run it again: {proving_command(key)}"
            )
        if record.outdated:
            check_attained(record.points, folder / proof_file)  # which the reader leaves out for these
        index = record.points["index"].to_numpy()
        labels = data.y_test[index]
        if not np.array_equal(record.points["label"].to_numpy(), labels):
            raise DamagedRecordError(f"points.csv has other labels than the test part of {data.name}")
        knn = MahalanobisKNN(n_neighbors=record.k, metric=metric, device="cpu").fit(data.X_train, data.y_train)
        box = None if record.box is None else (record.box[0], record.box[1])
        bounds = _bounds(record, arrays)
        _check_claim(record, bounds.certificate.claim)
        report = proofs.recheck(knn, data.X_test[index], labels, bounds, box=box, event=record.event)
        if report:
            old = f"; made by an older version of the code ({record.outdated})" if record.outdated else ""
            return Checked(folder, Verdict.CONFIRMED, f"{len(bounds)} radii{old}")
        refused = "; ".join(f"point {point}: {reason}" for point, reason in report.problems[:_NAMED])
        count = f"{int((~report.ok).sum())} of {len(report.ok)} radii are refused"
        return Checked(folder, Verdict.DAMAGED, f"{count}: {refused}{'; ...' if len(report.problems) > _NAMED else ''}")

    def _dataset(self, record: RadiiRecord, section: Mapping[str, Any]) -> Dataset:
        if self._data is None or self._data.name != record.dataset:
            self._data = None  # not two large ones at a time
            try:
                self._data = load_dataset(record.dataset, self._data_root)
            except (DatasetError, OSError) as error:
                raise UncheckableRecordError(f"its dataset cannot be had: {error}") from error
        data = self._data
        if data.digest != record.dataset_digest:
            raise UncheckableRecordError(
                f"it was made from other files of {data.name} than those here: their digest is {data.digest[:12]}, the "
                f"record's {record.dataset_digest[:12]}; give the folder of its files with --data-root"
            )
        sizes = {
            "n_train": len(data.X_train), "n_test": len(data.X_test),
            "n_features": data.n_features, "n_classes": data.n_classes,
        }  # fmt: skip
        for name, size in sizes.items():
            if section.get(name) != size:
                raise DamagedRecordError(f"dataset.{name} is {section.get(name)}, the dataset's is {size}")
        return data


def find_metric(folder: Path, content: Mapping[str, Any]) -> StoredMetric:
    """The metric that the record in ``folder``, whose description is ``content``, was made with.

    Raises
    ------
    UncheckableRecordError
        If it is not among the records.
    DamagedRecordError
        If its own record is damaged, or it is not the metric that the record names.
    """
    metrics, named = folder.parent.parent / "metrics", content["metric"]
    found = sorted(metrics.glob(f"*-{named['id'][:12]}"))
    if not found:
        raise UncheckableRecordError(f"its metric {named['id'][:12]} is not under {metrics}")
    try:
        own = read_record(found[0] / "metric.json", named["id"])
    except DamagedRecordError as error:
        raise DamagedRecordError(f"its metric {found[0].name} is damaged: {error}") from error
    if "metric.npz" not in own["files"]:
        raise DamagedRecordError(f"its metric {found[0].name} is damaged: metric.npz is not among the files it lists")
    metric = load_metric(found[0] / "metric.npz")
    digests = {"metric.npz": metric.digest, "metric.json": own["metric"]["digest"]}
    for name, digest in digests.items():
        if digest != named["digest"]:
            raise DamagedRecordError(f"{found[0].name}/{name} is not the metric the record was made with")
    for section in ("dataset", "method"):
        if own["key"][section] != {name: content["key"][section].get(name) for name in own["key"][section]}:
            raise DamagedRecordError(f"its metric {found[0].name} was learned from another {section} than the record's")
    return metric


def _bounds(record: RadiiRecord, arrays: Mapping[str, NDArray[np.generic]]) -> RadiusBounds:
    """The bounds that points.csv claims, with perturbations and proof from the arrays beside it."""
    claim = arrays["claim"]
    if claim.ndim != 0 or claim.dtype.kind != "U":
        raise DamagedRecordError(f"the claim in {record.holds.proof} is not one string")
    kind: type[Proof] = EntryProof if record.evaluation == "exact_1nn" else TreeProof
    try:
        proof = kind.from_arrays(Claim.from_text(str(claim)), arrays)
    except ValueError as error:
        raise DamagedRecordError(f"{record.holds.proof} holds no proof: {error}") from error
    points = record.points
    return RadiusBounds(
        points["lower"].to_numpy(dtype=np.float64),
        points["upper"].to_numpy(dtype=np.float64),
        points["status"].to_numpy(dtype=np.str_),
        arrays["perturbation"].astype(np.float64),
        proof,
    )


def _check_claim(record: RadiiRecord, claim: Claim) -> None:
    """The proof claims what the record does. Its digests are left to the check of the proof, which sees the data."""
    low, high = (-np.inf, np.inf) if record.box is None else (record.box[0], record.box[1])
    recorded = {"n_neighbors": record.k, "norm": record.norm, "box": (low, high)}
    # For K = 1 all events are the same, and records leave it out.
    recorded |= {} if record.event is None else {"event": record.event}
    for name, value in recorded.items():
        if getattr(claim, name) != value:
            raise DamagedRecordError(f"its proof is for {name} {getattr(claim, name)}, the record for {value}")


def proving_command(key: Mapping[str, Any]) -> str:
    """The command that makes a record with proofs of what a record's key is about."""
    k, n_eval = key["evaluation"]["k"], key["evaluation"].get("n_eval")
    evaluation = "exact_1nn" if k == 1 else "exact_knn evaluation.proofs=true"
    n = "null" if n_eval is None else n_eval
    method = key["method"]["name"]
    asked = [f"dataset={key['dataset']['name']}", f"method={method}"]
    asked += ["method.path=..."] if method == "from_file" else []
    asked += [f"method.{name}={canonical_json(value)}" for name, value in key["method"]["params"].items()]
    return f"python scripts/run.py {' '.join(asked)} evaluation={evaluation} k={k} n_eval={n} seed={key['seed']}"
