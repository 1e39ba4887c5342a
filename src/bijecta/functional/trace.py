r"""Trace and norm of a Jacobian J from its products with a few vectors, the probes :math:`u_k`.

Probes with :math:`\sum_k u_k u_k^T = I` give both exactly; random ones whose expectation is I give unbiased estimates:

.. math:: \mathrm{tr} J = \sum_k u_k^T J u_k, \qquad \|J\|_F^2 = \sum_k \|J u_k\|^2
"""

from collections.abc import Callable

import torch
from torch import Tensor


def unit_probes(z: Tensor) -> Tensor:
    r"""Return the D unit vectors as probes: trace and norm become exact.

    .. math:: \sum_k e_k e_k^T = I

    Args:
        z: where the Jacobian is taken, of shape (\*B, D).

    Returns:
        Probes of shape (D, \*B, D).

    Example:
        >>> unit_probes(torch.zeros(5, 3)).shape
        torch.Size([3, 5, 3])
    """
    features = z.shape[-1]
    units = torch.eye(features, dtype=z.dtype, device=z.device)
    return units.reshape(features, *[1] * (z.ndim - 1), features).expand(features, *z.shape)


def random_probes(z: Tensor, count: int = 1, *, generator: torch.Generator | None = None) -> Tensor:
    r"""Draw Rademacher probes, every row its own: all entries are :math:`\pm 1/\sqrt{K}`.

    .. math:: \mathbb{E} \sum_k u_k u_k^T = I

    Args:
        z: where the Jacobian is taken, of shape (\*B, D).
        count: number K of probes; the variance of the trace falls like 1/K.
        generator: source of randomness (default: the global one of torch).

    Returns:
        Probes of shape (K, \*B, D).

    Reference:
        Hutchinson (1989), "A stochastic estimator of the trace of the influence matrix for Laplacian smoothing
        splines".

    Example:
        >>> random_probes(torch.zeros(5, 3), 4).abs().unique()
        tensor([0.5000])
    """
    signs = torch.randint(2, (count, *z.shape), generator=generator, device=z.device)
    probes: Tensor = (2 * signs - 1).to(z.dtype) / count**0.5
    return probes


def jacobian_products(function: Callable[[Tensor], Tensor], z: Tensor, probes: Tensor) -> tuple[Tensor, Tensor]:
    r"""Compute f(z) and J u for every probe u by forward-mode differentiation, all probes at once.

    Args:
        function: f from (\*B, D) to (\*B, D), every row by itself.
        z: where to differentiate, of shape (\*B, D).
        probes: vectors u of shape (K, \*B, D).

    Returns:
        f(z) of shape (\*B, D) and the products J u of shape (K, \*B, D). Both can be differentiated again.

    Reference:
        Griewank, Walther (2008), "Evaluating Derivatives", chapter 3.

    Example:
        >>> jacobian_products(torch.sin, torch.zeros(2), torch.eye(2))[1]
        tensor([[1., 0.],
                [0., 1.]])
    """

    def push(probe: Tensor) -> tuple[Tensor, Tensor]:
        pushed: tuple[Tensor, Tensor] = torch.func.jvp(function, (z,), (probe,))  # type: ignore[assignment]
        return pushed

    # The value is the same for all probes: None says that it gets no dimension for them.
    both: tuple[Tensor, Tensor] = torch.vmap(push, out_dims=(None, 0))(probes)  # type: ignore[arg-type]
    return both


def probed_trace(probes: Tensor, products: Tensor) -> Tensor:
    r"""Compute the trace of J from its products with the probes: :math:`\sum_k u_k^T J u_k`.

    Args:
        probes: vectors u of shape (K, \*B, D), from `unit_probes` (exact) or `random_probes` (unbiased).
        products: J u of the same shape.

    Returns:
        The trace, of shape (\*B,).

    Reference:
        Grathwohl et al. (2019), "FFJORD".

    Example:
        >>> probes = unit_probes(torch.zeros(2))
        >>> probed_trace(probes, 3 * probes)
        tensor(6.)
    """
    return (probes * products).sum((0, -1))


def probed_norm(products: Tensor) -> Tensor:
    r"""Compute the squared Frobenius norm of J from its products with the probes: :math:`\sum_k \|J u_k\|^2`.

    Args:
        products: J u of shape (K, \*B, D).

    Returns:
        The squared norm, of shape (\*B,).

    Reference:
        Finlay, Jacobsen, Nurbekyan, Oberman (2020), "How to train your neural ODE".

    Example:
        >>> probed_norm(3 * unit_probes(torch.zeros(2)))
        tensor(18.)
    """
    return products.square().sum((0, -1))
