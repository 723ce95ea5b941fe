"""Exact minimal adversarial perturbations of a Mahalanobis 1-NN classifier (section 3.4, eq. 13-14, Algorithm 2).

    radius(x, y) = min over j with y_j != y of   min ||delta||  s.t.  d_M(x + delta, x_j) <= d_M(x + delta, x_i)
                                                                       for all i with y_i = y

How it is solved, for all test points of one class at a time:

1. One matrix product gives all squared distances; misclassified and tied points have radius 0.
2. The closed form (eq. 8) with each point's nearest same-class points bounds every inner problem from below, one matrix
   product per such point (`arml.certify.screening`).
3. The inner problems are worked on in the order of these bounds, over the constraints of the nearest same-class points
   only, and left as soon as they are proven worse than the best one (`arml.qp`).
4. A nearest-neighbour query at all the solutions together, one matrix product, finds the constraints that were left out
   and are violated. They are added and step 3 is repeated for the points concerned (`arml.certify.cutting`). When none
   is left the best solution is optimal.

Differences from the paper
--------------------------
* Algorithm 2 screens with a subset of same-class points and then solves a dual with one variable per same-class point
  by greedy coordinate ascent, in float32. Here the constraints are generated, the dual is solved by an active-set
  method to the last digit, and every lower bound is proven, rounding included (`arml.certify.rounding`).
* The bounds that decide a radius are evaluated again from differences of points (`arml.certify.refine`).
* ``upper`` is the norm of a perturbation pushed into the other class's cell by at most 4e-7 of its length, so that the
  change of the answer does not hang on the last bit.
* Optionally the perturbed point is confined to a box. A test coordinate outside the box keeps its own value as limit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from arml.certify.chunks import class_chunks
from arml.certify.cutting import PointSearch, solve
from arml.certify.frame import Frame
from arml.certify.refine import refine
from arml.certify.rounding import magnitudes
from arml.certify.screening import ANCHORS, screen
from arml.certify.training_set import TrainingSet
from arml.certify.witness import assemble_certificate, push_inside
from arml.geometry import Mahalanobis, sq_dist_matrix
from arml.radii import RadiusBounds, Status
from arml.threads import blas_on_one_thread

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Bump when the numbers this module returns change: it is part of every record's identity.
VERSION = 2

#: Bounds that agree to this relative gap are reported as exact.
EXACT_GAP = 1e-6


def exact_radii(
    metric: Mahalanobis,
    X_train: Array,
    y_train: Integers,
    X: Array,
    y: Integers,
    *,
    box: tuple[float, float] | None = None,
    device: torch.device | None = None,
    memory_budget: int = 256 * 2**20,
    progress: Callable[[int], None] | None = None,
) -> RadiusBounds:
    """Exact robustness radii of the 1-NN classifier of ``(X_train, y_train)`` under ``metric`` at points ``(X, y)``.

    Parameters
    ----------
    X_train : (n, d) float64; y_train : (n,) integer labels
    X : (t, d) float64; y : (t,) integer labels; a label without training points counts as misclassified
    box : optional range every coordinate of the perturbed point must stay in
    device : where the matrix products run; the small problems are always solved on the CPU, on torch's threads
    memory_budget : bytes for the arrays of (test points at a time) by (training points)
    progress : called with the number of test points just finished

    Returns
    -------
    RadiusBounds in the order of X, in the units of X, with perturbations and an `OneNNCertificate`.
    """
    box = (-np.inf, np.inf) if box is None else box
    frame = Frame.of(metric, X_train)
    train = TrainingSet.build(frame.metric(metric), frame.points(X_train), y_train, device or torch.device("cpu"))
    rows = max(1, min(256, memory_budget // (8 * len(y_train) * (ANCHORS + 3))))
    status = np.full(len(y), Status.MISCLASSIFIED.value, dtype="<U16")
    states: list[PointSearch] = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for label, chunk in class_chunks(y, rows):
            if label in train.classes:
                solved, tied = _solve_chunk(train, train.classes[label], frame, X, chunk, box, pool)
                status[tied] = Status.TIED.value
                states.extend(solved)
            if progress is not None:
                progress(len(chunk))
    lower, upper, perturbation = np.zeros(len(y)), np.zeros(len(y)), np.zeros(X.shape)
    for state in states:
        i = state.index
        status[i] = _status(state).value
        lower[i], upper[i] = np.array([min(state.proven, state.value), max(state.proven, state.value)]) * frame.unit
        if state.winner >= 0:
            perturbation[i] = state.delta * frame.unit
    certificate = assemble_certificate(states, train.order, len(y), box, frame.weight)
    return RadiusBounds(lower, upper, status, perturbation, certificate)


def _status(state: PointSearch) -> Status:
    """Exact if bounds and witness agree; a witness shorter than what is proven is not one (rounding swamped it)."""
    if np.isinf(state.proven):
        return Status.UNREACHABLE
    close = np.isfinite(state.value) and abs(state.value - state.proven) <= EXACT_GAP * state.value
    return Status.EXACT if close and state.proven <= state.value * (1 + 1e-9) else Status.BOUNDED


def _solve_chunk(
    train: TrainingSet,
    own: slice,
    frame: Frame,
    X: Array,
    chunk: Integers,
    box: tuple[float, float],
    pool: ThreadPoolExecutor,
) -> tuple[list[PointSearch], Integers]:
    """Solve the points X[chunk], all of the class with rows ``own``; returns their states and the tied indices."""
    raw = X[chunk]
    points = frame.points(raw)
    G = torch.from_numpy(train.metric.components).to(train.device)
    on_device = torch.from_numpy(points).to(train.device)
    U = on_device @ G.T
    C = sq_dist_matrix(U, train.Z_device)
    norms, sizes = torch.linalg.vector_norm(U, dim=1), magnitudes(on_device, G)
    errors = train.rounding.sq_dist(norms.cpu().numpy(), sizes.cpu().numpy())
    margin = (_other_min(C, own) - C[:, own].min(dim=1).values).cpu().numpy()
    keep = np.flatnonzero(margin > 2 * errors)
    tied = chunk[np.abs(margin) <= 2 * errors]
    if not keep.size:
        return [], tied
    C = C[torch.from_numpy(keep).to(train.device)]
    screened, anchors = screen(train, own, C, torch.from_numpy(errors[keep]).to(train.device))
    C_host, screened_host = C.cpu().numpy(), screened.cpu().numpy()
    states = []
    for q, i in enumerate(keep):
        room = (raw[i] - np.minimum(box[0], raw[i])) / frame.unit, (np.maximum(box[1], raw[i]) - raw[i]) / frame.unit
        states.append(
            PointSearch.start(int(chunk[i]), C_host[q], screened_host[q], float(errors[i]), room, anchors[q], own)
        )
    with blas_on_one_thread():
        solve(train, own, states, pool)
    place = {int(i): q for q, i in enumerate(chunk)}
    centred = np.stack([points[place[state.index]] for state in states])
    for state, x in zip(states, centred, strict=True):
        refine(train, x, state)
    push_inside(train, own, centred, states)
    for state in states:
        state.release()
    return states, tied


def _other_min(C: torch.Tensor, own: slice) -> torch.Tensor:
    """Row minima (t,) of C (t, n) outside the columns of the own class; infinite where there are none."""
    minima = [part.min(dim=1).values for part in (C[:, : own.start], C[:, own.stop :]) if part.shape[1]]
    if not minima:
        return torch.full((C.shape[0],), torch.inf, dtype=C.dtype, device=C.device)
    return torch.stack(minima).amin(dim=0)
