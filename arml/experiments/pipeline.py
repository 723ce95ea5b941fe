"""The only orchestrator: dataset, metric, evaluation, in this order, each found in the store or made and kept there.

What enters a record's id
-------------------------
Dataset and metric with their digests, the method with its parameters, the seed, the evaluation with its settings, what
the record holds (`arml.records.contents`), and the version of each stage used (`arml.versions`). The key determines
whatever the reports believe of a record, so that a section that was edited contradicts it. Not in it: device, threads,
output and data folders, which must not change a number; the grid of radii, which is only a choice of thresholds to
report (a record found under another grid keeps the one it was made with); the path of a user's metric, whose content
counts instead.
"""

from __future__ import annotations

import contextlib
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from arml.datasets import Dataset, load_dataset
from arml.devices import resolve_device
from arml.experiments.config import FromFileConfig, RunConfig, parameters
from arml.experiments.families import EVALUATIONS
from arml.experiments.families.base import Inputs
from arml.experiments.progress import say
from arml.experiments.provenance import code_at_start, package_versions, provenance
from arml.geometry import as_mahalanobis
from arml.learners import StoredMetric, load_metric, make_learner, save_metric
from arml.records.contents import Contents
from arml.records.format import canonical_json
from arml.records.integrity import FIT_FIELDS
from arml.records.points import read_points
from arml.records.shards import Shards
from arml.records.store import Address, Record, Store
from arml.versions import metric_versions, record_versions
from arml.warmup import warm_up


@dataclass(frozen=True)
class Outcome:
    """What came of a run: its record, its errors at the reported radii (None where it has no radii), and the time."""

    config: RunConfig
    device: str
    record: Record
    clean_error: float | None
    errors: Mapping[float, float]
    seconds: float

    @property
    def summary(self) -> str:
        """One line for the user."""
        parts = [f"{self.config.dataset.name} {self.config.method.name} {self.config.evaluation.name}:"]
        if self.clean_error is not None:
            at = ", ".join(f"{radius:g}: {error:.3f}" for radius, error in self.errors.items())
            parts.append(f"clean error {self.clean_error:.3f}, errors at radius {at};")
        parts.append(f"{self.seconds:.1f} s on {self.device};")
        parts.append(f"{'found' if self.record.found else 'made'} {self.record.folder}")
        return " ".join(parts)


def run(config: RunConfig) -> Outcome:
    """Carry out one run and return what came of it; whatever of it is in the store already is not computed again.

    ``config`` must have passed `arml.experiments.checks`. Raises the errors of the stages: `DatasetError`,
    `DeviceError`, `MetricFileError`, `InvalidMetricError` and so on.
    """
    started = time.monotonic()
    code_at_start()  # before the work, during which the checkout may change
    device = str(resolve_device(config.device))
    store = Store(Path(config.output.runs).expanduser())
    store.clean()
    with _limited_threads(config.threads):
        data = load_dataset(config.dataset.name, config.data.root, download=config.data.download)
        metric_record = _metric(config, data, store, device)
        metric = load_metric(metric_record.folder / "metric.npz")
        record = _evaluation(config, data, metric, metric_record, store, device)
    clean_error, errors = _errors(record, config.grid)
    return Outcome(config, device, record, clean_error, errors, time.monotonic() - started)


def metric_address(config: RunConfig, dataset_digest: str, file_digest: str | None = None) -> Address:
    """Where the metric of a run is kept; ``file_digest`` is that of the user's own metric with ``method=from_file``."""
    dataset = {"name": config.dataset.name, "digest": dataset_digest}
    key = _common_key(config, dataset) | {"stage": "metrics", "versions": metric_versions(config.method.name)}
    if file_digest is not None:
        key["file_digest"] = file_digest
    return Address("metrics", f"{config.dataset.name}-{config.method.name}", key)


def evaluation_address(config: RunConfig, dataset: Mapping[str, object], metric: Mapping[str, object]) -> Address:
    """Where the evaluation of a run is kept; ``dataset`` and ``metric`` are those sections of the record."""
    evaluation = EVALUATIONS[config.evaluation.name]
    report = metric.get("fit_report")
    fit = {name: report.get(name) if isinstance(report, Mapping) else None for name in FIT_FIELDS}
    key = _common_key(config, dataset) | {
        "stage": evaluation.stage,
        "metric_digest": metric["digest"],
        "metric": {"id": metric["id"], "fit": fit},
        "evaluation": {"name": config.evaluation.name, **evaluation.settings(config)},
        "holds": evaluation.contents(config).described(),
        "versions": record_versions(config.method.name, evaluation.versions),
    }
    label = f"{config.dataset.name}-{config.method.name}"
    if evaluation.stage != "boundary":
        label += f"-{config.evaluation.name}"
    return Address(evaluation.stage, label, key)


def _common_key(config: RunConfig, dataset: Mapping[str, object]) -> dict[str, object]:
    return {
        "dataset": dict(dataset),
        "method": {"name": config.method.name, "params": _method_params(config)},
        "seed": config.seed,
    }


def _method_params(config: RunConfig) -> dict[str, object]:
    params = parameters(config.method)
    params.pop("path", None)
    return params


