"""Certification of Mahalanobis nearest-neighbour classifiers: exact radii, their proofs, and the independent check."""

from arml.certify.certificate import OneNNCertificate
from arml.certify.knn_certificate import KNNCertificate
from arml.certify.one_nn import exact_radii
from arml.certify.recheck import recheck
from arml.certify.verdict import RecheckReport

__all__ = ["KNNCertificate", "OneNNCertificate", "RecheckReport", "exact_radii", "recheck"]
