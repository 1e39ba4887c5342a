"""The rational-quadratic spline on a GPU: forward, inverse and their gradients from (x, params) alone.

`dispatch` decides when this module is imported; `triton_tiles` has the kernels.
"""

import math
from typing import Any

import torch
from torch import Tensor

from bijecta.functional.kernels.library import in_memory
from bijecta.functional.kernels.spline import SplineSettings, Upstream
from bijecta.functional.kernels.triton_tiles import Constants, Elements, gradient_tile, map_tile
from bijecta.functional.scalar import wrap

TILE = 1024  # numbers in a tile of (rows, bins), at most
ROWS = 128  # elements in a tile, at most


def spline(x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    """Map elements.

    Args:
        x: elements of shape (*B,).
        params: raw parameters of shape (*B, P), in x's dtype.
        settings: everything else.

    Returns:
        y and ladj of shape (*B,).

    Reference:
        Durkan et al., "Neural spline flows" (2019).
    """
    x, params = in_memory(_wrapped(x, settings)), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    _launch(map_tile, x, params, settings, y, ladj)
    return y, ladj


def gradient(x: Tensor, params: Tensor, settings: SplineSettings, upstream: Upstream) -> tuple[Tensor, Tensor]:
    """Pull gradients back through `spline`.

    Args:
        x: elements of shape (*B,).
        params: raw parameters of shape (*B, P), in x's dtype.
        settings: everything else.
        upstream: gradients with respect to y and ladj; None for zero.

    Returns:
        Gradients with respect to x and params.
    """
    x, params = in_memory(_wrapped(x, settings)), in_memory(params)
    g_y, g_ladj = (None if given is None else in_memory(given) for given in upstream)
    g_x, g_params = torch.empty_like(x), torch.empty_like(params)
    _launch(gradient_tile, x, params, settings, g_y, g_ladj, g_x, g_params)
    return g_x, g_params


def _wrapped(x: Tensor, settings: SplineSettings) -> Tensor:
    """Wrap periodic elements here: the exact remainder of far numbers is no operation of Triton's."""
    if settings.circular is False:
        return x
    inside = wrap(x, -settings.bound, settings.bound)
    return torch.where(settings.circular, inside, x) if isinstance(settings.circular, Tensor) else inside


def _launch(kernel: Any, x: Tensor, params: Tensor, settings: SplineSettings, *others: Tensor | None) -> None:
    if not x.numel():
        return
    constants = _constants(settings)
    bounds, circulars = (
        in_memory(setting.to(dtype).expand(x.shape)) if isinstance(setting, Tensor) else None
        for setting, dtype in ((settings.bound, x.dtype), (settings.circular, torch.uint8))
    )
    elements = Elements(x, params, bounds, circulars, x.numel())
    with torch.cuda.device_of(x):
        # Fused multiplication and addition is Triton's habit, of which it warns unless one asks for it.
        kernel[(-(-x.numel() // constants.rows),)](elements, *others, constants, enable_fp_fusion=True)


def _constants(settings: SplineSettings) -> Constants:
    bins, bound, circular, inverse, min_bin, min_slope = settings
    padded = 1 << (bins - 1).bit_length()
    return Constants(
        bins=bins,
        padded=padded,
        rows=max(1, min(ROWS, TILE // padded)),
        parameters=3 * bins - (circular is False),
        boundary_logit=circular is not False,
        inverse=inverse,
        bound=0.0 if isinstance(bound, Tensor) else float(bound),
        circular=circular is True,
        min_bin=min_bin,
        slope_limit=-math.log(min_slope),
    )
