"""Certification of Mahalanobis nearest-neighbour classifiers: exact radii, their proofs, and the independent check."""

from arml.certify.certificate import OneNNCertificate
from arml.certify.one_nn import exact_radii
from arml.certify.recheck import RecheckReport, recheck

__all__ = ["OneNNCertificate", "RecheckReport", "exact_radii", "recheck"]
