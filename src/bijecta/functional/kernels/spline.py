"""The splines in one kernel each."""

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from bijecta.functional.kernels.dispatch import can_run_natively, can_run_on_gpu
from bijecta.functional.kernels.fused import Kernels, Upstream, apply_kernels
from bijecta.functional.kernels.library import SUFFIX, call, in_memory

MIN_BIN = 1e-3  # the smallest bin as a fraction of the domain, unless one asks for another


class SplineSettings(NamedTuple):
    """What a spline needs beside its elements and parameters; see `bijecta.functional.rational_quadratic`.

    Only that one can be circular, and a linear spline has no smallest slope.
    """

    bins: int
    bound: float | Tensor
    circular: bool | Tensor
    inverse: bool
    min_bin: float
    min_slope: float


Kind: TypeAlias = Literal["rational_quadratic", "linear_spline", "quadratic_spline", "cubic_spline"]
Spline: TypeAlias = Callable[[Tensor, Tensor, SplineSettings], tuple[Tensor, Tensor]]


def map_by_spline(
    kind: Kind, plain: Spline, x: Tensor, params: Tensor, settings: SplineSettings
) -> tuple[Tensor, Tensor]:
    """Map numbers by a spline, by a kernel where that is possible.

    Args:
        kind: which spline: the function of `bijecta.functional` that defines it.
        plain: the same map by tensor operations: the definition, the fallback, and what is differentiated twice.
        x: elements of shape (*B,).
        params: raw parameters in x's dtype, of shape (*B, P), broadcastable against x[..., None].
        settings: everything else.

    Returns:
        y and ladj, both of the broadcast shape (*B,).

    Reference:
        Müller et al., "Neural importance sampling" (2019); Durkan et al., "Cubic-spline flows", "Neural spline flows"
        (2019).

    Example:
        >>> settings = SplineSettings(1, 5.0, False, False, 1e-3, 1e-3)
        >>> def plain(x, params, settings):
        ...     return x, torch.zeros_like(x)
        >>> y, ladj = map_by_spline("rational_quadratic", plain, torch.zeros(3), torch.zeros(3, 2), settings)
        >>> y, ladj
        (tensor([0., 0., 0.]), tensor([0., 0., 0.]))
    """
    kernels = _choose(kind, x, params, settings)
    return plain(x, params, settings) if kernels is None else apply_kernels(kernels, plain, x, params, settings)


def _choose(kind: Kind, x: Tensor, params: Tensor, settings: SplineSettings) -> Kernels | None:
    tensors = x, params, settings.bound, settings.circular
    if isinstance(settings.bound, Tensor) and settings.bound.requires_grad:
        return None
    if can_run_natively(*tensors):
        return Kernels(partial(_map, kind), partial(_differentiate, kind))
    if can_run_on_gpu(*tensors):
        from bijecta.functional.kernels import triton_spline  # importing Triton takes a while

        return Kernels(partial(triton_spline.spline, kind), partial(triton_spline.gradient, kind))
    return None


# --- the boundary to native code ---------------------------------------------------------------------------------


class NativeSpline(ctypes.Structure):
    """`struct Spline` of csrc/knots.hpp."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("bins", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("bounds", ctypes.c_void_p),
        ("circulars", ctypes.c_void_p),
        ("bound", ctypes.c_double),
        ("min_bin", ctypes.c_double),
        ("min_slope", ctypes.c_double),
        ("circular", ctypes.c_int32),
        ("boundary_logit", ctypes.c_int32),
        ("inverse", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


def _map(name: str, x: Tensor, params: Tensor, settings: SplineSettings) -> tuple[Tensor, Tensor]:
    x, params = in_memory(x), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    _call(name, settings, x, params, y, ladj)
    return y, ladj


def _differentiate(
    name: str, x: Tensor, params: Tensor, settings: SplineSettings, gradients: Upstream
) -> tuple[Tensor, Tensor]:
    x, params = in_memory(x), in_memory(params)
    g_y, g_ladj = (None if gradient is None else in_memory(gradient) for gradient in gradients)
    g_x, g_params = torch.empty_like(x), torch.empty_like(params)
    _call(f"{name}_gradient", settings, x, params, g_y, g_ladj, g_x, g_params)
    return g_x, g_params


def _call(name: str, settings: SplineSettings, x: Tensor, *others: Tensor | None) -> None:
    bins, bound, circular, inverse, min_bin, min_slope = settings
    columns = x.shape[-1:]
    if any(isinstance(setting, Tensor) and setting.dim() > 1 for setting in (bound, circular)):
        columns = x.shape  # not one setting per column, but one per element
    bounds, one_bound = _split(bound, columns, x.dtype)
    circulars, one_circular = _split(circular, columns, torch.bool)
    described = NativeSpline(
        x.numel(),
        bins,
        columns.numel(),
        None if bounds is None else bounds.data_ptr(),
        None if circulars is None else circulars.data_ptr(),
        one_bound,
        min_bin,
        min_slope,
        one_circular,
        circular is not False,
        inverse,
        torch.get_num_threads(),
    )
    call(f"{name}{SUFFIX[x.dtype]}", ctypes.byref(described), x, *others)


def _split(setting: float | Tensor, columns: torch.Size, dtype: torch.dtype) -> tuple[Tensor | None, float]:
    """Give the native side an array of one entry per column, or one number."""
    if isinstance(setting, Tensor):
        return in_memory(setting.to(dtype).expand(columns)), 0
    return None, setting
