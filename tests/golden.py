"""Numbers of every stage on small problems, which may only change together with the stage's version.

A record's key holds the versions of the stages that its numbers come from (`arml.versions`). Who changes numbers and
forgets the version gives new numbers an old name; so each stage's numbers stand in ``golden.json`` beside its version,
and a test fails where the numbers moved and the version did not.

A digest of the code instead would make every record an older one whenever a name is changed, and the ledger worthless.

    python -m tests.golden          what moved
    python -m tests.golden --write  keep the numbers of stages whose version is new; refuses others that moved
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import arml
from arml.datasets import Dataset
from arml.learners import make_learner
from arml.versions import VERSIONS

PATH = Path(__file__).with_name("golden.json")

#: How far numbers may lie apart, relative to the largest of their list: other processors sum in another order. Learners
#: take few steps here, because each step makes the last digit's difference larger; exact K-NN radii have a gap.
TOLERANCE = {
    "learners.arml": 1e-7,
    "learners.baselines": 1e-7,
    "certify.knn_exact": 1e-6,
    "attacks.local_search": 1e-6,
    "attacks.decision_based": 1e-4,
}
_TOLERANCE = 1e-9
#: Which share of the numbers may be others altogether: where a search ends may hang on the last digit of a distance.
LOOSE = {"attacks.local_search": 0.1, "attacks.decision_based": 0.1}

Numbers = dict[str, list[float]]


def _protocol() -> Numbers:
    data = arml.load_dataset("digits")
    return {
        "train": _sums(data.X_train),
        "test": _sums(data.X_test),
        "labels": data.y_train[:20].astype(float).tolist(),
        "subset": data.evaluation_indices(20, 42).astype(float).tolist(),
        "toy": _sums(arml.load_dataset("toy").X_train),
    }


def _learned(name: str, **params: object) -> list[float]:
    data = arml.load_dataset("digits")
    learner = make_learner(name, params, random_state=42, device="cpu").fit(data.X_train[:300], data.y_train[:300])
    G = np.asarray(learner.components_)
    return _sums(G.T @ G)


def _sums(X: np.ndarray) -> list[float]:
    """Sums of a matrix with a few weights, which hardly any change of its entries leaves as they are."""
    rows, columns = (np.cos(np.arange(n)[:, None] * np.arange(1, 4)) for n in X.shape)
    return (rows.T @ X @ columns).ravel().tolist()


def _metric(data: Dataset) -> np.ndarray:
    """A factor of a metric, ill-conditioned, that comes from no learner."""
    d = data.n_features
    return np.diag(10.0 ** np.linspace(-2, 0.5, d)) + 0.05 * np.cos(np.arange(d)[:, None] * np.arange(1, d + 1))


def _radii(method: str, K: int, *, plain: bool = False, n: int = 20, **options: object) -> Numbers:
    data = arml.load_dataset("digits")
    X, y = data.evaluation_subset(n, seed=42)
    metric = arml.Mahalanobis.from_components(np.eye(data.n_features) if plain else _metric(data))
    knn = arml.MahalanobisKNN(K, metric=metric).fit(data.X_train, data.y_train)
    bounds = getattr(knn, method)(X, y, **options)
    return {"lower": bounds.lower.tolist(), "upper": np.where(np.isfinite(bounds.upper), bounds.upper, -1.0).tolist()}


def _grid() -> Numbers:
    data = arml.load_dataset("toy")
    knn = arml.MahalanobisKNN(1).fit(data.X_train, data.y_train)
    x = np.linspace(data.X_train.min(), data.X_train.max(), 15)
    return {"labels": knn.predict(np.stack(np.meshgrid(x, x), axis=-1).reshape(-1, 2)).astype(float).tolist()}


STAGES: Mapping[str, Callable[[], Numbers]] = {
    "datasets.protocol": _protocol,
    "learners.arml": lambda: {"M": _learned("arml", max_iter=5)},
    "learners.baselines": lambda: {
        "nca": _learned("nca", max_iter=3),
        "lmnn": _learned("lmnn", max_iter=4, min_iter=1),
        "itml": _learned("itml", max_iter=3),
        "lfda": _learned("lfda"),
    },
    "certify.one_nn": lambda: _radii("exact_radius", 1),
    "certify.knn_bound": lambda: {
        f"norm {norm}: {name}": values
        for norm in (2.0, 1.0, float("inf"))
        for name, values in _radii("certified_radius", 5, norm=norm).items()
    },
    "certify.knn_exact": lambda: {
        f"{event}: {name}": values
        for event in ("plurality", "majority")
        for name, values in _radii("exact_radius", 5, event=event, max_nodes=300).items()
    },
    "attacks.local_search": lambda: _radii("attacked_radius", 5, plain=True, n=60, attack="local_search"),
    "attacks.decision_based": lambda: {
        f"{attack}: {name}": values
        for attack, steps in (("boundary", 60), ("hopskipjump", 2))
        for name, values in _radii("attacked_radius", 5, plain=True, n=30, attack=attack, steps=steps, seed=42).items()
    },
    "evaluations.grid": _grid,
}


def moved(stage: str, kept: Numbers) -> str:
    """The first of a stage's numbers that is not the kept one, in words; empty where none is."""
    now = STAGES[stage]()
    if now.keys() != kept.keys():
        return f"there are {sorted(now)}, kept are {sorted(kept)}"
    for name, values in now.items():
        old, new = np.array(kept[name]), np.array(values)
        if old.shape != new.shape:
            return f"{name} has {new.size} numbers, kept are {old.size}"
        room = TOLERANCE.get(stage, _TOLERANCE) * max(np.abs(old).max(initial=0.0), 1e-300)
        apart = np.flatnonzero(~(np.abs(new - old) <= room))
        if apart.size > LOOSE.get(stage, 0.0) * new.size:
            return f"{name}[{apart[0]}] is {new[apart[0]]!r}, kept is {old[apart[0]]!r}"
    return ""


def main() -> int:
    """Say what moved, or keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    kept = json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}
    refused = 0
    for stage in STAGES:
        known = kept.get(stage)
        if known is not None and known["version"] == VERSIONS[stage]:
            words = moved(stage, known["numbers"])
            if words:
                refused += 1
                print(f"{stage} {VERSIONS[stage]}: {words}; raise its version in arml/versions.py")
        elif options.write:
            kept[stage] = {"version": VERSIONS[stage], "numbers": STAGES[stage]()}
            print(f"{stage} {VERSIONS[stage]}: kept")
        else:
            refused += 1
            print(f"{stage} {VERSIONS[stage]}: its numbers are not kept")
    if options.write:
        PATH.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return int(refused > 0)


if __name__ == "__main__":
    sys.exit(main())
