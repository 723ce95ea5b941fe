"""Attacks: the white-box local search, and two that only ask the classifier for answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families.base import RADII, Evaluation, Inputs, as_box, point_settings
from arml.experiments.families.pieces import solved_in_pieces, write_solved
from arml.experiments.progress import say
from arml.experiments.rules import BOX, at_least, one_of
from arml.radii import AttackedBounds
from arml.records.contents import ATTACK, BOUNDS, Contents


@dataclass
class LocalSearchConfig(EvaluationConfig):
    """White-box attack on K-NN; ``box`` keeps perturbed points inside [low, high]."""

    name: str = "local_search"
    kind: str = "local_search"
    box: list[float] | None = field(default=None, metadata={"rule": BOX})


@dataclass
class DecisionBasedConfig(EvaluationConfig):
    """An attack that only asks for answers (foolbox), of so many steps, inside the box [low, high].

    It starts from the nearest training point of another class, or with ``start=noise`` as foolbox does by default.
    """

    steps: int = at_least(1, 1)
    start: str | None = one_of(None, ("training", "noise"))
    box: list[float] = field(default_factory=lambda: [0.0, 1.0], metadata={"rule": BOX})


@dataclass
class BoundaryAttackConfig(DecisionBasedConfig):
    """Boundary Attack with foolbox's default settings, as in the paper."""

    name: str = "boundary"
    kind: str = "boundary"
    steps: int = at_least(1, 25_000)


@dataclass
class HopSkipJumpConfig(DecisionBasedConfig):
    """HopSkipJump, a second attack of the same kind; it works inside [0, 1] only."""

    name: str = "hopskipjump"
    kind: str = "hopskipjump"
    steps: int = at_least(1, 64)


def contents(config: RunConfig) -> Contents:
    """The norms that an attack found: its errors count the points that it broke."""
    return Contents("point", "attacked", {**BOUNDS, **ATTACK}, counts="upper")


def attacked_points(config: RunConfig) -> int | None:
    """Number of points an attack is run on; None for the whole test part."""
    limit = config.dataset.attack_points if isinstance(config.evaluation, DecisionBasedConfig) else None
    limits = [n for n in (config.n_eval, limit) if n is not None]
    return min(limits, default=None)


def settings(config: RunConfig) -> dict[str, object]:
    """Those of any evaluation of points, with as many points as are attacked."""
    return point_settings(config) | {"n_eval": attacked_points(config)}


def check_unit_box(config: RunConfig) -> None:
    """HopSkipJump knows no other box than [0, 1]."""
    assert isinstance(config.evaluation, HopSkipJumpConfig)
    box = config.evaluation.box
    if list(box) != [0.0, 1.0]:
        raise UsageError(f"evaluation.box={box}: hopskipjump works in [0, 1] only; use evaluation=boundary")


def compute(inputs: Inputs, folder: Path) -> None:
    """An attack on the evaluation subset: ``points.csv``, and ``attack.npz`` with the perturbations.

    The points' certified bounds are computed along with it, so that a record cannot hold a contradiction.
    """
    config, data = inputs.config, inputs.data
    evaluation = config.evaluation
    assert isinstance(evaluation, LocalSearchConfig | DecisionBasedConfig)
    knn = inputs.classifier()
    steps, start = None, "training"
    if isinstance(evaluation, DecisionBasedConfig):
        steps, start = evaluation.steps, evaluation.start or start

    def solve(X: NDArray[np.float64], y: NDArray[np.int64], advance: Callable[[int], None]) -> AttackedBounds:
        """Attack some of the points."""
        bounds = knn.attacked_radius(
            X, y, attack=evaluation.name, box=as_box(evaluation.box), seed=config.seed, steps=steps, start=start,
            progress=advance,
        )  # fmt: skip
        for note in bounds.notes:
            say(f"{data.name} {config.method.name} {evaluation.name}: {note}")
        return bounds

    # An attack that draws goes on for a batch as a whole: in pieces it would be another one, and take longer.
    whole = isinstance(evaluation, DecisionBasedConfig)
    solved = solved_in_pieces(inputs, attacked_points(config), evaluation.name, solve, whole=whole)
    write_solved(inputs, folder, solved, knn.predict(solved.X))
    arrays: dict[str, NDArray[np.generic]] = {"index": solved.index, "perturbation": solved.perturbation}
    if "majority_perturbation" in solved.columns:
        arrays["majority"] = solved.columns["majority_perturbation"]
    np.savez_compressed(folder / "attack.npz", allow_pickle=False, **arrays)


SEARCH_STAGES = ("certify.knn_bound", "attacks.local_search")
DECISION_STAGES = ("certify.knn_bound", "attacks.decision_based")
EVALUATIONS = (
    Evaluation(LocalSearchConfig, RADII, SEARCH_STAGES, contents, settings, compute),
    Evaluation(BoundaryAttackConfig, RADII, DECISION_STAGES, contents, settings, compute),
    Evaluation(HopSkipJumpConfig, RADII, DECISION_STAGES, contents, settings, compute, check_unit_box),
)
