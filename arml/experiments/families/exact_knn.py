"""Exact radii for K > 1, by a search; with a proof where one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from arml.experiments.config import EvaluationConfig, RunConfig
from arml.experiments.errors import UsageError
from arml.experiments.families.base import RADII, Evaluation, Inputs, as_box, point_settings, write_witness
from arml.experiments.families.pieces import solved_in_pieces, write_solved
from arml.experiments.rules import BOX, at_least, one_of
from arml.radii import RadiusBounds
from arml.records.contents import BOUNDS, SEARCH, Contents
from arml.records.format import PROOF_FILE


@dataclass
class ExactKNNConfig(EvaluationConfig):
    """Exact radii for K > 1, by a search of at most ``max_nodes`` nodes a point; ``proofs`` are large, and off.

    ``box`` keeps perturbed points inside [low, high].
    """

    name: str = "exact_knn"
    kind: str = "exact"
    event: str = one_of("plurality", ("plurality", "majority"))
    max_nodes: int = at_least(1, 200_000)
    proofs: bool = False
    box: list[float] | None = field(default=None, metadata={"rule": BOX})


def contents(config: RunConfig) -> Contents:
    """Bounds that are proven, the size of each search, and the proof where it is kept."""
    assert isinstance(config.evaluation, ExactKNNConfig)
    proof = PROOF_FILE if config.evaluation.proofs else None
    return Contents("point", "proven", {**BOUNDS, **SEARCH}, counts="lower", proof=proof)


def check(config: RunConfig) -> None:
    """It is for more than one neighbour."""
    if config.k == 1:
        raise UsageError("k=1: evaluation=exact_knn is for more neighbours; evaluation=exact_1nn is exact and faster")


def compute(inputs: Inputs, folder: Path) -> None:
    """Exact radii of the evaluation subset for K > 1: ``points.csv``, and the perturbations in ``perturbation.npz``.

    With proofs these lie in ``witness.npz``, beside the proof.
    """
    config = inputs.config
    evaluation = config.evaluation
    assert isinstance(evaluation, ExactKNNConfig)
    knn = inputs.classifier()

    def solve(X: NDArray[np.float64], y: NDArray[np.int64], advance: Callable[[int], None]) -> RadiusBounds:
        """Exact radii of some of the points."""
        return knn.exact_radius(
            X, y, box=as_box(evaluation.box), event=evaluation.event, max_nodes=evaluation.max_nodes,
            proofs=evaluation.proofs, progress=advance,
        )  # fmt: skip

    solved = solved_in_pieces(inputs, config.n_eval, f"exact radii, K = {config.k}", solve, alone=True)
    write_solved(inputs, folder, solved, knn.predict(solved.X))
    perturbation = solved.perturbation
    if evaluation.proofs:
        assert solved.proof is not None
        write_witness(folder / PROOF_FILE, solved.index, perturbation, solved.proof)
    else:
        arrays = {"index": solved.index, "perturbation": perturbation}
        np.savez_compressed(folder / "perturbation.npz", allow_pickle=False, **arrays)


STAGES = ("certify.knn_bound", "attacks.local_search", "certify.knn_exact")
EVALUATIONS = (Evaluation(ExactKNNConfig, RADII, STAGES, contents, point_settings, compute, check),)
