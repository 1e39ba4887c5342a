"""A whole chain of layers in one native call, as an operation of autograd.

What the layers are is said once, by a `Program`: numbers of tensors instead of tensors, so that it stays valid when
parameters move. `csrc/flow.cpp` has the same structures.
"""

import ctypes
from array import array
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bijecta.functional.kernels.library import SUFFIX, call, in_memory
from bijecta.functional.kernels.plainly import Pair, Plain, differentiate_plainly
from bijecta.functional.kernels.spline import NativeSpline, SplineSettings

KINDS = ("standardise", "act_norm", "matrix", "lu", "permute", "conditioned")
MAPS = ("additive", "affine", "spline")
_DTYPE, _IS_CPU, _IS_CONTIGUOUS = attrgetter("dtype"), attrgetter("is_cpu"), Tensor.is_contiguous


class Layer(NamedTuple):
    """An affine layer of a conditioner, y = W x + b.

    Attributes:
        inputs: number of inputs.
        outputs: number of outputs.
        weight: number of the tensor W of shape (outputs, inputs); -1 for none, where there are no inputs.
        bias: number of the tensor b of shape (outputs,).
        columns: input k is column ``columns[k]`` of W; empty for k.
        rows: output o is row ``rows[o]`` of W; empty for o.
        seen: output o sees the inputs before ``seen[o]``, and o + 1 no fewer; empty for all.
    """

    inputs: int
    outputs: int
    weight: int
    bias: int
    columns: Sequence[int] = ()
    rows: Sequence[int] = ()
    seen: Sequence[int] = ()


class Step(NamedTuple):
    """One layer of the chain.

    Attributes:
        kind: one of `KINDS`.
        tensors: numbers of its tensors, in the order that csrc/flow.cpp says.
        inputs: features that the conditioner sees, and D + k for column k of the context; or the permutation.
        transformed: the features that are mapped, in the order of the conditioner's outputs.
        layers: the conditioner, with ReLU between its layers.
        map: one of `MAPS`.
        autoregressive: whether a feature is conditioned on those before it.
        log_scale_limit: of the affine map.
        spline: settings of the spline, with one bound and periodicity for all features.
    """

    kind: str
    tensors: Sequence[int] = ()
    inputs: Sequence[int] = ()
    transformed: Sequence[int] = ()
    layers: Sequence[Layer] = ()
    map: str = "affine"
    autoregressive: bool = False
    log_scale_limit: float = 0.0
    spline: SplineSettings | None = None


class Program:
    """A chain of steps, in the form that native code reads.

    Args:
        steps: the layers, first applied first.
        features: number D of features.
        contexts: number C of context columns.

    Example:
        >>> Program([Step("permute", inputs=[1, 0])], features=2, contexts=0).features
        2
    """

    def __init__(self, steps: Sequence[Step], features: int, contexts: int) -> None:
        self.features, self.contexts = features, contexts
        self._alive: list[Any] = []  # ctypes does not keep alive what a pointer points to
        self._steps = (_NativeStep * len(steps))(*map(self._step, steps))
        self._numbers = [_tensors_of(step) for step in steps]
        self._sums, self._first = array("Q"), len(steps)

    def first(self, wanted: Sequence[int]) -> int:
        """Find the first step that has a tensor whose gradient is wanted."""
        return next((s for s, numbers in enumerate(self._numbers) if any(wanted[n] for n in numbers)), len(self._steps))

    def start_of(self, sums: Sequence[Tensor | None]) -> tuple[int, int] | None:
        """Find the first step with a gradient, and an array of the gradients' addresses, valid until the next call.

        None where one is not contiguous. Asked at every step, mostly for the same gradients as before.
        """
        addresses = _addresses(sums)
        if addresses != self._sums:
            if not all(part.is_contiguous() for part in sums if part is not None):
                return None
            self._sums, self._first = addresses, self.first(addresses)
        return self._first, self._sums.buffer_info()[0]

    def call(self, name: str, rows: int, tensors: Sequence[Tensor], *others: Tensor | None, **settings: Any) -> Any:
        """Call a native function with this program; ``settings`` are further fields of the structure."""
        addresses = _addresses(tensors)
        described = _NativeProgram(
            steps=ctypes.addressof(self._steps),
            n_steps=len(self._steps),
            features=self.features,
            contexts=self.contexts,
            rows=rows,
            threads=torch.get_num_threads(),
            tensors=addresses.buffer_info()[0],
            **settings,
        )
        return call(name, ctypes.byref(described), *others)

    def _step(self, step: Step) -> "_NativeStep":
        layers = (_NativeLayer * len(step.layers))(*map(self._layer, step.layers))
        self._alive.append(layers)
        return _NativeStep(
            KINDS.index(step.kind),
            MAPS.index(step.map),
            step.autoregressive,
            len(step.inputs),
            len(step.transformed),
            len(layers),
            self._array(step.inputs),
            self._array(step.transformed),
            ctypes.addressof(layers),
            (ctypes.c_int32 * 4)(*[*step.tensors, -1, -1, -1, -1][:4]),
            step.log_scale_limit,
            _describe(step.spline) if step.spline else NativeSpline(),
        )

    def _layer(self, layer: Layer) -> "_NativeLayer":
        return _NativeLayer(*layer[:4], *map(self._array, layer[4:]))

    def _array(self, numbers: Sequence[int]) -> int | None:
        if not len(numbers):
            return None
        laid_out = array("i", numbers)
        self._alive.append(laid_out)
        return laid_out.buffer_info()[0]


