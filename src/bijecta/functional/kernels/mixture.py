"""Maps by mixtures of distribution functions in one kernel, as an operation of autograd that saves no intermediate."""

import ctypes
import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from bijecta.functional.kernels.dispatch import can_run_natively, can_run_on_gpu
from bijecta.functional.kernels.library import SUFFIX, call, in_memory
from bijecta.functional.kernels.plainly import differentiate_plainly

BATCH = 512  # elements that a thread takes at once
FEWEST = 16  # elements of one row of parameters from which on they fill the lanes of a vector


class MixtureSettings(NamedTuple):
    """What the map needs beside its elements and parameters.

    See `gaussianise` (kind "normal") and `sigmoidal` (kind "logistic").
    """

    kind: Literal["normal", "logistic"]
    components: int
    bound: float
    limit: float
    min_slope: float
    inverse: bool


Pair: TypeAlias = tuple[Tensor, Tensor]
Mixture: TypeAlias = Callable[[Tensor, Tensor, MixtureSettings], Pair]
Upstream: TypeAlias = tuple[Tensor | None, ...]


class Kernels(NamedTuple):
    """The map on one kind of device, and what pulls gradients of (y, ladj) back to (x, params).

    The map falls back to the plain version, which is its last argument; the gradient takes the x of the forward map.
    """

    map: Callable[[Tensor, Tensor, MixtureSettings, Mixture], Pair]
    differentiate: Callable[[Tensor, Tensor, MixtureSettings, Upstream], Pair]


def map_by_mixture(plain: Mixture, x: Tensor, params: Tensor, settings: MixtureSettings) -> Pair:
    """Map numbers by the distribution function of a mixture, by a kernel where that is possible.

    Args:
        plain: the same map by tensor operations: the definition, the fallback, and what is differentiated twice.
        x: elements of shape (*B,).
        params: raw parameters in x's dtype, of shape (*B, P), broadcastable against x[..., None].
        settings: everything else.

    Returns:
        y and ladj, both of the broadcast shape (*B,).

    Raises:
        NotConvergedError: by the plain version, where an inverse is out of the range of numbers.

    Reference:
        Chen and Gopinath, "Gaussianization" (2000); Huang et al., "Neural autoregressive flows" (2018).

    Example:
        >>> settings = MixtureSettings("normal", 1, 50.0, 4.0, 1e-3, False)
        >>> def plain(x, params, settings):
        ...     return x, torch.zeros_like(x)
        >>> y, ladj = map_by_mixture(plain, torch.zeros(3), torch.zeros(3, 3), settings)
        >>> y.abs().max() < 1e-6, ladj.abs().max() < 1e-6
        (tensor(True), tensor(True))
    """
    kernels = _choose(x, params, settings)
    if kernels is None:
        return plain(x, params, settings)
    shape = torch.broadcast_shapes(x.shape, params.shape[:-1])
    x, params = x.expand(shape), _one_row_per_element_or_shared(params, shape)
    if torch.is_grad_enabled() and (x.requires_grad or params.requires_grad):
        y, ladj = _FusedMixture.apply(x, params, settings, plain, kernels)
        return y, ladj
    return kernels.map(x, params, settings, plain)


def _choose(x: Tensor, params: Tensor, settings: MixtureSettings) -> Kernels | None:
    size = 3 * settings.components + (settings.kind == "logistic")
    if settings.components < 1 or params.shape[-1] != size:
        return None
    if can_run_natively(x, params):
        return Kernels(_map, _differentiate)
    if can_run_on_gpu(x, params):
        from bijecta.functional.kernels import triton_mixture  # importing Triton takes a while

        return Kernels(triton_mixture.mixture, triton_mixture.gradient)
    return None


def _one_row_per_element_or_shared(params: Tensor, shape: torch.Size) -> Tensor:
    """Keep parameters that all of many elements share; give each element its row otherwise."""
    rows = params.shape[:-1]
    while len(rows) > 0 and rows[0] == 1:
        rows = rows[1:]
    if rows == shape[len(shape) - len(rows) :] and shape.numel() >= FEWEST * rows.numel() > 0:
        return params.reshape(*rows, params.shape[-1])
    return params.expand(*shape, params.shape[-1])


class _FusedMixture(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, params: Tensor, settings: MixtureSettings, plain: Mixture, kernels: Kernels
    ) -> Pair:
        y, ladj = kernels.map(x, params, settings, plain)
        # With the root there is nothing left to search for.
        ctx.save_for_backward(x, params, y if settings.inverse else None)
        ctx.settings, ctx.plain, ctx.kernels = settings, plain, kernels
        ctx.set_materialize_grads(False)
        return y, ladj

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        x, params, root = ctx.saved_tensors
        if torch.is_grad_enabled():
            plain = partial(ctx.plain, settings=ctx.settings)
            return *differentiate_plainly(plain, (x, params), ctx.needs_input_grad[:2], gradients), None, None, None
        place = x if root is None else root
        return *ctx.kernels.differentiate(place, params, ctx.settings, gradients), None, None, None


# --- the boundary to native code ---------------------------------------------------------------------------------


class NativeMixture(ctypes.Structure):
    """`struct Mixture` of csrc/mixture.hpp."""

    _fields_ = (
        ("count", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("components", ctypes.c_int64),
        ("batch", ctypes.c_int64),
        ("bound", ctypes.c_double),
        ("limit", ctypes.c_double),
        ("min_slope", ctypes.c_double),
        ("logistic", ctypes.c_int32),
        ("inverse", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    )


def _map(x: Tensor, params: Tensor, settings: MixtureSettings, plain: Mixture) -> Pair:
    x, params = in_memory(x), in_memory(params)
    y, ladj = torch.empty_like(x), torch.empty_like(x)
    if _call("mixture", settings, x, params, y, ladj):
        return plain(x, params, settings)  # it says what is wrong
    return y, ladj


def _differentiate(x: Tensor, params: Tensor, settings: MixtureSettings, gradients: Upstream) -> Pair:
    x, params = in_memory(x), in_memory(params)
    g_y, g_ladj = (None if gradient is None else in_memory(gradient) for gradient in gradients)
    rows = params.shape[:-1].numel()
    parts = math.ceil(x.numel() / rows / BATCH) if 0 < rows < x.numel() else 1
    g_x, g_params = torch.empty_like(x), params.new_empty(parts, *params.shape)
    _call("mixture_gradient", settings, x, params, g_y, g_ladj, g_x, g_params)
    return g_x, g_params[0] if parts == 1 else g_params.sum(0)


def _call(name: str, settings: MixtureSettings, x: Tensor, params: Tensor, *others: Tensor | None) -> Any:
    kind, components, bound, limit, min_slope, inverse = settings
    described = NativeMixture(
        x.numel(),
        params.shape[:-1].numel(),
        components,
        BATCH,
        bound,
        limit,
        min_slope,
        kind == "logistic",
        inverse,
        torch.get_num_threads(),
    )
    return call(f"{name}{SUFFIX[x.dtype]}", ctypes.byref(described), x, params, *others)
