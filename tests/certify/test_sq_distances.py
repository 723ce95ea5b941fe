import torch

from arml.certify.norms import sq_distances
from arml.geometry import sq_dist_matrix


def test_sq_distances_are_those_of_geometry_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(7, 30, generator=generator, dtype=torch.float64)
    B = 100 * torch.randn(40, 30, generator=generator, dtype=torch.float64)
    assert torch.equal(sq_distances(A, B, (B * B).sum(-1)), sq_dist_matrix(A, B))