def _addresses(tensors: Sequence[Tensor | None]) -> "array[int]":
    return array("Q", [0 if tensor is None else tensor.data_ptr() for tensor in tensors])


def _tensors_of(step: Step) -> list[int]:
    return [*step.tensors, *(n for layer in step.layers for n in (layer.weight, layer.bias) if n >= 0)]


def _describe(settings: SplineSettings) -> NativeSpline:
    return NativeSpline(
        bins=settings.bins,
        columns=1,
        bound=float(settings.bound),
        min_bin=settings.min_bin,
        min_slope=settings.min_slope,
        boundary_logit=settings.circular is not False,
    )


def forward_and_ladj(
    program: Program,
    x: Tensor,
    context: Tensor | None,
    tensors: Sequence[Tensor],
    plain: Plain,
) -> Pair | None:
    """Map data to latent natively, where that is possible; `can_run_natively` has said yes.

    Args:
        program: the chain.
        x: data of shape (*B, D).
        context: contexts of shape (*B, C).
        tensors: parameters and buffers, in the order of the program's numbers.
        plain: the same map by tensor operations, of x and context: what is differentiated twice.

    Returns:
        z (*B, D) and ladj (*B,); None where the plain version has to do it.

    Example:
        >>> swap = Program([Step("permute", inputs=[1, 0])], features=2, contexts=0)
        >>> native = forward_and_ladj(swap, torch.tensor([1.0, 2.0]), None, [], None)
        >>> native is None or native[0].tolist() == [2.0, 1.0]
        True
    """
    if not _fits(program, x, context, tensors):
        return None
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, *tensors, *([] if context is None else [context]))):
        z, ladj = _NativeChain.apply(program, plain, x, context, *tensors)
        return z, ladj
    return _map(program, "forward", x, context, tensors, None)


def inverse_and_ladj(program: Program, z: Tensor, context: Tensor | None, tensors: Sequence[Tensor]) -> Pair | None:
    """Map latent to data natively, where that is possible and no gradient is wanted.

    Args:
        program: the chain.
        z: latent of shape (*B, D).
        context: contexts of shape (*B, C).
        tensors: parameters and buffers, in the order of the program's numbers.

    Returns:
        x (*B, D) and ladj (*B,) of the inverse; None where the plain version has to do it.

    Example:
        >>> swap = Program([Step("permute", inputs=[1, 0])], features=2, contexts=0)
        >>> native = inverse_and_ladj(swap, torch.tensor([1.0, 2.0]), None, [])
        >>> native is None or native[0].tolist() == [2.0, 1.0]
        True
    """
    given = (z, *tensors, *([] if context is None else [context]))
    if (torch.is_grad_enabled() and any(t.requires_grad for t in given)) or not _fits(program, z, context, tensors):
        return None
    return _map(program, "inverse", z, context, tensors, None)


def normal_loss(
    program: Program, x: Tensor, context: Tensor | None, weight: Tensor | None, tensors: Sequence[Tensor]
) -> Tensor | None:
    r"""Compute the mean of :math:`-w \log p(x)` under a standard normal latent, and add its gradient to ``.grad``.

    Data go forwards and back through the chain while they are in the cache, past autograd: what a step of training
    asks for.

    Args:
        program: the chain.
        x: data of shape (N, D).
        context: contexts of shape (N, C).
        weight: w of shape (N,); None for 1.
        tensors: parameters and buffers; a parameter without ``.grad`` is not differentiated.

    Returns:
        The loss, a scalar without a graph; None where autograd has to do it, and then nothing was added.

    Example:
        >>> swap = Program([Step("permute", inputs=[1, 0])], features=2, contexts=0)
        >>> loss = normal_loss(swap, torch.tensor([[0.0, 0.0]]), None, None, [])
        >>> loss is None or round(float(loss), 4) == 1.8379
        True
    """
    given = [tensor for tensor in (x, context, weight) if tensor is not None]
    if x.dim() != 2 or not len(x) or any(t.requires_grad for t in given) or not _fits(program, x, context, tensors):
        return None
    if weight is not None and (weight.dtype is not x.dtype or weight.shape != x.shape[:1]):
        return None
    others = [None if tensor is None else in_memory(tensor) for tensor in (x, context, weight)]
    sums = [tensor.grad if tensor.requires_grad else None for tensor in tensors]
    start = program.start_of(sums)
    if start is None:
        return None
    name = f"chain_normal_loss{SUFFIX[x.dtype]}"
    return x.new_tensor(program.call(name, len(x), tensors, *others, first=start[0], gradients=start[1]))


