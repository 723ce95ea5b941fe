"""Attacks on Mahalanobis K-NN classifiers: perturbations that change the answer, hence upper bounds of the radius."""

from arml.attacks.result import AttackResult
from arml.attacks.run import ATTACKS, DECISION_BASED, DECISION_BASED_VERSION, DEFAULT_BOX, run_attack, sandwich

__all__ = [
    "ATTACKS",
    "DECISION_BASED",
    "DECISION_BASED_VERSION",
    "DEFAULT_BOX",
    "AttackResult",
    "run_attack",
    "sandwich",
]
