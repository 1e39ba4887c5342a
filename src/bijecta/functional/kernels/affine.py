"""The affine map in one kernel on a GPU; on a CPU one brings nothing, and whole chains have it inside."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from bijecta.functional.kernels.dispatch import can_run_on_gpu
from bijecta.functional.kernels.fused import Kernels, Pair, apply_kernels


class AffineSettings(NamedTuple):
    """What the map needs beside its elements and parameters; see `bijecta.functional.bounded_affine`."""

    limit: float
    inverse: bool


def map_by_affine(
    plain: Callable[[Tensor, Tensor, AffineSettings], Pair], x: Tensor, params: Tensor, settings: AffineSettings
) -> Pair:
    """Scale and shift numbers, by a kernel where that is possible.

    Args:
        plain: the same map by tensor operations: the definition, the fallback, and what is differentiated twice.
        x: elements of shape (*B,).
        params: shift and raw log-scale in x's dtype, of shape (*B, 2), broadcastable against x[..., None].
        settings: everything else.

    Returns:
        y and ladj, both of the broadcast shape (*B,).

    Reference:
        Dinh et al., "Density estimation using Real NVP" (2017).

    Example:
        >>> import torch
        >>> def plain(x, params, settings):
        ...     return x, torch.zeros_like(x)
        >>> map_by_affine(plain, torch.ones(1), torch.zeros(1, 2), AffineSettings(3.0, False))
        (tensor([1.]), tensor([0.]))
    """
    if not can_run_on_gpu(x, params):
        return plain(x, params, settings)
    from bijecta.functional.kernels import triton_affine  # importing Triton takes a while

    kernels = Kernels(triton_affine.affine, triton_affine.gradient)
    return apply_kernels(kernels, plain, x, params, settings)
