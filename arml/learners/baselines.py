"""The metrics ARML is compared with: Euclidean, and metric-learn's NCA, LMNN, ITML and LFDA behind one interface.

Every estimator runs with metric-learn's defaults unless a parameter is given, and leaves a ``fit_report_``.

Differences from a plain call of metric-learn
---------------------------------------------
* NCA, LMNN and ITML are fitted on the features that vary over the fit samples; the constant ones keep the identity.
  That is what the library returns, only faster: its start is the identity and its updates vanish on a feature that is
  the same everywhere. Where the start is another (``init``, ``prior``, ``n_components``) all features are passed on.
* NCA's objective, ITML's projections and LMNN's gradient are the library's, summed in another order that is several
  times faster on images (`nca`, `itml`, `lmnn`); where a tie is decided by rounding the two may part, in the seventh
  digit and later.
* NCA and LMNN need memory quadratic in the number of points; ``fit_subset`` bounds it by a stratified subset.
* LFDA on data whose within-class scatter is singular: metric-learn's answer is complex and NaN, see `singular_lfda`.
  A finite real answer is taken as it is, where the points differ within their classes in every direction.
  ``n_components`` cuts the full solution, which makes it deterministic.
* Labels are encoded as 0..C-1, because metric-learn's pair sampling (ITML) ignores points with a negative label.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from inspect import signature
from typing import Any, Self

import metric_learn
import numpy as np
from numpy.typing import ArrayLike, NDArray

from arml.learners.base import Array, check_training_set
from arml.learners.itml import BlockwiseITML
from arml.learners.lmnn import IncrementalLMNN
from arml.learners.nca import BlockwiseNCA
from arml.learners.singular_lfda import singular_lfda, within_class_rank
from arml.learners.subset import stratified_subset
from arml.versions import VERSIONS

#: Bump when the numbers of any baseline change; part of every record's key.
VERSION = VERSIONS["learners.baselines"]

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class _Algorithm:
    """What the adapter must know about one metric-learn estimator."""

    estimator: type
    #: Name of the parameter that chooses the start.
    start: str | None = None
    takes_subset: bool = False
    #: Value of n_iter_ when max_iter ended the fit, relative to max_iter.
    last_iteration: int = 0


ALGORITHMS: Mapping[str, _Algorithm] = {
    "nca": _Algorithm(BlockwiseNCA, start="init", takes_subset=True),
    "lmnn": _Algorithm(IncrementalLMNN, start="init", takes_subset=True, last_iteration=-1),
    "itml": _Algorithm(BlockwiseITML, start="prior", last_iteration=-1),
    "lfda": _Algorithm(metric_learn.LFDA),
}


class EuclideanMetric:
    """The identity as a learner: ``components_`` is (d, d)."""

    components_: Array
    fit_report_: dict[str, Any]

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Take the dimension from X (n, d); raises ValueError on the input every learner refuses."""
        points, _ = check_training_set(X, y)
        self.components_ = np.eye(points.shape[1])
        self.fit_report_ = _report("euclidean", None, points, points)
        return self

    def get_mahalanobis_matrix(self) -> Array:
        """The identity, (d, d)."""
        return self.components_.T @ self.components_


