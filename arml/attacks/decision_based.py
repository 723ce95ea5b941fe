"""Attacks that see nothing but the classifier's answers: foolbox's Boundary Attack and HopSkipJump, point by point.

foolbox attacks a batch and lets it fail as one. `decision_based` makes of it an attack on single points: what one point
gets does not depend on the company it is attacked in (up to the rounding of batched products, and to the Boundary
Attack's stop, which waits for the last point of a batch), and a point that cannot be attacked fails alone.

Differences from foolbox
------------------------
* Both attacks share one noise direction per query among the points of a batch (foolbox's Boundary Attack does so, its
  HopSkipJump does not), and every batch begins with the same seed.
* foolbox's HopSkipJump normalises its noise and its gradient over the whole batch, so that its steps shrink as batches
  grow; `_HopSkipJump` normalises them point by point, as the attack's paper has it.
* Starting points are training points, unless blends of noise are asked for; see `arml.attacks.starting_points`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from eagerpy.astensor import astensor
from eagerpy.tensor.tensor import Tensor
from foolbox.attacks.boundary_attack import BoundaryAttack
from foolbox.attacks.hop_skip_jump import HopSkipJumpAttack
from foolbox.criteria import Misclassification
from foolbox.models.pytorch import PyTorchModel
from numpy.typing import NDArray

from arml.attacks.knn_model import KNNModel
from arml.attacks.result import AttackResult
from arml.attacks.seeding import seeded
from arml.attacks.starting_points import STARTS, StartingPoints, blended_with_noise
from arml.geometry import Mahalanobis

#: Steps that "default" means: foolbox's own defaults, about 27,500 and 35,000 queries a point.
DEFAULT_STEPS = {"boundary": 25_000, "hopskipjump": 64}
#: Queries per statistic of the spherical step (Boundary Attack); of the first gradient, and at most (HopSkipJump).
STATISTICS_EVERY = 10
GRADIENT_QUERIES = (100, 10_000)
#: Most points attacked at once; fewer where the memory budget says so.
BATCH = 1000
#: Relative lengthenings of a perturbation that lost its effect in float32's rounding.
PUSHES = (1e-7, 1e-6, 1e-5, 1e-4)

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Predict = Callable[[Array], Integers]


def decision_based(
    name: str,
    metric: Mahalanobis,
    X_train: Array,
    y_train: Integers,
    n_neighbors: int,
    X: Array,
    y: Integers,
    *,
    predict: Predict,
    box: tuple[float, float] = (0.0, 1.0),
    steps: int | None = None,
    start: str = "training",
    seed: int = 0,
    device: torch.device | str = "cpu",
    memory_budget: int = 256 * 2**20,
    progress: Callable[[int], None] | None = None,
) -> AttackResult:
    """Attack the points X (t, d) with labels y (t,) through the answers of a K-nearest-neighbour classifier alone.

    A point outside the box is placed on it first; if that alone changes the answer, it is the result. The norm is
    always that of the whole perturbation, from the point itself. A misclassified point gets perturbation 0, radius 0
    and 0 queries. A point that no attack could start from, or whose result did not change `predict`'s answer, gets
    radius inf and perturbation 0; ``notes`` counts these, and the points outside the box.

    Parameters
    ----------
    name : "boundary" (Brendel et al., 2018) or "hopskipjump" (Chen et al., 2020)
    metric, X_train (n, d), y_train (n,), n_neighbors : the classifier, as `KNNModel` takes it
    predict : the classifier itself in float64, (k, d) to labels (k,); every result is verified by it
    box : (low, high) range of every coordinate of the perturbed points; hopskipjump works in (0, 1) only
    steps : steps of the attack; None means foolbox's default, 25,000 for boundary and 64 for hopskipjump
    start : "training" to start from the nearest training point that is answered differently, "noise" to start from a
        blend with uniform noise, as foolbox does by default; a point for which no noise will do starts from training
    seed : of the noise; torch's global generators are left as they were
    device : torch device
    memory_budget : bytes for the largest arrays; decides how many points are attacked at once
    progress : called with the number of points just finished; fractions of a batch count as points

    Raises
    ------
    ValueError
        If the name is unknown, steps is less than 1, or the box is empty or not hopskipjump's.
    """
    n_steps = _checked_steps(name, steps, start, box)
    device = torch.device(device)
    run = _Run(len(X), X.shape[1], progress)
    origins = np.clip(np.clip(X, *box).astype(np.float32).astype(np.float64), *box)
    wrong = predict(X) != y
    run.finish(np.flatnonzero(wrong), X[wrong], X[wrong])
    moved = ~wrong & (predict(origins) != y)
    run.finish(np.flatnonzero(moved), X[moved], origins[moved])
    rest = np.flatnonzero(~wrong & ~moved)
    starts = StartingPoints(X_train, y_train, predict=predict, box=box, memory_budget=memory_budget)
    size = int(np.clip(memory_budget // KNNModel.bytes_per_point(X.shape[1]), 1, BATCH))
    for batch in (rest[first : first + size] for first in range(0, len(rest), size)):
        model = KNNModel(metric, X_train, y_train, n_neighbors, device=device, memory_budget=memory_budget)
        begin, found = starts.choose(model, origins[batch], y[batch])
        run.fail(batch[~found], "without a starting point")
        batch, begin = batch[found], begin[found]
        if start == "noise" and len(batch):
            begin = blended_with_noise(model, origins[batch], begin, y[batch], box, seed)
        if len(batch):
            tick = run.ticker(len(batch), _expected_calls(name, n_steps))
            ends, calls = _attack(name, n_steps, model, origins[batch], begin, y[batch], box, seed, tick)
            points, holds = _verified(ends, origins[batch], y[batch], predict, box)
            run.queries[batch] = calls
            run.finish(batch[holds], X[batch[holds]], points[holds])
            run.fail(batch[~holds], "whose result the classifier did not confirm")
    result = run.result()
    outside = int(((box[0] > X) | (box[1] < X)).any(axis=1).sum())
    if not outside:
        return result
    note = f"{outside} points are outside the box ({box[0]:g}, {box[1]:g}) and were placed on it first"
    return replace(result, notes=(*result.notes, note))


def _checked_steps(name: str, steps: int | None, start: str, box: tuple[float, float]) -> int:
    """Number of steps of the attack, once all options are known to go together; raises ValueError."""
    if name not in DEFAULT_STEPS:
        raise ValueError(f"unknown attack {name!r}; known are {', '.join(sorted(DEFAULT_STEPS))}")
    if start not in STARTS:
        raise ValueError(f"unknown start {start!r}; known are {', '.join(STARTS)}")
    if steps is not None and steps < 1:
        raise ValueError(f"steps={steps} must be at least 1")
    if not box[0] < box[1]:
        raise ValueError(f"the box {box} is empty; pass (low, high) with low < high")
    if name == "hopskipjump" and tuple(box) != (0.0, 1.0):
        raise ValueError(f"foolbox's HopSkipJump clips to (0, 1), it cannot work in the box {tuple(box)}; use boundary")
    return DEFAULT_STEPS[name] if steps is None else steps


class _Run:
    """Results under way, and their progress: fractions of a batch are counted as points while it runs."""

    def __init__(self, n: int, d: int, progress: Callable[[int], None] | None) -> None:
        self.perturbation = np.zeros((n, d))
        self.radius = np.full(n, np.inf)
        self.queries = np.zeros(n, dtype=np.int64)
        self._failures: dict[str, int] = {}
        self._progress = progress
        self._finished = 0
        self._reported = 0

    def finish(self, index: Integers, X: Array, ends: Array) -> None:
        """Points ``index`` end at ``ends``."""
        self.perturbation[index] = ends - X
        self.radius[index] = np.linalg.norm(ends - X, axis=1)
        self._done(len(index))

    def fail(self, index: Integers, why: str) -> None:
        """Points ``index`` have no result."""
        if len(index):
            self._failures[why] = self._failures.get(why, 0) + len(index)
        self._done(len(index))

    def ticker(self, points: int, expected: int) -> Callable[[int], None]:
        """To be called with the queries made so far for each point of a batch, of about ``expected``."""

        def tick(calls: int) -> None:
            self._report(self._finished + math.floor(points * min(1.0, calls / expected)))

        return tick

    def result(self) -> AttackResult:
        notes = tuple(f"{count} points {why}" for why, count in self._failures.items())
        return AttackResult(self.perturbation, self.radius, self.queries, notes)

    def _done(self, points: int) -> None:
        self._finished += points
        self._report(self._finished)

    def _report(self, finished: int) -> None:
        if self._progress is not None and finished > self._reported:
            self._progress(finished - self._reported)
            self._reported = finished


def _attack(
    name: str,
    steps: int,
    model: KNNModel,
    origins: Array,
    begin: Array,
    y: Integers,
    box: tuple[float, float],
    seed: int,
    tick: Callable[[int], None],
) -> tuple[Array, int]:
    """Where foolbox gets from ``begin`` (k, d), and the queries it made for each point."""
    device = model.device
    expected, before = _expected_calls(name, steps), model.calls

    def count(*_: object) -> None:
        calls = model.calls - before
        if calls > 10 * expected + 10_000:
            raise RuntimeError(
                f"{name} has made {calls} queries per point where about {expected} were expected; "
                "foolbox is caught in a loop, please report the data that led to it"
            )
        tick(calls)

    attack: Any
    if name == "boundary":
        attack = BoundaryAttack(steps=steps, update_stats_every_k=STATISTICS_EVERY)
    else:
        first, most = GRADIENT_QUERIES
        attack = _HopSkipJump(steps=steps, initial_gradient_eval_steps=first, max_gradient_eval_steps=most)
    labels = torch.from_numpy(np.searchsorted(model.classes, y)).to(device)
    inputs, starts = (torch.from_numpy(points.astype(np.float32)).to(device) for points in (origins, begin))
    counter = model.register_forward_hook(count)
    try:
        with seeded(seed, device), warnings.catch_warnings():
            # foolbox averages statistics it has just emptied, and then ignores the result.
            warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
            queried = PyTorchModel(model, bounds=box, device=device)
            ends = attack.run(queried, inputs, Misclassification(labels), starting_points=starts)
    finally:
        counter.remove()
    return ends.double().cpu().numpy(), model.calls - before


def _expected_calls(name: str, steps: int) -> int:
    """About how many queries an attack makes for each point."""
    if name == "boundary":
        return 1 + steps + steps // STATISTICS_EVERY
    first, most = GRADIENT_QUERIES
    return sum(int(min(first * math.sqrt(step + 1), most)) + 16 for step in range(steps)) + 16


def _verified(
    ends: Array, origins: Array, y: Integers, predict: Predict, box: tuple[float, float]
) -> tuple[Array, NDArray[np.bool_]]:
    """The ends (k, d), pushed on where `predict` still answers y there, and whether it now answers otherwise (k,)."""
    points = np.clip(ends, *box)
    holds = np.isfinite(points).all(axis=1)
    points[~holds] = origins[~holds]
    holds = predict(points) != y
    for push in PUSHES:
        weak = np.flatnonzero(~holds)
        if not len(weak):
            break
        pushed = np.clip(origins[weak] + (1 + push) * (ends[weak] - origins[weak]), *box)
        pushed = np.where(np.isfinite(pushed), pushed, origins[weak])
        holds[weak] = predict(pushed) != y[weak]
        points[weak] = pushed
    return points, holds


class _HopSkipJump(HopSkipJumpAttack):
    """foolbox's HopSkipJump with gradients that are estimated and normalised for each point by itself."""

    def approximate_gradients(
        self, is_adversarial: Callable[[Tensor], Tensor], x_advs: Tensor, steps: int, delta: Tensor
    ) -> Tensor:
        """Unit vectors (N, d) towards the adversarial side at x_advs (N, d), from ``steps`` queries at distance delta.

        Eq. (16) of the attack's paper: the mean of (answer - mean answer) * direction, answers being +1 and -1.
        """
        x, reach = x_advs.raw, delta.raw[:, None] + 1e-8
        noise = torch.randn((steps, x.shape[1]), device=x.device, dtype=x.dtype)
        noise /= noise.norm(dim=1, keepdim=True)
        answers = torch.zeros((len(x), 1), device=x.device, dtype=x.dtype)
        directions, weighted = torch.zeros_like(x), torch.zeros_like(x)
        for direction in noise:
            asked = (x + reach * direction).clamp(0, 1)
            answer = is_adversarial(astensor(asked)).raw[:, None].to(x.dtype) * 2 - 1
            moved = (asked - x) / reach
            answers += answer
            directions += moved
            weighted += answer * moved
        mean = answers / steps
        baseline = torch.where(mean.abs() == 1, torch.zeros_like(mean), mean)
        gradient = weighted / steps - baseline * directions / steps
        return astensor(gradient / (gradient.norm(dim=1, keepdim=True) + 1e-12))
