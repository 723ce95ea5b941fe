"""ARML, adversarially robust metric learning (Wang et al., NeurIPS 2020, section 3.3), as a scikit-learn estimator.

Minimises ``mean_i l(margin(randnear+(x_i), randnear-(x_i), x_i; G' G))`` over G, eq. (12), by Algorithm 1. The margin,
eq. (9), is `arml.geometry.triplet_margin`; the losses are in `losses`, the draws in `sampling`, the start of G in
`initial`, the descent in `training`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from numbers import Integral, Real
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags, check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from tqdm import tqdm

from arml.devices import resolve_device
from arml.learners.checkpoint import load_checkpoint, problem_digest, save_checkpoint
from arml.learners.initial import initial_components, with_constant_features
from arml.learners.losses import loss_function
from arml.learners.sampling import ClassLayout
from arml.learners.training import Training, TrainingSettings
from arml.versions import VERSIONS

#: Raised when a change alters the metrics that ARML learns.
VERSION: int = VERSIONS["learners.arml"]

Array = NDArray[np.float64]


class ARML(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Adversarially robust metric learning.

    The defaults are the paper's protocol, but for the neighbour lists, which are renewed when a measured fraction of
    them has changed instead of at every epoch (``refresh_tolerance=0`` renews them at every epoch).

    Parameters
    ----------
    n_components : int or None
        Rows r of G. None, or the number of features d: G starts at the identity. Fewer: G starts at the first r
        principal directions of the training data.
    loss : {"negative", "hinge", "exponential", "logistic"}
        Loss of the signed margin; see `arml.learners.losses`.
    max_iter : int
        Epochs.
    learning_rate : float
        Of Adam; its other settings are PyTorch's defaults.
    n_neighbors : int
        Length of the two lists of nearest points (same class, other classes) from which each point draws.
    batch_size : int or None
        Points per step of Adam; None is the full batch.
    early_stopping : bool
        Stop when the mean loss over the last ``patience`` epochs is not better than over the ``patience`` epochs
        before by a relative ``tol``.
    tol, patience : float, int
        See ``early_stopping``.
    refresh_tolerance : float in [0, 1]
        Fraction of the list entries that a search for neighbours should find changed; it steers the interval between
        searches. 0 searches at every epoch. Once training has settled, lists change to and fro more than they drift:
        on Pendigits, Satimage and USPS, lists 100 epochs old share about nine tenths of their entries with new ones.
    max_refresh_interval : int
        Most epochs between two searches.
    random_state : int, RandomState or None
        Seed of the draws. On one device, equal seeds give equal results; every device draws the same neighbours.
    device : {"cpu", "cuda", "auto"}
        Where to compute, in float32. A device that is not there is an error.
    verbose : bool
        Show a progress bar with an estimate of the time left, if stderr is a terminal.
    checkpoint_path : path or None
        File to resume from if it exists, and to write every ``checkpoint_every`` epochs; it is deleted once the fit is
        complete. Needs an integer ``random_state``. A file made from other data or parameters is refused.
    checkpoint_every : int
        Epochs between checkpoints.
    keep_checkpoint : bool
        Write a checkpoint after the last epoch, too, and leave it there: for who has yet to store the result.

    Attributes
    ----------
    components_ : (r, d) float64, the factor G; ``transform`` maps x to G x
    n_iter_ : int, epochs done
    loss_curve_ : list of float, mean loss of each epoch over its triplets
    fit_report_ : dict of plain values: epochs, anchors, searches for neighbours, seconds, device
    n_features_in_ : int
    """

    def __init__(
        self,
        n_components: int | None = None,
        loss: str = "negative",
        max_iter: int = 1000,
        learning_rate: float = 1e-3,
        n_neighbors: int = 10,
        batch_size: int | None = None,
        early_stopping: bool = False,
        tol: float = 1e-4,
        patience: int = 20,
        refresh_tolerance: float = 0.25,
        max_refresh_interval: int = 100,
        random_state: int | np.random.RandomState | None = None,
        device: str = "cpu",
        verbose: bool = False,
        checkpoint_path: str | Path | None = None,
        checkpoint_every: int = 50,
        keep_checkpoint: bool = False,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.max_iter = max_iter
        self.learning_rate = learning_rate
        self.n_neighbors = n_neighbors
        self.batch_size = batch_size
        self.early_stopping = early_stopping
        self.tol = tol
        self.patience = patience
        self.refresh_tolerance = refresh_tolerance
        self.max_refresh_interval = max_refresh_interval
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
        self.checkpoint_path = checkpoint_path
        self.checkpoint_every = checkpoint_every
        self.keep_checkpoint = keep_checkpoint

    def fit(self, X: Array, y: NDArray[np.generic]) -> Self:
        """Learn G from points X (n, d) and labels y (n,) of any kind that can be sorted.

        Points whose class has no other member are left out as anchors; they still serve as other-class points.

        Raises
        ------
        ValueError
            If a parameter is impossible, X or y is malformed, y has one class only, no class has two points, or
            every feature is constant.
        DeviceError
            If the device does not exist.
        CheckpointError
            If ``checkpoint_path`` holds something else than a checkpoint of this training.
        """
        settings, device = self._check_parameters(), resolve_device(self.device)
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        labels = np.unique(y, return_inverse=True)[1]
        layout = self._check_problem(X, labels)
        varying = X.max(axis=0) > X.min(axis=0)
        centred = X[:, varying] - X[:, varying].mean(axis=0)
        n_components = X.shape[1] if self.n_components is None else int(self.n_components)
        start = initial_components(centred, min(n_components, int(varying.sum())))
        training = Training(
            torch.as_tensor(centred.astype(np.float32)[layout.order], device=device),
            layout,
            torch.as_tensor(start, dtype=torch.float32, device=device),
            settings,
            self._seed(),
        )
        del centred
        self._run(training, self._digest(settings, X, labels))
        G = training.G.detach().to("cpu", torch.float64).numpy()
        self.components_ = with_constant_features(G, varying, n_components)
        self._store_report(training, len(X), int(varying.sum()))
        return self

    def transform(self, X: Array) -> Array:
        """Points (n, d) mapped to (n, r), where the learned metric is the squared Euclidean distance."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return np.asarray(X @ self.components_.T)

    def get_mahalanobis_matrix(self) -> Array:
        """The learned M = G' G, (d, d) float64, symmetric positive semi-definite."""
        check_is_fitted(self)
        return np.asarray(self.components_.T @ self.components_)

    @property
    def _n_features_out(self) -> int:
        return int(self.components_.shape[0])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    def _check_parameters(self) -> TrainingSettings:
        loss_function(self.loss)
        for name in ("max_iter", "n_neighbors", "patience", "max_refresh_interval", "checkpoint_every"):
            check_scalar(getattr(self, name), name, Integral, min_val=1)
        for name in ("n_components", "batch_size"):
            if getattr(self, name) is not None:
                check_scalar(getattr(self, name), name, Integral, min_val=1)
        check_scalar(self.learning_rate, "learning_rate", Real, min_val=0, include_boundaries="neither")
        check_scalar(self.tol, "tol", Real, min_val=0)
        check_scalar(self.refresh_tolerance, "refresh_tolerance", Real, min_val=0, max_val=1)
        if self.checkpoint_path is not None and not isinstance(self.random_state, Integral):
            raise ValueError("checkpoint_path needs an integer random_state: without one no run can be resumed")
        return TrainingSettings(
            loss=self.loss,
            max_iter=int(self.max_iter),
            learning_rate=float(self.learning_rate),
            n_neighbors=int(self.n_neighbors),
            batch_size=None if self.batch_size is None else int(self.batch_size),
            early_stopping=bool(self.early_stopping),
            tol=float(self.tol),
            patience=int(self.patience),
            refresh_tolerance=float(self.refresh_tolerance),
            max_refresh_interval=int(self.max_refresh_interval),
        )

    def _check_problem(self, X: Array, labels: NDArray[np.int64]) -> ClassLayout:
        if labels.max() == 0:
            raise ValueError("ARML needs points of at least two classes, got 1 class")
        if self.n_components is not None and self.n_components > X.shape[1]:
            raise ValueError(f"n_components={self.n_components} exceeds the number of features, {X.shape[1]}")
        if np.array_equal(X.max(axis=0), X.min(axis=0)):
            raise ValueError("all points are equal, every feature is constant: there is nothing to learn from")
        layout = ClassLayout.from_labels(labels)
        if layout.n_anchors == 0:
            raise ValueError(f"each of the {labels.max() + 1} classes has one point only; ARML needs a class with two")
        return layout

    def _seed(self) -> int:
        if isinstance(self.random_state, Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _digest(self, settings: TrainingSettings, X: Array, labels: NDArray[np.int64]) -> str:
        if self.checkpoint_path is None:
            return ""
        problem = {"version": VERSION, "n_components": self.n_components, "seed": self._seed(), **asdict(settings)}
        return problem_digest(problem, X, labels)

    def _run(self, training: Training, digest: str) -> None:
        path = None if self.checkpoint_path is None else Path(self.checkpoint_path)
        if path is not None and path.exists():
            load_checkpoint(path, training, digest)
        hidden = not (self.verbose and sys.stderr.isatty())
        total = training.settings.max_iter
        with tqdm(total=total, initial=training.epoch, desc="ARML", unit="epoch", disable=hidden) as progress:
            while not training.finished:
                loss = training.run_epoch()
                progress.update()
                progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
                if path is not None and training.epoch % self.checkpoint_every == 0 and not training.finished:
                    save_checkpoint(path, training, digest)
        if path is not None and self.keep_checkpoint:
            save_checkpoint(path, training, digest)
        elif path is not None:
            path.unlink(missing_ok=True)

    def _store_report(self, training: Training, n_points: int, n_varying: int) -> None:
        self.n_iter_ = training.epoch
        self.loss_curve_ = list(training.losses)
        self.fit_report_ = {
            "n_iter": training.epoch,
            "n_fit_samples": n_points,
            "n_left_out": n_points - training.layout.n_anchors,
            "n_varying_features": n_varying,
            # Without early stopping there is no criterion: all epochs are done, as in the paper.
            "converged": training.converged if self.early_stopping else None,
            "final_loss": training.losses[-1],
            "searches": [[epoch, round(churn, 4)] for epoch, churn in training.schedule.searches],
            "seconds": round(training.seconds, 3),
            "device": str(training.points.device),
        }