def _metric(config: RunConfig, data: Dataset, store: Store, device: str) -> Record:
    if isinstance(config.method, FromFileConfig):
        assert config.method.path is not None
        given = load_metric(Path(config.method.path).expanduser())
        address = metric_address(config, data.digest, given.digest)
        return store.obtain(address, lambda folder: _keep_metric(config, data, given, folder, device))
    address = metric_address(config, data.digest)
    # Beside the records and not in the record's temporary folder, which dies with the process.
    name = f"{address.id}-{device.replace(':', '-')}.pt"
    record = store.obtain(address, lambda folder: _learn_metric(config, data, folder, device, store, name))
    for checkpoint in store.root.glob(f".checkpoints*/{name}"):
        with contextlib.suppress(OSError):  # another user's, perhaps
            checkpoint.unlink()  # only now: the metric is stored
    return record


def _learn_metric(
    config: RunConfig, data: Dataset, folder: Path, device: str, store: Store, name: str
) -> dict[str, object]:
    """Learn and write the metric; ARML resumes from the checkpoint ``name`` where an earlier process left one."""
    started = time.monotonic()
    params = _method_params(config)
    if config.method.name == "arml":
        checkpoint = str(store.working_folder(".checkpoints") / name)
        params |= {"verbose": True, "checkpoint_path": checkpoint, "keep_checkpoint": True}
    else:
        say(f"{data.name} {config.method.name}: learning the metric (metric-learn gives no estimate of the time left)")
    learner = make_learner(config.method.name, params, random_state=config.seed, device=device)
    learner.fit(data.X_train, data.y_train)
    report: dict[str, object] = dict(getattr(learner, "fit_report_", {}))
    return _write_metric(config, data, learner.components_, report, folder, device, time.monotonic() - started)


def _keep_metric(config: RunConfig, data: Dataset, given: StoredMetric, folder: Path, device: str) -> dict[str, object]:
    """A copy of the user's metric, so that the records made from it stay whole when the file changes."""
    as_mahalanobis(given, data.n_features)  # refuse another dimension before anything is kept
    report: dict[str, object] = {"source": given.path, "source_provenance": dict(given.provenance)}
    report |= {"clipped_eigenvalue": given.clipped, "asymmetry": given.asymmetry}
    return _write_metric(config, data, given.components_, report, folder, device, 0.0)


def _write_metric(
    config: RunConfig,
    data: Dataset,
    components: np.ndarray,
    report: dict[str, object],
    folder: Path,
    device: str,
    seconds: float,
) -> dict[str, object]:
    origin = {"dataset": _dataset_section(data), "method": _method_section(config), "fit_report": report}
    save_metric(folder / "metric.npz", components, origin)
    digest = load_metric(folder / "metric.npz").digest
    return {
        "dataset": _dataset_section(data),
        "method": _method_section(config),
        "metric": {"digest": digest, "fit_report": report},
        "provenance": provenance(
            code=code_at_start(), device=device, threads=torch.get_num_threads(), wall_seconds=seconds
        ),
    }


def _evaluation(
    config: RunConfig, data: Dataset, metric: StoredMetric, metric_record: Record, store: Store, device: str
) -> Record:
    evaluation = EVALUATIONS[config.evaluation.name]
    dataset, holds = _dataset_section(data), evaluation.contents(config)
    learned = {
        "digest": metric.digest,
        "id": metric_record.content["id"],
        "fit_report": metric_record.content["metric"]["fit_report"],
    }

    address = evaluation_address(config, dataset, learned)
    shards = Shards(store, address.id, _about(address, device))

    def make(folder: Path) -> dict[str, object]:
        """Carry out the evaluation into ``folder``; returns the rest of the record's description."""
        # What is compiled once is not part of the time.
        warmup = warm_up()
        inputs = Inputs(config, holds, data, metric, device, shards)
        started = time.monotonic()
        evaluation.compute(inputs, folder)
        seconds = time.monotonic() - started + shards.seconds_read
        return {
            "dataset": dataset,
            "method": _method_section(config),
            "metric": learned,
            "evaluation": {
                "name": config.evaluation.name,
                "radii": config.grid,
                **evaluation.settings(config),
            },
            "holds": holds.described(),
            "provenance": provenance(
                code=code_at_start(),
                device=device,
                threads=torch.get_num_threads(),
                wall_seconds=seconds,
                warmup_seconds=warmup,
            ),
        }

    record = store.obtain(address, make)
    shards.remove()
    return record


def _about(address: Address, device: str) -> str:
    """What finished points of an unfinished record must be about: also what its provenance will say of them all."""
    code = code_at_start()
    made_by = {"commit": code.commit, "dirty": code.dirty, "versions": package_versions(), "device": device}
    return canonical_json({"id": address.id, "python": platform.python_version(), **made_by})


def _dataset_section(data: Dataset) -> dict[str, object]:
    return {
        "name": data.name,
        "digest": data.digest,
        "n_train": len(data.X_train),
        "n_test": len(data.X_test),
        "n_features": data.n_features,
        "n_classes": data.n_classes,
    }


def _method_section(config: RunConfig) -> dict[str, object]:
    return {"name": config.method.name, "params": _method_params(config), "random_state": config.seed}


def _errors(record: Record, grid: list[float]) -> tuple[float | None, dict[float, float]]:
    """Clean error and error at each radius of ``grid``, read back from the record's points; None without points."""
    holds = Contents.read(record.content["holds"])
    if holds.unit != "point":
        return None, {}
    points = read_points(record.folder / "points.csv", holds)
    radii = points[holds.counted].to_numpy()
    wrong = (points["label"] != points["prediction"]).to_numpy()
    return float(wrong.mean()), {radius: float((radii <= radius).mean()) for radius in grid}


@contextmanager
def _limited_threads(threads: int | None) -> Iterator[None]:
    if threads is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