class MetricLearnBaseline:
    """A metric-learn estimator, fitted and reported like every other learner.

    Parameters
    ----------
    name : "nca", "lmnn", "itml" or "lfda"
    params : constructor parameters of the estimator that differ from its defaults, as plain values; for NCA and LMNN
        also ``fit_subset``: when the training set is larger, fit on a stratified random subset of that size
    random_state : seed of the estimator and of the subset

    Attributes
    ----------
    components_ : (r, d) float64 array, G; the identity rows of constant features come last, in the order of the columns
    fit_report_ : JSON-able dict: algorithm, library, version, n_train, n_fit_samples, n_varying_features, n_iter,
        converged (the stopping rule ended the fit before max_iter; None if the algorithm does not iterate), seconds,
        notes (list of sentences)

    Raises
    ------
    ValueError
        For an unknown name or parameter; the message lists the valid ones.
    """

    components_: Array
    fit_report_: dict[str, Any]

    def __init__(self, name: str, params: Mapping[str, object] | None = None, *, random_state: int) -> None:
        if name not in ALGORITHMS:
            raise ValueError(f"unknown baseline {name!r}; valid ones: {', '.join(ALGORITHMS)}")
        self.name = name
        self.random_state = random_state
        self._algorithm = ALGORITHMS[name]
        given = dict(params or {})
        valid = baseline_parameters(name)
        unknown = sorted(set(given) - set(valid))
        if unknown:
            raise ValueError(f"{name} has no parameter {', '.join(map(repr, unknown))}; valid ones: {', '.join(valid)}")
        self.fit_subset = _checked_subset(name, given.pop("fit_subset", None))
        self.params = given

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn from X (n, d) and labels y (n,).

        Raises
        ------
        ValueError
            If the input is not a finite labelled training set of at least two classes, if the subset cannot be drawn,
            or if the library fails or returns something that is not a real, finite matrix.
        """
        started = time.perf_counter()
        points, labels = check_training_set(X, y)
        X_fit, y_fit = stratified_subset(points, labels, self.fit_subset, self.random_state)
        estimator = self._algorithm.estimator(**self._estimator_params(X_fit, y_fit))
        notes: list[str] = []
        if self.name == "lfda":
            self.components_ = self._fit_lfda(estimator, X_fit, y_fit, notes)
        else:
            self.components_ = self._fit_varying(estimator, X_fit, y_fit)
        self.fit_report_ = _report(self.name, estimator, points, X_fit) | {
            "converged": self._converged(estimator),
            "seconds": time.perf_counter() - started,
            "notes": notes,
        }
        return self

    def get_mahalanobis_matrix(self) -> Array:
        """``M = G' G``, (d, d)."""
        return self.components_.T @ self.components_

    def _starts_at_identity(self, X: Array, y: Labels) -> bool:
        """Whether the library would start at the identity on these data, so that constant features stay untouched."""
        if self._algorithm.start is None or self.params.get("n_components") is not None:
            return False
        default = signature(self._algorithm.estimator).parameters[self._algorithm.start].default
        start = self.params.get(self._algorithm.start, default)
        if not isinstance(start, str):
            return False
        # metric-learn's "auto" means "lda" when there are more classes than features, else the identity.
        return start == "identity" or (start == "auto" and X.shape[1] >= len(np.unique(y)))

    def _estimator_params(self, X: Array, y: Labels) -> dict[str, object]:
        params = dict(self.params)
        if "random_state" in signature(self._algorithm.estimator).parameters:
            params["random_state"] = self.random_state
        if self._algorithm.start is not None and self._starts_at_identity(X, y):
            # Fewer features must not turn "auto" into another start.
            params[self._algorithm.start] = "identity"
        return params

    def _fit_varying(self, estimator: Any, X: Array, y: Labels) -> Array:
        d = X.shape[1]
        varies = _varying(X) if self._starts_at_identity(X, y) else np.ones(d, dtype=bool)
        if not varies.any():
            raise ValueError(f"{self.name}: no feature varies over the {len(X)} fit samples, so nothing can be learned")
        columns, constant = np.flatnonzero(varies), np.flatnonzero(~varies)
        learned = self._call(estimator, X[:, columns], y)
        if np.iscomplexobj(learned) or not np.isfinite(learned).all():
            raise ValueError(
                f"{self.name}: metric-learn returned a metric that is complex or not finite; look for duplicate points "
                "with different labels, or change its parameters"
            )
        G = np.zeros((len(learned) + len(constant), d))
        G[: len(learned), columns] = learned
        G[len(learned) + np.arange(len(constant)), constant] = 1.0
        return G

    def _fit_lfda(self, estimator: Any, X: Array, y: Labels, notes: list[str]) -> Array:
        d = X.shape[1]
        n_components = d if estimator.n_components is None else int(estimator.n_components)
        if not 1 <= n_components <= d:
            raise ValueError(f"lfda: n_components must be None or in 1..{d} (the features), got {n_components}")
        # All directions, then the strongest: for fewer, the library starts an iterative solver at a random vector.
        estimator.set_params(n_components=None)
        rank = within_class_rank(X, y)
        if rank == 0:
            raise ValueError(
                f"lfda: the points of each of the {len(np.unique(y))} classes are all the same, so that no direction "
                "can be weighed by its spread within classes; every class needs different points, or take "
                "method=euclidean"
            )
        # Where the scatter is singular the library may invert its rounding instead, and return entries of 1e32.
        if rank == d:
            learned = self._call(estimator, X[:, np.arange(d)], y)
            if not np.iscomplexobj(learned) and np.isfinite(learned).all():
                return np.ascontiguousarray(learned[:n_components], dtype=np.float64)
        G = singular_lfda(X, y, k=estimator.k, embedding_type=estimator.embedding_type)
        notes.append(
            f"the within-class scatter of the {d} features is singular (rank {len(G)}), metric-learn's answer complex "
            "or NaN; solved on the range of the scatter, the other directions weigh nothing"
        )
        return G[:n_components]

    def _call(self, estimator: Any, X: Array, y: Labels) -> NDArray[np.generic]:
        try:
            with _without_deprecation_noise():
                return np.asarray(estimator.fit(X, y).components_)
        # LMNN asserts that its gradient is a number; the others fail in linear algebra.
        except (ValueError, AssertionError, np.linalg.LinAlgError) as error:
            raise ValueError(
                f"{self.name}: metric-learn's algorithm failed on {X.shape[0]} points with "
                f"{X.shape[1]} features: {str(error) or 'its gradient is NaN'}; look for duplicate points with "
                "different labels and for classes smaller than the number of neighbours, or change its parameters"
            ) from error

    def _converged(self, estimator: Any) -> bool | None:
        n_iter = getattr(estimator, "n_iter_", None)
        return None if n_iter is None else int(n_iter) < estimator.max_iter + self._algorithm.last_iteration


