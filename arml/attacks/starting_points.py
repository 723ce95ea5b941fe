"""Where decision-based attacks start: the nearest training points that the classifier gives another label than y.

Nearest in the Euclidean distance, because that is what the attacks shorten. Only training points inside the box count,
rounded to float32 as the attacks see them; first those whose own label is another than y, and only where none of them
will do, those that carry y themselves.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from foolbox.attacks.blended_noise import LinearSearchBlendedUniformNoiseAttack
from foolbox.criteria import Misclassification
from foolbox.models.pytorch import PyTorchModel
from numpy.typing import NDArray

from arml.attacks.knn_model import KNNModel
from arml.attacks.seeding import seeded
from arml.geometry import sq_dist_matrix

#: Nearest candidates that are tried together.
BLOCK = 16
#: Candidates that `predict` calls adversarial and the model does not, before a point is given up; ties can do that.
ATTEMPTS = 10

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


#: Where an attack may start: at training points, or from foolbox's blends with uniform noise.
STARTS = ("training", "noise")


class StartingPoints:
    """Finds starting points among a training set; remembers what the classifier answered there.

    Parameters
    ----------
    X_train (n, d), y_train (n,) : the training set
    predict : the classifier in float64, (k, d) to labels (k,)
    box : (low, high) range that every coordinate of a starting point lies in
    memory_budget : bytes for arrays of (points at a time) by (training points)
    """

    def __init__(
        self,
        X_train: Array,
        y_train: Integers,
        *,
        predict: Callable[[Array], Integers],
        box: tuple[float, float],
        memory_budget: int,
    ) -> None:
        rounded = X_train.astype(np.float32).astype(np.float64)
        inside = ((rounded >= box[0]) & (rounded <= box[1])).all(axis=1)
        self._X, self._y = rounded[inside], y_train[inside]
        self._predict = predict
        self._rows = max(1, memory_budget // (8 * 4 * max(1, len(self._X))))
        self._answer = np.zeros(len(self._X), dtype=np.int64)
        self._known = np.zeros(len(self._X), dtype=bool)

    def choose(self, model: KNNModel, X: Array, y: Integers) -> tuple[Array, Mask]:
        """Starting points (k, d) for the points X (k, d) with labels y (k,), and whether there is one (k,).

        Both `predict` and ``model`` answer another label than y there, the latter when all that were found are asked
        as one batch: the model is left with its anchors at them.
        """
        begin, found = X.copy(), np.zeros(len(X), dtype=bool)
        rejected = np.zeros(len(X), dtype=np.int64)
        open_ = np.arange(len(X))
        for _ in range(ATTEMPTS):
            for rows in (open_[first : first + self._rows] for first in range(0, len(open_), self._rows)):
                chosen = self._nearest(X[rows], y[rows], rejected[rows])
                found[rows] = chosen >= 0
                begin[rows[chosen >= 0]] = self._X[chosen[chosen >= 0]]
            open_ = np.flatnonzero(found)
            open_ = open_[~_adversarial(model, begin[found], y[found])]
            if not len(open_):
                return begin, found
            rejected[open_] += 1
        found[open_] = False
        # Asked in another company the model may break ties otherwise: drop points until it agrees with what is left.
        while not (agreed := _adversarial(model, begin[found], y[found])).all():
            found[np.flatnonzero(found)[~agreed]] = False
        return begin, found

    def _nearest(self, X: Array, y: Integers, skip: Integers) -> Integers:
        """Index (k,) of the (skip + 1)-th nearest acceptable training point of each point of X; -1 where none is."""
        distance = sq_dist_matrix(X, self._X)
        distance[y[:, None] == self._y] += 2 * distance.max(initial=0.0) + 1
        order = distance.argsort(axis=1, kind="stable")
        chosen, passed = np.full(len(X), -1), np.zeros(len(X), dtype=np.int64)
        for first in range(0, len(self._X), BLOCK):
            rows = np.flatnonzero(chosen < 0)
            if not len(rows):
                break
            block = order[rows, first : first + BLOCK]
            accepted = self._answers(block) != y[rows, None]
            rank = passed[rows, None] + accepted.cumsum(axis=1)
            wanted = accepted & (rank == skip[rows, None] + 1)
            hit = wanted.any(axis=1)
            chosen[rows[hit]] = block[hit, wanted[hit].argmax(axis=1)]
            passed[rows] = rank[:, -1]
        return chosen

    def _answers(self, index: Integers) -> Integers:
        """What `predict` says of the training points ``index``, asked once for each of them."""
        unknown = np.unique(index[~self._known[index]])
        if len(unknown):
            self._answer[unknown] = self._predict(self._X[unknown])
            self._known[unknown] = True
        return self._answer[index]


def blended_with_noise(
    model: KNNModel, X: Array, begin: Array, y: Integers, box: tuple[float, float], seed: int
) -> Array:
    """foolbox's default start: each point of X (k, d) blended with uniform noise just far enough to change the answer.

    Points that no noise takes to another class keep their start in ``begin`` (k, d).
    """
    labels = torch.from_numpy(np.searchsorted(model.classes, y)).to(model.device)
    inputs = torch.from_numpy(X.astype(np.float32)).to(model.device)
    attack = LinearSearchBlendedUniformNoiseAttack(steps=50)
    with seeded(seed, model.device), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*failed to draw sufficient random inputs.*")
        queried = PyTorchModel(model, bounds=box, device=model.device)
        blends = attack.run(queried, inputs, Misclassification(labels)).double().cpu().numpy()
    mixed = np.where(_adversarial(model, blends, y)[:, None], blends, begin)
    # The answers are asked for once more, together, so that the model is left with its anchors at these points.
    return np.where(_adversarial(model, mixed, y)[:, None], mixed, begin)


def _adversarial(model: KNNModel, points: Array, y: Integers) -> Mask:
    """Whether the model answers another label than y (k,) at the points (k, d)."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    # Anchors at the very points: asked again, the model will answer the same to the last bit.
    model.forget()
    votes = model(torch.from_numpy(points.astype(np.float32)).to(model.device))
    return np.asarray(model.classes[votes.argmax(dim=1).cpu().numpy()] != y)