def _fits(program: Program, x: Tensor, context: Tensor | None, tensors: Sequence[Tensor]) -> bool:
    if x.dim() == 0 or x.shape[-1] != program.features:
        return False
    if (0 if context is None else context.shape[-1]) != program.contexts:
        return False
    if context is not None and (context.dtype != x.dtype or context.shape[:-1] != x.shape[:-1]):
        return False
    # Small flows are asked this for every step: no Python between the tensors.
    return set(map(_DTYPE, tensors)) <= {x.dtype} and all(map(_IS_CPU, tensors)) and all(map(_IS_CONTIGUOUS, tensors))


def _map(
    program: Program, name: str, x: Tensor, context: Tensor | None, tensors: Sequence[Tensor], keep: Tensor | None
) -> Pair:
    x = in_memory(x)
    context = None if context is None else in_memory(context)
    y, ladj = torch.empty_like(x), x.new_empty(x.shape[:-1])
    others = (x, context, y, ladj, keep) if name == "forward" else (x, context, y, ladj)
    program.call(f"chain_{name}{SUFFIX[x.dtype]}", ladj.numel(), tensors, *others)
    return y, ladj


class _NativeChain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, program: Program, plain: Plain, x: Tensor, context: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, Tensor]:
        rows = x.numel() // program.features
        keep = x.new_empty(program.call("chain_keeps", rows, tensors))
        ctx.save_for_backward(x, context, keep, *tensors)
        ctx.program, ctx.plain = program, plain
        ctx.set_materialize_grads(False)
        return _map(program, "forward", x, context, tensors, keep)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Any, ...]:
        x, context, keep, *tensors = ctx.saved_tensors
        wanted = ctx.needs_input_grad[2:]
        if torch.is_grad_enabled():
            return None, None, *differentiate_plainly(ctx.plain, (x, context, *tensors), wanted, gradients)
        return None, None, *_differentiate(ctx.program, (x, context, *tensors), keep, wanted, gradients)


def _differentiate(
    program: Program,
    inputs: tuple[Tensor, ...],
    keep: Tensor,
    wanted: Sequence[bool],
    gradients: tuple[Tensor | None, ...],
) -> list[Tensor | None]:
    x, context, *tensors = inputs
    # One piece of memory for all: the gradients of parameters lie behind each other.
    flat = x.new_zeros(sum(tensor.numel() for tensor in tensors))
    parts = [part.view_as(t) for part, t in zip(flat.split([t.numel() for t in tensors]), tensors, strict=True)]
    g_z, g_ladj = (None if gradient is None else in_memory(gradient) for gradient in gradients)
    g_x = torch.empty_like(x, memory_format=torch.contiguous_format) if wanted[0] else None
    g_context = torch.empty_like(context, memory_format=torch.contiguous_format) if wanted[1] else None
    addresses = _addresses(parts)
    program.call(
        f"chain_gradient{SUFFIX[x.dtype]}",
        x.numel() // program.features,
        tensors,
        keep,
        g_z,
        g_ladj,
        g_x,
        g_context,
        first=0 if wanted[0] or wanted[1] else program.first(wanted[2:]),
        gradients=addresses.buffer_info()[0],
    )
    return [g_x, g_context, *(part if want else None for part, want in zip(parts, wanted[2:], strict=True))]


class _NativeLayer(ctypes.Structure):
    _fields_ = (
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("weight", ctypes.c_int32),
        ("bias", ctypes.c_int32),
        ("columns", ctypes.c_void_p),
        ("rows", ctypes.c_void_p),
        ("seen", ctypes.c_void_p),
    )


class _NativeStep(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("kind", "map", "autoregressive")),
        *((name, ctypes.c_int32) for name in ("n_inputs", "n_transformed", "n_layers")),
        *((name, ctypes.c_void_p) for name in ("inputs", "transformed", "layers")),
        ("tensors", ctypes.c_int32 * 4),
        ("log_scale_limit", ctypes.c_double),
        ("spline", NativeSpline),
    )


class _NativeProgram(ctypes.Structure):
    _fields_ = (
        ("steps", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("n_steps", "features", "contexts", "rows", "threads", "first")),
        ("tensors", ctypes.c_void_p),
        ("gradients", ctypes.c_void_p),
    )
