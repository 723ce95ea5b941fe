"""Synthetic records, written as the experiments write them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from arml.experiments.families import EVALUATIONS
from arml.records.contents import ATTACK, BOUNDS, SEARCH, Contents
from arml.records.format import PROOF_FILE, SCHEMA
from arml.reports.published import paper_errors, paper_radii
from arml.subset import evaluation_indices
from arml.versions import record_versions

METHODS = ("euclidean", "nca", "lmnn", "itml", "lfda", "arml")


def write_record(folder: Path, stage: str, label: str, key: object, content: Mapping[str, object]) -> Path:
    """Rename ``folder``, which holds the record's other files, to its address, and write record.json into it."""
    identity = hashlib.sha256(json.dumps(key, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}
    record = {"schema": SCHEMA, "id": identity, "stage": stage, "key": key, **content, "files": files}
    (folder / "record.json").write_text(json.dumps(record, indent=2))
    target = folder.parent / f"{label}-{identity[:12]}"
    return folder.replace(target)


def write_radii(
    runs: Path,
    dataset: str,
    method: str,
    radii: np.ndarray,
    *,
    upper: np.ndarray | None = None,
    majority: np.ndarray | None = None,
    index: np.ndarray | None = None,
    status: list[str] | None = None,
    nodes: np.ndarray | None = None,
    evaluation: str = "exact_1nn",
    kind: str = "exact",
    settings: Mapping[str, object] | None = None,
    k: int = 1,
    n_eval: int | None = None,
    seed: int = 42,
    n_train: int = 6000,
    n_test: int = 2000,
    metric: str = "1",
    params: Mapping[str, object] | None = None,
    fit_report: Mapping[str, object] | None = None,
    box: list[float] | None = None,
    grid: list[float] | None = None,
    created: str = "2026-01-01T12:00:00+00:00",
    versions: Mapping[str, int] | None = None,
    variant: str | None = None,
    witness: bool = False,
) -> Path:
    """Write one record of radii below ``runs`` and return its folder; ``radii`` are the lower bounds.

    They are those of the evaluation subset's points, in its order. ``versions`` are put over those of the code at hand,
    and ``variant`` into the key, which gives records of equal settings different ids.
    """
    folder = runs / "radii" / "new"
    folder.mkdir(parents=True)
    n_eval = len(radii) if n_eval is None else n_eval
    index = evaluation_indices(n_test, n_eval, seed) if index is None else index
    proven = witness or evaluation == "exact_1nn"
    if proven:
        # The reports do not look into proofs, only at the perturbations beside them.
        norms = np.asarray(radii if upper is None else upper, dtype=float)
        perturbation = np.outer(np.where(np.isfinite(norms), norms, 0.0), [0.6, 0.8])
        np.savez(folder / PROOF_FILE, index=index, perturbation=perturbation)
    write_points(folder / "points.csv", radii, upper, majority, index, status, nodes)
    attacked = kind not in ("exact", "certified")
    holds = Contents(
        "point",
        "attacked" if attacked else "proven",
        {**BOUNDS, **({} if majority is None else ATTACK), **({} if nodes is None else SEARCH)},
        counts="upper" if attacked else "lower",
        proof=PROOF_FILE if proven else None,
    ).described()
    method_section = {"name": method, "params": dict(params or {}), "random_state": seed}
    evaluated: dict[str, object] = {
        "name": evaluation, "kind": kind, "k": k, "n_eval": n_eval, "seed": seed, "box": box, **(settings or {}),
    }  # fmt: skip
    radii_asked = grid or paper_radii("table1").get(dataset, [0.0, 0.5, 1.0])
    data = {
        "name": dataset, "digest": "0" * 64, "n_train": n_train, "n_test": n_test, "n_features": 5, "n_classes": 3,
    }  # fmt: skip
    content = {
        "dataset": data,
        "method": method_section,
        "metric": {"digest": metric * 64, "id": "2" * 64, "fit_report": dict(fit_report or {})},
        "evaluation": evaluated | {"radii": radii_asked},
        "holds": holds,
        "provenance": {"git_commit": None, "git_dirty": False, "versions": {}, "python": "3.11", "created": created},
    }
    fit = {name: (fit_report or {}).get(name) for name in ("n_fit_samples", "n_iter", "converged")}
    key = {
        "dataset": data, "method": {"name": method, "params": dict(params or {})}, "seed": seed, "stage": "radii",
        "metric_digest": metric * 64, "metric": {"id": "2" * 64, "fit": fit}, "evaluation": evaluated,
        "holds": holds, "versions": record_versions(method, EVALUATIONS[evaluation].versions) | dict(versions or {}),
    }  # fmt: skip
    if variant is not None:
        key["variant"] = variant
    return write_record(folder, "radii", f"{dataset}-{method}-{evaluation}", key, content)


def write_points(
    path: Path,
    lower: np.ndarray,
    upper: np.ndarray | None,
    majority: np.ndarray | None,
    index: np.ndarray,
    status: list[str] | None,
    nodes: np.ndarray | None,
) -> None:
    """points.csv; with ``majority`` in the form of an attack's, with ``nodes`` in that of a search's."""
    upper = lower if upper is None else upper
    statuses = status or ["misclassified" if radius == 0 else "exact" for radius in upper]
    columns = [index, statuses, lower, upper]
    more = ",majority,queries" if majority is not None else ",nodes" if nodes is not None else ""
    lines = ["index,label,prediction,lower,upper,status" + more]
    for row, (i, word, low, high) in enumerate(zip(*columns, strict=True)):
        line = f"{i},1,{2 if word == 'misclassified' else 1},{float(low)!r},{float(high)!r},{word}"
        if majority is not None:
            line += f",{float(majority[row])!r},{row}"
        lines.append(line if nodes is None else f"{line},{int(nodes[row])}")
    path.write_text("\n".join(lines) + "\n")


def damage_points(folder: Path, old: str, new: str) -> None:
    """Change points.csv and its digest, so that only the content is wrong."""
    path = folder / "points.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    record = json.loads((folder / "record.json").read_text())
    record["files"]["points.csv"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "record.json").write_text(json.dumps(record))


def write_kind(runs: Path, dataset: str, method: str, kind: str, radii: np.ndarray, **more) -> Path:
    """One record of table 2: ``radii`` are what counts for the kind."""
    n = len(radii)
    if kind == "certified":
        status = ["misclassified" if radius == 0 else "bounded" for radius in radii]
        given = {"upper": np.full(n, np.inf), "status": status, "evaluation": "certified_knn"}
        return write_radii(runs, dataset, method, radii, kind=kind, k=11, n_eval=n, **given | more)
    if kind == "exact":
        status = ["misclassified" if radius == 0 else "exact" for radius in radii]
        given = {"upper": radii, "status": status, "nodes": np.full(n, 7), "settings": {"event": "plurality"}}
        return write_radii(runs, dataset, method, radii, evaluation="exact_knn", k=11, n_eval=n, **given | more)
    status = ["misclassified" if radius == 0 else "bounded" for radius in radii]
    given = {
        "upper": radii, "majority": radii, "status": status, "evaluation": kind, "n_eval": n,
        "box": None if kind == "local_search" else [0.0, 1.0],
    }  # fmt: skip
    return write_radii(runs, dataset, method, np.zeros(n), kind=kind, k=11, **given | more)


def write_table2(
    runs: Path,
    datasets: list[str],
    methods: tuple[str, ...] = METHODS,
    kinds: tuple[str, ...] = ("certified", "boundary", "local_search"),
    n_boundary: int = 1000,
) -> None:
    """Records of table 2 whose certified and boundary errors are the paper's; local search lies a third between."""
    rng = np.random.default_rng(0)
    printed = paper_errors("table2")
    for dataset in datasets:
        for method in methods:
            radii = {}
            for name, paper in (("certified", "certified"), ("boundary", "empirical")):
                of = (printed["dataset"] == dataset) & (printed["method"] == method) & (printed["kind"] == paper)
                errors = dict(zip(printed.loc[of, "radius"], printed.loc[of, "paper_error"], strict=True))
                radii[name] = np.sort(radii_like(errors, 1000, rng))
            # Between the printed radii the random draws may cross.
            radii["boundary"] = np.maximum(*radii.values())
            radii["local_search"] = radii["certified"] + (radii["boundary"] - radii["certified"]) / 3
            order = rng.permutation(1000)
            for kind in kinds:
                n = n_boundary if kind == "boundary" else 1000
                write_kind(runs, dataset, method, kind, radii[kind][order[:n]])


def radii_like(errors: Mapping[float, float], n: int, rng: np.random.Generator) -> np.ndarray:
    """n radii whose robust error at each given radius is the given one, spread evenly in between."""
    points = sorted(errors.items())
    result = [np.zeros(round(points[0][1] * n))]
    for (left, low), (right, high) in pairwise(points):
        result.append(rng.uniform(np.nextafter(left, right), right, round(high * n) - round(low * n)))
    rest = n - sum(map(len, result))
    result.append(rng.uniform(points[-1][0] * 1.001, points[-1][0] * 1.5, rest))
    return rng.permutation(np.concatenate(result))


def write_paper_like(runs: Path, datasets: list[str], methods: tuple[str, ...] = METHODS, shift: float = 0.0) -> None:
    """Records whose errors are the paper's, each raised by ``shift`` (at most 1)."""
    rng = np.random.default_rng(0)
    printed = paper_errors("table1")
    for dataset in datasets:
        for method in methods:
            cells = printed[(printed["dataset"] == dataset) & (printed["method"] == method)]
            errors = {r: min(e + shift, 1.0) for r, e in zip(cells["radius"], cells["paper_error"], strict=True)}
            report: dict[str, object] = {"n_fit_samples": 6000, "converged": True, "n_iter": 20}
            write_radii(runs, dataset, method, radii_like(errors, 1000, rng), fit_report=report)


def write_boundary(
    runs: Path,
    method: str,
    matrix: np.ndarray,
    resolution: int = 200,
    variant: str | None = None,
    versions: Mapping[str, int] | None = None,
) -> Path:
    """A record of the 1-NN decision boundary of seven points under a (2, 2) matrix."""
    X = np.array([[0.5, 2.4], [1.2, 3.1], [2.2, 2.7], [3.0, 3.3], [0.8, 1.3], [1.9, 1.6], [2.9, 1.2]])
    y = np.array([0, 0, 0, 0, 1, 1, 1])
    xx, yy = np.linspace(-0.2, 3.8, resolution), np.linspace(0.4, 4.1, resolution)
    plane = np.stack(np.meshgrid(xx, yy), axis=-1).reshape(-1, 1, 2) - X
    nearest = np.einsum("nkd,de,nke->nk", plane, matrix, plane).argmin(axis=1)
    folder = runs / "boundary" / "new"
    folder.mkdir(parents=True)
    prediction = y[nearest].reshape(resolution, resolution)
    np.savez(folder / "grid.npz", xx=xx, yy=yy, prediction=prediction, X_train=X, y_train=y)
    data = {"name": "toy", "digest": "0" * 64, "n_train": 7, "n_test": 7, "n_features": 2, "n_classes": 2}
    evaluation = {"name": "boundary_grid", "kind": "grid", "k": 1, "resolution": resolution, "margin": 0.1}
    holds = Contents("grid", "measured", {}).described()
    content = {
        "dataset": data,
        "method": {"name": method, "params": {}, "random_state": 42},
        "metric": {"digest": "1" * 64, "id": "2" * 64, "fit_report": {}},
        "evaluation": evaluation | {"radii": [0.0]},
        "holds": holds,
        "provenance": {"created": "2026-01-01T12:00:00+00:00"},
    }
    key = {
        "dataset": data, "method": {"name": method, "params": {}}, "seed": 42, "stage": "boundary",
        "metric_digest": "1" * 64,
        "metric": {"id": "2" * 64, "fit": dict.fromkeys(("n_fit_samples", "n_iter", "converged"))},
        "evaluation": evaluation, "holds": holds,
        "versions": record_versions(method, EVALUATIONS["boundary_grid"].versions) | dict(versions or {}),
    }  # fmt: skip
    if variant is not None:
        key["variant"] = variant
    return write_record(folder, "boundary", f"toy-{method}", key, content)
