"""K-nearest-neighbour classification under a Mahalanobis metric, and the way in to its robustness radii.

knn = MahalanobisKNN(n_neighbors=1, metric=metric).fit(X_train, y_train)
knn.predict(X)                # labels
knn.exact_radius(X, y)        # RadiusBounds: how far each point can be pushed before the answer may change
knn.certified_radius(X, y)    # RadiusBounds: a proven lower bound of that (Theorem 1, any odd K)
knn.attacked_radius(X, y)     # AttackedBounds: that, and a perturbation that does change the answer
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.attacks import ATTACKS, DECISION_BASED, DEFAULT_BOX, run_attack, sandwich
from arml.certify.knn.norms import NORMS
from arml.certify.knn.point_search import CLOSE, Budget, Question
from arml.certify.knn.theorem1 import certified_radii
from arml.certify.one_nn.radii import exact_radii
from arml.classifier.event import EVENTS, Outcome, outcomes
from arml.classifier.fitted import Compute, FittedKNN
from arml.classifier.nearest import nearest
from arml.devices import resolve_device
from arml.exact import Target, searched_radius
from arml.geometry import Mahalanobis, as_mahalanobis
from arml.inputs import (
    InvalidInputError,
    Names,
    check_columns,
    check_within_box,
    checked_box,
    checked_labels,
    checked_points,
    column_names,
)
from arml.proofs.claim import Claim, Subject, digest
from arml.radii import AttackedBounds, RadiusBounds, Status

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class MahalanobisKNN:
    """K-nearest-neighbour classifier under ``d_M`` with majority vote.

    Among classes with the same number of votes the smallest label wins; which of several training points at the same
    computed distance counts is left to torch. Robustness never relies on either: there, a tie is an attack
    (`arml.radii`).

    Parameters
    ----------
    n_neighbors : K, odd
    metric : "euclidean", a (d, d) positive semi-definite array, an object with ``components_`` (r, d), or a fitted
        learner with ``get_mahalanobis_matrix()``, such as every metric-learn estimator
    device : "cpu", "cuda" or "auto"; all computations are in float64
    memory_budget : bytes for arrays of (test points at a time) by (training points)

    Attributes
    ----------
    metric_ : the `Mahalanobis` metric in use
    X_train_ (n, d), y_train_ (n,), classes_ (C,) : the training set and its labels
    n_features_in_ : d; feature_names_in_ (d,) : the columns of X_train, where it was a DataFrame with named ones. A
        DataFrame with other columns, or these in another order, is refused afterwards; arrays go by position
    device_ : the torch device that ``device`` resolved to
    fitted_ : what all questions are asked of (`arml.classifier.fitted.FittedKNN`)
    """

    def __init__(
        self,
        n_neighbors: int = 1,
        metric: Any = "euclidean",
        *,
        device: str = "cpu",
        memory_budget: int = 256 * 2**20,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.device = device
        self.memory_budget = memory_budget

    def fit(self, X: ArrayLike, y: ArrayLike) -> MahalanobisKNN:
        """Keep the training points X (n, d) with integer labels y (n,).

        Raises
        ------
        InvalidInputError
            If X is not finite, y is not integer, their lengths differ, there is only one class, K is even or less than
            1, or K is larger than the training set.
        InvalidMetricError
            If the metric is not positive semi-definite or has another dimension.
        DeviceError
            If the device does not exist.
        """
        X_train = checked_points(X, "X_train")
        y_train = checked_labels(y, len(X_train), "y_train")
        K = self.n_neighbors
        if isinstance(K, bool) or not isinstance(K, int | np.integer) or K < 1 or K % 2 == 0:
            raise InvalidInputError(f"n_neighbors must be an odd positive integer, got {K!r}")
        if len(X_train) < K:
            raise InvalidInputError(f"n_neighbors={K} is larger than the training set of {len(X_train)} points")
        classes = np.unique(y_train)
        if len(classes) < 2:
            raise InvalidInputError(
                f"y_train holds only class {classes[0]}; a classifier of one class cannot be attacked or certified"
            )
        self.device_ = resolve_device(self.device)
        self.metric_: Mahalanobis = as_mahalanobis(self.metric, X_train.shape[1])
        self.X_train_, self.y_train_, self.classes_ = X_train, y_train, classes
        self._keep_names(column_names(X))
        self.fitted_ = FittedKNN.prepare(self.metric_, X_train, y_train, int(K), self.device_)
        self._known_digests: dict[str, str] | None = None
        return self

    def predict(self, X: ArrayLike) -> Integers:
        """Labels (t,) of the points X (t, d) by majority vote of their K nearest training points.

        Raises
        ------
        InvalidInputError
            If the classifier is not fitted, or X is not a finite (t, d) array.
        """
        votes = self.votes(X)
        return np.asarray(self.classes_[votes.argmax(axis=1)])

    def votes(self, X: ArrayLike) -> Integers:
        """How many of the K nearest training points of X (t, d) have each of the labels ``classes_``: (t, C).

        Raises
        ------
        InvalidInputError
            If the classifier is not fitted, or X is not a finite (t, d) array.
        """
        points = self._test_points(X)
        chosen = nearest(self.fitted_, points, Compute(self.memory_budget))
        counts = np.zeros((len(points), len(self.classes_)), dtype=np.int64)
        np.add.at(counts, (np.arange(len(points))[:, None], self.fitted_.votes[chosen]), 1)
        return counts

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Accuracy on the points X (t, d) with labels y (t,)."""
        points = self._test_points(X)
        return float(np.mean(self.predict(points) == checked_labels(y, len(points), "y")))

    def exact_radius(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        box: tuple[float, float] | None = None,
        event: str = "plurality",
        gap: float = CLOSE,
        time_limit: float | None = None,
        max_nodes: int = 1_000_000,
        proofs: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> RadiusBounds:
        """Exact minimal adversarial perturbations of the points X (t, d) with labels y (t,).

        ``lower`` is proven and ``upper`` attained by ``perturbation``, to a relative gap of at most 1e-6 (status
        "exact"). Misclassified points have radius 0. For K = 1 this solves eq. (13) of *Provably Robust Metric
        Learning* (`arml.certify.one_nn`). For K > 1, which the paper calls intractable, a search by branch and bound
        brings Theorem 1 and an attack together (`arml.certify.knn.search`); it can be stopped at any time and returns a
        `SearchedBounds` whose ``lower`` is Theorem 1 or more, less a billionth left for a checker's own rounding
        (status "time_limit" where a gap is left).

        Parameters
        ----------
        box : optional (low, high) range that every coordinate of the perturbed point must stay in; a coordinate that is
            outside keeps its own value as limit
        event : what counts as an attack if K > 1. "majority": fewer than (K + 1) / 2 of the K nearest neighbours have
            the label, the event that Theorem 1 bounds. "plurality": another class has as many of them as the label, so
            that the answer may change (a tie of votes is an attack, whichever label `predict` prefers). "predict":
            `predict` answers another class, which of equal votes prefers the smallest label. With two classes these are
            the same, with more each may be harder to reach than the one before
        gap : relative gap at which the search of a point ends (K > 1)
        time_limit : seconds per point, None for no limit; max_nodes : size of the tree, which, unlike time, is
            repeatable (K > 1)
        proofs : whether to keep what `arml.recheck` needs to check the result (K > 1; with K = 1 it is always kept)
        progress : called with the number of points just finished

        Raises
        ------
        InvalidInputError
            If the classifier is not fitted, the points or labels cannot be used, the box is empty, or an option is
            impossible.
        """
        points = self._test_points(X)
        labels = checked_labels(y, len(points), "y")
        subject = Subject(self.metric_.components, self.X_train_, self.y_train_, points, labels)
        claim = Claim.about(subject, self.n_neighbors, event, checked_box(box), self._digests)
        if self.n_neighbors > 1:
            budget = _checked_budget(event, gap, time_limit, max_nodes)
            attacked, kept = self.attacked_radius(points, labels, box=box), checked_box(box)
            question = Question(self.fitted_, event, budget)
            target = Target(points, self.fitted_.class_numbers(labels), kept)
            compute = Compute(self.memory_budget, progress)
            searched = searched_radius(self, question, target, attacked, claim, proofs=proofs, compute=compute)
            return replace(searched, subject=subject)
        compute = Compute(self.memory_budget, progress)
        numbers = self.fitted_.class_numbers(labels)
        found = exact_radii(self.fitted_, points, numbers, claim, box=checked_box(box), compute=compute)
        return replace(found, subject=subject)

    def certified_radius(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        norm: float = 2,
        progress: Callable[[int], None] | None = None,
    ) -> RadiusBounds:
        """Proven lower bounds of the radii of the points X (t, d) with labels y (t,), by Theorem 1, for any odd K.

        ``lower`` is the theorem's value (eq. 10), rounded down; ``upper`` is ``inf``, nothing was attacked. What is
        certified is that y keeps a majority of the K votes; see `arml.certify.knn.theorem1`. A misclassified point has
        radius 0. So has a point whose label wins the vote without a majority (status "bounded"), which only happens
        with more than two classes. Where fewer than (K + 1) / 2 training points have other labels the radius is
        infinite (status "unreachable").

        Parameters
        ----------
        norm : norm of the perturbation that the radius is measured in: 2, 1 or ``math.inf``
        progress : called with the number of points just finished

        Raises
        ------
        InvalidInputError
            If the classifier is not fitted, the points or labels cannot be used, or the norm is another.
        """
        points = self._test_points(X)
        labels = checked_labels(y, len(points), "y")
        return self._certified(points, labels, norm, progress)[0]

    def attacked_radius(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        attack: str = "local_search",
        box: tuple[float, float] | None = None,
        seed: int = 0,
        steps: int | None = None,
        start: str = "training",
        progress: Callable[[int], None] | None = None,
    ) -> AttackedBounds:
        """Bounds of the radii from both sides: ``lower`` by Theorem 1, ``upper`` by an attack on the points X (t, d).

        Every perturbation handed out was given back to `predict`, which answered another class than y (t,). Where the
        attack found none ``upper`` is ``inf``.

        Parameters
        ----------
        attack : "local_search" (sees the training points), or "boundary" or "hopskipjump" (only ask for answers)
        box : range (low, high) that every coordinate of the perturbed point must stay in. By default none for
            "local_search" and (0, 1) for the others, which need one; points outside that default are refused, points
            outside a box that is given are placed on it first by the others
        seed : seed of the attacks that draw; local_search does not
        steps : length of the attacks that draw; None is their default
        start : where the attacks that draw start: "training" points, or blends with "noise" as foolbox by default
        progress : called with the number of points just finished

        Raises
        ------
        InvalidInputError
            If the classifier is not fitted, the points or labels cannot be used, the box is empty, or the attack is
            unknown.
        ValueError
            If the steps, the start or the box are not ones that the attack can work with.
        SandwichError
            If a perturbation is shorter than the proven bound: a bug, in one of the two.
        """
        points = self._test_points(X)
        labels = checked_labels(y, len(points), "y")
        if attack not in ATTACKS:
            raise InvalidInputError(f"unknown attack {attack!r}; there are: {', '.join(ATTACKS)}")
        box = checked_box(box)
        if box is None and attack in DECISION_BASED:
            # Nobody chose the default: it would move points that are not meant for it far by its edges alone.
            own = "pass the range of your features as box=(low, high)" if attack == "boundary" else "scale them to it"
            check_within_box(points, DEFAULT_BOX, "X", attack, f"{own}, or use attack='local_search', which needs none")
        certified, rows = self._certified(points, labels, 2, None)
        right = np.flatnonzero(certified.status != Status.MISCLASSIFIED.value)
        if progress is not None:
            progress(len(points) - len(right))
        result = run_attack(self, attack, points[right], labels[right], rows[right], box, seed, steps, start, progress)
        return sandwich(certified, right, result)

    def _certified(
        self, points: Array, labels: Integers, norm: float, progress: Callable[[int], None] | None
    ) -> tuple[RadiusBounds, Integers]:
        """Theorem 1, and per point the training indices of the rows that decide it."""
        if norm not in NORMS:
            raise InvalidInputError(f"norm must be 2, 1 or inf, got {norm!r}")
        compute = Compute(self.memory_budget, progress)
        numbers = self.fitted_.class_numbers(labels)
        found = certified_radii(self.fitted_, points, numbers, norm=norm, compute=compute)
        # A positive bound proves that the label has its majority, so only the others have to be asked for.
        doubtful = np.flatnonzero((found.lower == 0) & (numbers >= 0))
        wrong = numbers < 0
        at = points[doubtful]
        answered = outcomes(self.fitted_, at, np.zeros(at.shape), numbers[doubtful], "predict", compute)
        wrong[doubtful] = answered == Outcome.LOST
        lower = found.lower
        status = np.where(np.isinf(lower), Status.UNREACHABLE.value, Status.BOUNDED.value)
        status = np.where(wrong, Status.MISCLASSIFIED.value, status)
        return RadiusBounds(lower, np.where(wrong, 0.0, np.inf), status), found.rows

    @property
    def _digests(self) -> dict[str, str]:
        """Digests of what was fitted, computed once."""
        if self._known_digests is None:
            arrays = (("components", self.metric_.components), ("X_train", self.X_train_), ("y_train", self.y_train_))
            self._known_digests = {name: digest(array) for name, array in arrays}
        return self._known_digests

    def _keep_names(self, columns: Names | None) -> None:
        """Keep the names of the columns fitted on; as in scikit-learn only strings make ``feature_names_in_``."""
        self.n_features_in_ = self.X_train_.shape[1]
        self._columns = columns
        if columns is not None and all(isinstance(name, str) for name in columns):
            self.feature_names_in_ = np.array(columns, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_  # of an earlier fit

    def _test_points(self, X: ArrayLike) -> Array:
        if not hasattr(self, "X_train_"):
            raise InvalidInputError("this MahalanobisKNN is not fitted; call fit(X_train, y_train) first")
        check_columns(self._columns, column_names(X), "X")
        points = checked_points(X, "X")
        if points.shape[1] != self.X_train_.shape[1]:
            raise InvalidInputError(f"X has {points.shape[1]} features, the training set has {self.X_train_.shape[1]}")
        self.fitted_.frame.require_reach(points, "X")
        return points


def _checked_budget(event: str, gap: float, time_limit: float | None, max_nodes: int) -> Budget:
    if event not in EVENTS:
        raise InvalidInputError(f"unknown event {event!r}; there are: {', '.join(EVENTS)}")
    if not 0 <= gap < 1:
        raise InvalidInputError(f"gap must be at least 0 and below 1, got {gap!r}")
    if time_limit is not None and not time_limit > 0:
        raise InvalidInputError(f"time_limit must be a positive number of seconds or None, got {time_limit!r}")
    if isinstance(max_nodes, bool) or not isinstance(max_nodes, int | np.integer) or max_nodes < 1:
        raise InvalidInputError(f"max_nodes must be a positive integer, got {max_nodes!r}")
    return Budget(float(gap), np.inf if time_limit is None else float(time_limit), int(max_nodes))
