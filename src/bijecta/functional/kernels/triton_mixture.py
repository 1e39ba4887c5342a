"""The maps by mixtures on a GPU: forward, inverse and their gradients from (x, params) alone.

`dispatch` decides when this module is imported; `triton_mixture_tiles` has the kernels.
"""

from typing import Any

import torch
from torch import Tensor

from bijecta.functional.kernels.library import in_memory
from bijecta.functional.kernels.mixture import Mixture, MixtureSettings, Pair, Upstream
from bijecta.functional.kernels.triton_mixture_tiles import Constants, Elements, gradient_tile, map_tile

TILE = 4096  # bytes of a tile of (rows, components), at most: the registers of a program hold a dozen of them
ROWS = 128  # elements in a tile, at most
# (z + 5/2) erfcx z in powers of (z - 5/2) / (z + 5/2), the highest first: interpolation in Chebyshev's nodes.
ERFCX = {
    torch.float32: (
        -6.6570742e-06, -7.0160131e-05, 4.5314086e-05, 6.5929082e-04, -4.3223193e-04, -0.00479736,
        0.00839114, 0.02835668, -0.17125092, 0.45391452, -0.80465186, 1.05403185,
    ),
    torch.float64: (
        4.525062915294823e-09, 6.2626646817483435e-09, -3.574319190813427e-08, -7.37011235544665e-08,
        1.1214944382197203e-07, 4.5355299406372847e-07, 1.9132189761527793e-08, -1.9675019135766307e-06,
        -2.348338605847622e-06, 6.757009847837595e-06, 1.825119436280564e-05, -1.9533196714725822e-05,
        -0.00011260673400217951, 5.830802393238057e-05, 0.0007026940589974427, -0.00043920829488536836,
        -0.004818785558012908, 0.008393044304327133, 0.02836155013385942, -0.17125114524610233,
        0.4539141166480569, -0.8046518494391484, 1.054031820305718,
    ),
}  # fmt: skip


def mixture(x: Tensor, params: Tensor, settings: MixtureSettings, plain: Mixture) -> Pair:
    """Map elements.

    Args:
        x: elements of shape (*B,).
        params: raw parameters in x's dtype, of shape (*R, P), where R are the last of the dimensions B.
        settings: everything else.
        plain: the same map by tensor operations, for an inverse that the search has not found.

    Returns:
        y and ladj of shape (*B,).

    Raises:
        NotConvergedError: by the plain version, where an inverse is out of the range of numbers.

    Reference:
        Chen and Gopinath, "Gaussianization" (2000); Huang et al., "Neural autoregressive flows" (2018).
    """
    x, params = in_memory(x), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    _launch(map_tile, x, params, settings, y, ladj)
    # Only an inverse waits for the device, as the plain version does.
    if settings.inverse and bool((x.isfinite() & ~y.isfinite()).any()):
        return plain(x, params, settings)
    return y, ladj


def gradient(x: Tensor, params: Tensor, settings: MixtureSettings, upstream: Upstream) -> Pair:
    """Pull gradients back through `mixture`.

    Args:
        x: elements of the forward map, also for the inverse, of shape (*B,).
        params: raw parameters in x's dtype, of shape (*R, P), where R are the last of the dimensions B.
        settings: everything else.
        upstream: gradients with respect to y and ladj; None for zero.

    Returns:
        Gradients with respect to the argument of the map, and to params.
    """
    x, params = in_memory(x), in_memory(params)
    g_y, g_ladj = (None if given is None else in_memory(given) for given in upstream)
    rows = params.shape[:-1].numel()
    parts = x.numel() // rows if rows else 1  # elements that share a row of parameters
    g_x, g_params = torch.empty_like(x), params.new_empty(parts, *params.shape)
    _launch(gradient_tile, x, params, settings, g_y, g_ladj, g_x, g_params)
    return g_x, g_params[0] if parts == 1 else g_params.sum(0)


def _launch(kernel: Any, x: Tensor, params: Tensor, settings: MixtureSettings, *others: Tensor | None) -> None:
    if not x.numel():
        return
    constants = _constants(settings, x.dtype)
    elements = Elements(x, params, params.shape[:-1].numel(), x.numel())
    with torch.cuda.device_of(x):
        # Fused multiplication and addition is Triton's habit, of which it warns unless one asks for it.
        kernel[(-(-x.numel() // constants.rows),)](elements, *others, constants, enable_fp_fusion=True)


def _constants(settings: MixtureSettings, dtype: torch.dtype) -> Constants:
    kind, components, bound, limit, min_slope, inverse = settings
    padded = 1 << (components - 1).bit_length()
    return Constants(
        rows=max(1, min(ROWS, TILE // (padded * dtype.itemsize))),
        components=components,
        padded=padded,
        shifts=int(kind == "logistic"),
        inverse=inverse,
        bound=bound,
        limit=limit,
        min_slope=min_slope,
        rest=1 - min_slope,
        erfcx=ERFCX[dtype],
        epsilon=torch.finfo(dtype).eps,
    )
