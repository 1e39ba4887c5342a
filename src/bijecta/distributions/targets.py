"""Unnormalised densities of physics to try variational inference and samplers on."""

import torch
from torch import Tensor

from bijecta.errors import ShapeError


def double_well(x: Tensor, *, depth: float = 4.0, tilt: float = 0.5) -> Tensor:
    r"""Compute the log-density of two wells in the first column, and of normals in the others.

    .. math:: \log\tilde p(x) = -h\left(\tfrac14 x_1^2 - 1\right)^2 - t\,x_1 - \tfrac12\sum_{i>1} x_i^2

    Without the tilt the wells are at :math:`x_1 = \pm 2`, and the barrier between them is h. The tilt makes the left
    one deeper by about 4 t.

    Args:
        x: points of shape (\*B, D).
        depth: height h of the barrier, in units of the temperature.
        tilt: t.

    Returns:
        The log-density up to a constant, of shape (\*B,).

    References:
        F. Noé, S. Olsson, J. Köhler, H. Wu (2019), Boltzmann Generators.

    Example:
        >>> import torch
        >>> from bijecta.distributions import double_well
        >>> double_well(torch.tensor([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
        tensor([ 1., -4., -1.])
    """
    first = x[..., 0]
    return -depth * (first.square() / 4 - 1).square() - tilt * first - 0.5 * x[..., 1:].square().sum(-1)


def double_well_particles(x: Tensor, *, dimensions: int = 2) -> Tensor:
    r"""Compute the log-density of particles whose distances have two wells each; four in a plane are known as DW4.

    .. math:: \log\tilde p(x) = -\sum_{i<j} \left[0.9\,(d_{ij} - 4)^4 - 4\,(d_{ij} - 4)^2\right]
              - \tfrac{n}{2} \|\bar x\|^2

    for n particles with distances :math:`d_{ij}`. Only the last term sees where the particles are as a whole: their
    mean :math:`\bar x` is normal with variance 1/n, so that the density has an integral. Positions relative to the mean
    do not depend on it.

    Args:
        x: positions of shape (\*B, n * dimensions), the coordinates of one particle side by side.
        dimensions: of the space that the particles live in.

    Returns:
        The log-density up to a constant, of shape (\*B,).

    Raises:
        ShapeError: the columns are not those of whole particles.

    References:
        J. Köhler, L. Klein, F. Noé (2020), Equivariant Flows: Exact Likelihood Generative Learning for Symmetric
        Densities.

    Example:
        >>> import torch
        >>> from bijecta.distributions import double_well_particles
        >>> two_apart = torch.tensor([[-2.0, 0.0, 2.0, 0.0]])  # on the barrier, at distance 4
        >>> double_well_particles(two_apart)
        tensor([-0.])
    """
    if x.ndim == 0 or x.shape[-1] % dimensions:
        raise ShapeError(f"Expected positions of shape (*batch, particles * {dimensions}), got {tuple(x.shape)}.")
    positions = x.unflatten(-1, (-1, dimensions))
    particles = positions.shape[-2]
    first, second = torch.triu_indices(particles, particles, offset=1, device=x.device)
    difference = positions.index_select(-2, first) - positions.index_select(-2, second)
    beyond = torch.linalg.vector_norm(difference, dim=-1) - 4
    pairs = 0.9 * beyond**4 - 4 * beyond.square()
    return -pairs.sum(-1) - 0.5 * particles * positions.mean(-2).square().sum(-1)
