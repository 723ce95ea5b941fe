"""The classifier prepared once for all questions: `FittedKNN`, and `Compute`, how its questions are to be computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from arml.classifier.exactly import Factor
from arml.classifier.frame import Frame
from arml.classifier.training_set import TrainingSet
from arml.geometry import Mahalanobis

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Compute:
    """``memory_budget`` bytes for arrays of (test points at a time) by (training points); ``progress`` is called with
    the number of test points just finished."""

    memory_budget: int = 256 * 2**20
    progress: Callable[[int], None] | None = None

    def rows(self, n_train: int, arrays: int, most: int = 256) -> int:
        """How many test points at a time, for so many arrays of test by training points."""
        return max(1, min(most, self.memory_budget // (8 * n_train * arrays)))

    def advance(self, count: int) -> None:
        """Report finished test points."""
        if self.progress is not None and count:
            self.progress(count)


@dataclass(frozen=True)
class FittedKNN:
    """A K-NN classifier under ``d_M``: K, metric, training points (n, d) with labels (n,), and what follows from these.

    Attributes
    ----------
    classes (C,) : the labels there are, ascending; votes (n,) : class numbers of the training points
    frame : in which everything is computed; device : where the matrix products run
    """

    n_neighbors: int
    metric: Mahalanobis
    X_train: Array
    y_train: Integers
    classes: Integers
    votes: Integers
    frame: Frame
    device: torch.device

    @classmethod
    def prepare(
        cls, metric: Mahalanobis, X_train: Array, y_train: Integers, n_neighbors: int, device: torch.device
    ) -> FittedKNN:
        """Prepare a classifier from checked inputs.

        Raises
        ------
        InvalidInputError, InvalidMetricError
            If points or metric leave the range in which anything can be proven.
        """
        classes, votes = np.unique(y_train, return_inverse=True)
        votes = votes.astype(np.int64)
        frame = Frame.of(metric, X_train)
        frame.metric(metric)
        return cls(n_neighbors, metric, X_train, y_train, classes, votes, frame, device)

    @cached_property
    def train(self) -> TrainingSet:
        """The training points in the frame."""
        return TrainingSet.build(self.frame, self.metric, self.X_train, self.votes, self.device)

    @property
    def k(self) -> int:
        """Votes that make a majority."""
        return (self.n_neighbors + 1) // 2

    @cached_property
    def exact_factor(self) -> Factor:
        """G of the frame, for comparisons in exact arithmetic."""
        return Factor.of(self.train.metric.components)

    def class_numbers(self, labels: Integers) -> Integers:
        """Class numbers of labels (t,); -1 for a label that no training point has."""
        places = np.minimum(np.searchsorted(self.classes, labels), len(self.classes) - 1)
        return np.where(self.classes[places] == labels, places, -1)

    def differences(self, x: Array, index: Integers | slice) -> Array:
        """``x_i - x`` (m, d) of training points, in units of the frame: one rounding a coordinate."""
        return np.asarray((self.X_train[index] - x) / self.frame.unit)

    def differences_from(self, X: Array, index: Integers) -> Array:
        """``x_i - x`` (t, d) of one training point for each of the points X (t, d), in units of the frame."""
        return np.asarray((self.X_train[index] - X) / self.frame.unit)
