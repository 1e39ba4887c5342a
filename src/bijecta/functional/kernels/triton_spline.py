"""The splines on a GPU: forward, inverse and their gradients from (x, params) alone.

`dispatch` decides when this module is imported. One kernel maps and one pulls gradients back, for splines of all
kinds: `triton_tiles` has what these share and the rational-quadratic one, `triton_polynomial_tiles` the others.
"""

# Triton reads annotations as text; evaluated, they would need Triton to be there.
from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bijecta.functional.kernels.fused import Upstream
from bijecta.functional.kernels.library import in_memory
from bijecta.functional.kernels.spline import Kind, SplineSettings
from bijecta.functional.kernels.triton_polynomial_tiles import (
    _lay_cubic,
    _lay_linear,
    _lay_quadratic,
    _pull_cubic,
    _pull_linear,
    _pull_quadratic,
)
from bijecta.functional.kernels.triton_tiles import (
    Cell,
    Constants,
    Course,
    Elements,
    Sources,
    Target,
    _lay_rational_quadratic,
    _pull_rational_quadratic,
    _read,
    _rows,
    _sources,
    _to_unit,
    _upstream,
    jit,
    tl,
)
from bijecta.functional.scalar import wrap

TILE = 1024  # numbers in a tile of (rows, bins), at most
ROWS = 128  # elements in a tile, at most


# --- the kernels -------------------------------------------------------------------------------------------------


@jit
def _lay(q: tl.tensor, params_at: tl.tensor, circular: tl.tensor, constants: tl.constexpr) -> Any:
    """Return a table of all bins, the bin of each element, and its course there."""
    if constants.kind == "rational_quadratic":
        return _lay_rational_quadratic(q, params_at, circular, constants)
    elif constants.kind == "linear_spline":  # noqa: RET505 - each branch known when it compiles has its return
        return _lay_linear(q, params_at, constants)
    elif constants.kind == "quadratic_spline":
        return _lay_quadratic(q, params_at, constants)
    else:
        return _lay_cubic(q, params_at, constants)


@jit
def _pull(table: tl.tuple, cell: Cell, c: Course, g: Sources, to: Target, constants: tl.constexpr) -> None:
    """Write the gradients of the parameters."""
    if constants.kind == "rational_quadratic":
        _pull_rational_quadratic(table, cell, c, g, to, constants)
    elif constants.kind == "linear_spline":
        _pull_linear(table, cell, c, g, to, constants)
    elif constants.kind == "quadratic_spline":
        _pull_quadratic(table, cell, c, g, to, constants)
    else:
        _pull_cubic(table, cell, c, g, to, constants)


@jit
def map_tile(elements: Elements, y_at: tl.tensor, ladj_at: tl.tensor, constants: tl.constexpr) -> None:
    """Map a tile of elements: the kernel of `spline`."""
    row, valid = _rows(elements.count, constants)
    x, bound, circular = _read(elements, row, constants)
    params_at = elements.params_at + row * constants.parameters
    _, _, course = _lay(_to_unit(x, bound), params_at, circular, constants)
    log_slope = tl.log(course.slope)
    outside = tl.abs(x) > bound
    y = tl.where(outside, x, bound * course.image)
    y = tl.where(circular & (y >= bound), -bound, y)  # the two ends of a circle are one point
    tl.store(y_at + row, y, mask=valid)
    tl.store(ladj_at + row, tl.where(outside, 0.0, -log_slope if constants.inverse else log_slope), mask=valid)


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
    x, bound, circular = _read(elements, row, constants)
    q, offset = _to_unit(x, bound), row * constants.parameters
    table, cell, course = _lay(q, elements.params_at + offset, circular, constants)
    g_y, g_ladj = _upstream(g_y_at, row, x), _upstream(g_ladj_at, row, x)
    outside = tl.abs(x) > bound
    inside_y, inside_ladj = tl.where(outside, 0.0, g_y * bound), tl.where(outside, 0.0, g_ladj)
    g = _sources(cell, course, inside_y, inside_ladj, constants)
    _pull(table, cell, course, g, Target(g_params_at + offset, valid), constants)
    # `clamp` passes no gradient to NaN, so the definition has zero there.
    tl.store(g_x_at + row, tl.where(outside, g_y, tl.where(q == q, g.input / bound, 0.0)), mask=valid)


# --- launching them ----------------------------------------------------------------------------------------------


def spline(kind: Kind, x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    """Map elements.

    Args:
        kind: which spline.
        x: elements of shape (*B,).
        params: raw parameters of shape (*B, P), in x's dtype.
        settings: everything else.

    Returns:
        y and ladj of shape (*B,).

    Reference:
        Müller et al., "Neural importance sampling" (2019); Durkan et al., "Cubic-spline flows", "Neural spline flows"
        (2019).
    """
    x, params = in_memory(_wrapped(x, settings)), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    _launch(map_tile, kind, settings, x, params, y, ladj)
    return y, ladj


def gradient(
    kind: Kind, x: Tensor, params: Tensor, settings: SplineSettings, upstream: Upstream
) -> tuple[Tensor, Tensor]:
    """Pull gradients back through `spline`.

    Args:
        kind: which spline.
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
    _launch(gradient_tile, kind, settings, x, params, g_y, g_ladj, g_x, g_params)
    return g_x, g_params


def _wrapped(x: Tensor, settings: SplineSettings) -> Tensor:
    """Wrap periodic elements here: the exact remainder of far numbers is no operation of Triton's."""
    if settings.circular is False:
        return x
    inside = wrap(x, -settings.bound, settings.bound)
    return torch.where(settings.circular, inside, x) if isinstance(settings.circular, Tensor) else inside


def _launch(
    kernel: Any, kind: Kind, settings: SplineSettings, x: Tensor, params: Tensor, *others: Tensor | None
) -> None:
    if not x.numel():
        return
    constants = _constants(kind, settings, params.shape[-1])
    bounds, circulars = (
        in_memory(setting.to(dtype).expand(x.shape)) if isinstance(setting, Tensor) else None
        for setting, dtype in ((settings.bound, x.dtype), (settings.circular, torch.uint8))
    )
    elements = Elements(x, params, bounds, circulars, x.numel())
    with torch.cuda.device_of(x):
        # Fused multiplication and addition is Triton's habit, of which it warns unless one asks for it.
        kernel[(-(-x.numel() // constants.rows),)](elements, *others, constants, enable_fp_fusion=True)


def _constants(kind: Kind, settings: SplineSettings, parameters: int) -> Constants:
    bins, bound, circular, inverse, min_bin, min_slope = settings
    padded = 1 << (bins - 1).bit_length()
    return Constants(
        # With one bin there is no inner slope: both are the identity.
        kind="linear_spline" if kind == "quadratic_spline" and bins == 1 else kind,
        bins=bins,
        padded=padded,
        rows=max(1, min(ROWS, TILE // padded)),
        parameters=parameters,
        boundary_logit=circular is not False,
        inverse=inverse,
        bound=0.0 if isinstance(bound, Tensor) else float(bound),
        circular=circular is True,
        min_bin=min_bin,
        min_slope=min_slope,
        slope_limit=-math.log(min_slope) if min_slope else math.inf,  # a linear spline has no smallest slope
    )
