"""The affine map on a GPU: forward, inverse and their gradients from (x, params) alone, in Triton.

`dispatch` decides when this module is imported. A program takes a tile of elements, each with its shift and its raw
log-scale behind each other. Names ending in ``_at`` are addresses.
"""

# Triton reads annotations as text; evaluated, they would need Triton to be there.
from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from bijecta.functional.kernels.affine import AffineSettings
from bijecta.functional.kernels.fused import Pair, Upstream
from bijecta.functional.kernels.library import in_memory
from bijecta.functional.kernels.triton_tiles import _rows, _tanh, _upstream, jit, tl

ROWS = 512  # elements in a tile


class Elements(NamedTuple):
    """Addresses of what the kernels read, one after the other without gaps."""

    x_at: Any
    params_at: Any
    count: Any


class Constants(NamedTuple):
    """What a kernel is compiled for."""

    rows: int
    limit: float
    inverse: bool


@jit
def _map(elements: Elements, row: tl.tensor, constants: tl.constexpr) -> Any:
    """Return y, ladj, the scale |dy/dx|, and the derivative of the log-scale by its raw parameter."""
    x, shift = tl.load(elements.x_at + row), tl.load(elements.params_at + 2 * row)
    value, steep = _tanh(tl.load(elements.params_at + 2 * row + 1) / constants.limit)
    log_scale = constants.limit * value
    if constants.inverse:
        scale = tl.exp(-log_scale)
        return (x - shift) * scale, -log_scale, scale, steep
    else:  # noqa: RET505 - Triton wants one return statement per branch that is known when it compiles
        scale = tl.exp(log_scale)
        return x * scale + shift, log_scale, scale, steep


@jit
def map_tile(elements: Elements, y_at: tl.tensor, ladj_at: tl.tensor, constants: tl.constexpr) -> None:
    """Map a tile of elements: the kernel of `affine`."""
    row, valid = _rows(elements.count, constants)
    y, ladj, _, _ = _map(elements, row, constants)
    tl.store(y_at + row, y, mask=valid)
    tl.store(ladj_at + row, ladj, mask=valid)


@jit
def gradient_tile(
    elements: Elements,
    g_y_at: tl.tensor,
    g_ladj_at: tl.tensor,
    g_x_at: tl.tensor,
    g_params_at: tl.tensor,
    constants: tl.constexpr,
) -> None:
    """Pull gradients back through a tile of elements: the kernel of `gradient`."""
    row, valid = _rows(elements.count, constants)
    y, _, scale, steep = _map(elements, row, constants)
    g_y, g_ladj = _upstream(g_y_at, row, y), _upstream(g_ladj_at, row, y)
    g_x = g_y * scale
    if constants.inverse:
        g_shift, g_log_scale = -g_x, -(g_y * y + g_ladj)
    else:
        g_shift, g_log_scale = g_y, g_x * tl.load(elements.x_at + row) + g_ladj
    tl.store(g_x_at + row, g_x, mask=valid)
    tl.store(g_params_at + 2 * row, g_shift, mask=valid)
    tl.store(g_params_at + 2 * row + 1, g_log_scale * steep, mask=valid)


def affine(x: Tensor, params: Tensor, settings: AffineSettings) -> Pair:
    """Map elements.

    Args:
        x: elements of shape (*B,).
        params: shift and raw log-scale of shape (*B, 2), in x's dtype.
        settings: everything else.

    Returns:
        y and ladj of shape (*B,).

    Reference:
        Dinh et al., "Density estimation using Real NVP" (2017).
    """
    x, params = in_memory(x), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    _launch(map_tile, settings, x, params, y, ladj)
    return y, ladj


def gradient(x: Tensor, params: Tensor, settings: AffineSettings, upstream: Upstream) -> Pair:
    """Pull gradients back through `affine`.

    Args:
        x: elements of shape (*B,).
        params: shift and raw log-scale of shape (*B, 2), in x's dtype.
        settings: everything else.
        upstream: gradients with respect to y and ladj; None for zero.

    Returns:
        Gradients with respect to x and params.
    """
    x, params = in_memory(x), in_memory(params)
    g_y, g_ladj = (None if given is None else in_memory(given) for given in upstream)
    g_x, g_params = torch.empty_like(x), torch.empty_like(params)
    _launch(gradient_tile, settings, x, params, g_y, g_ladj, g_x, g_params)
    return g_x, g_params


def _launch(kernel: Any, settings: AffineSettings, x: Tensor, params: Tensor, *others: Tensor | None) -> None:
    if x.numel():
        constants = Constants(ROWS, *settings)
        with torch.cuda.device_of(x):
            # Fused multiplication and addition is Triton's habit, of which it warns unless one asks for it.
            kernel[(-(-x.numel() // ROWS),)](Elements(x, params, x.numel()), *others, constants, enable_fp_fusion=True)
