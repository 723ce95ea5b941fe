"""Proofs of robustness radii and their checks: numpy and the standard library, and nothing else of this package."""

from arml.proofs.asked import recheck
from arml.proofs.check import check
from arml.proofs.claim import EVENTS, STATUSES, Claim, Subject, digest
from arml.proofs.formats import DamagedProofError, EntryProof, Proof, TreeProof
from arml.proofs.result import ProvenResult, RecheckReport

__all__ = [
    "EVENTS",
    "STATUSES",
    "Claim",
    "DamagedProofError",
    "EntryProof",
    "Proof",
    "ProvenResult",
    "RecheckReport",
    "Subject",
    "TreeProof",
    "check",
    "digest",
    "recheck",
]