def baseline_parameters(name: str) -> tuple[str, ...]:
    """Names of the parameters that `MetricLearnBaseline` takes for the algorithm ``name``, sorted."""
    algorithm = ALGORITHMS[name]
    own = [
        parameter.name
        for parameter in signature(algorithm.estimator).parameters.values()
        if parameter.name not in ("random_state", "preprocessor") and parameter.default != "deprecated"
    ]
    return tuple(sorted([*own, "fit_subset"] if algorithm.takes_subset else own))


def _checked_subset(name: str, value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise ValueError(f"{name}: fit_subset must be None or a number of points (at least 2), got {value!r}")
    return value


def _varying(X: Array) -> NDArray[np.bool_]:
    """Which features are not the same everywhere, (d,)."""
    return np.asarray(X.min(axis=0) != X.max(axis=0))


def _report(name: str, estimator: Any, X_train: Array, X_fit: Array) -> dict[str, Any]:
    n_iter = getattr(estimator, "n_iter_", None)
    return {
        "algorithm": name,
        "library": None if estimator is None else "metric-learn",
        "version": None if estimator is None else version("metric-learn"),
        "n_train": len(X_train),
        "n_fit_samples": len(X_fit),
        "n_varying_features": int(_varying(X_fit).sum()),
        "n_iter": None if n_iter is None else int(n_iter),
        "converged": None,
        "seconds": 0.0,
        "notes": [],
    }


@contextmanager
def _without_deprecation_noise() -> Iterator[None]:
    """Hide one FutureWarning: metric-learn 0.7.0 calls scikit-learn by an argument that was renamed in 1.6."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'force_all_finite' was renamed", category=FutureWarning)
        yield
