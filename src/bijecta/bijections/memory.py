"""Memory modes: what a chain keeps between its forward and its backward pass.

==============  =======================================  ==========================================  ==============
mode            kept for the backward pass               computed again there                        gradients
==============  =======================================  ==========================================  ==============
(none)          what every layer and network computed    nothing                                     exact
`Recomputed`    what goes into every stretch             the stretch, once                           exact
`Rebuilt`       what goes into the chain, what comes out the inverse of the stretch, then as above   as the inverse
==============  =======================================  ==========================================  ==============

A stretch is a network with the layers before it: where one ends, little more than the state itself is known. Both
modes are one operation of autograd per stretch, so that gradients of parameters are handed on, and freed, one stretch
after the other. Without gradients, and under what traces or transforms operations (compile, export, vmap, forward-mode
derivatives) or casts them (autocast), a wrapper steps aside.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bijecta.bijections.base import Bijection
from bijecta.bijections.combinators import Chain, Inverse
from bijecta.errors import InputError, NotConvergedError
from bijecta.functional.kernels.dispatch import is_transformed

DRIFT = 1e-3  # of a rebuilt state, as part of 1 + its largest element

Pair = tuple[Tensor, Tensor]


class Recomputed(Bijection):
    r"""Keep only the states of a chain, and compute its networks again in the backward pass.

    The map is that of the chain and the gradients are exact. Memory is that of one state per network and of the
    activations of a single one; the time is that of one more forward pass.

    Args:
        bijection: a `Chain`; of any other bijection only the input is kept.

    References:
        T. Chen, B. Xu, C. Zhang, C. Guestrin (2016), Training Deep Nets with Sublinear Memory Cost.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Recomputed
        >>> from bijecta.flows import nsf
        >>> flow = nsf(3)
        >>> expected = flow.log_prob(torch.ones(3))
        >>> flow.bijection = Recomputed(flow.bijection)
        >>> torch.allclose(flow.log_prob(torch.ones(3)), expected)
        True
    """

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection, self.event_ndim = bijection, bijection.event_ndim
        self.stretches = _Stretches(None)
        _keep_names(self)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> Pair:
        return self.stretches.forward_and_ladj(self.bijection, x, context)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> Pair:
        return self.stretches.inverse_and_ladj(self.bijection, z, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bijection.initialise(x, context)


class Rebuilt(Bijection):
    r"""Keep only the two ends of a chain, and rebuild its states by inversion in the backward pass.

    .. math:: x_{l-1} = f_l^{-1}(x_l), \qquad l = L, \dots, 2

    Memory does not grow with the number of layers; the time is that of one more inverse and one more forward pass. What
    the inverses get wrong gets into the gradients. So the state behind the first stretch is compared with the one
    that belongs to the data, which were kept. Layers whose inverse takes many steps (autoregressive ones, searches)
    are slow here, and those whose inverse has a tolerance add it to the error: `Recomputed` suits them better.

    Args:
        bijection: a `Chain`.
        tolerance: largest error of the rebuilt state of an event, as part of 1 + its largest element.

    Raises:
        NotConvergedError: in the backward pass, when the rebuilt state is off by more than that.

    References:
        A. Gomez, M. Ren, R. Urtasun, R. Grosse (2017), The Reversible Residual Network.
        J. Behrmann et al. (2021), Understanding and Mitigating Exploding Inverses in Invertible Neural Networks.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Rebuilt
        >>> from bijecta.flows import realnvp
        >>> flow = realnvp(2)
        >>> flow.bijection = Rebuilt(flow.bijection)
        >>> flow.log_prob(torch.ones(5, 2)).mean().backward()
    """

    def __init__(self, bijection: Bijection, tolerance: float = DRIFT) -> None:
        super().__init__()
        self.bijection, self.event_ndim = bijection, bijection.event_ndim
        self.stretches = _Stretches(tolerance)
        _keep_names(self)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> Pair:
        return self.stretches.forward_and_ladj(self.bijection, x, context)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> Pair:
        return self.stretches.inverse_and_ladj(self.bijection, z, context)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.bijection.initialise(x, context)


MODES = {"keep": None, "recompute": Recomputed, "rebuild": Rebuilt}


@contextmanager
def memory_mode(model: nn.Module, mode: str) -> Iterator[None]:
    """Let a flow train with less memory, for the length of a ``with`` block.

    Inside the block the innermost chains that have parameters are wrapped; afterwards the model is as it was before.
    Names of weights do not change, so whatever is saved inside is read outside, and the other way round.

    Args:
        model: a flow, or any module that holds chains.
        mode: "recompute" (`Recomputed`), "rebuild" (`Rebuilt`) or "keep" (nothing changes).

    Yields:
        None.

    Raises:
        InputError: there is no such mode, or no chain to wrap.

    Example:
        >>> import torch
        >>> from bijecta.bijections import memory_mode
        >>> from bijecta.flows import nsf
        >>> from bijecta.training import FitConfig, fit
        >>> flow = nsf(2, layers=2)
        >>> with memory_mode(flow, "recompute"):
        ...     result = fit(flow, torch.randn(200, 2), config=FitConfig(epochs=1))
    """
    if mode not in MODES:
        raise InputError(f"Expected a memory mode among {', '.join(MODES)}; got {mode!r}.")
    wrap, places = MODES[mode], list(_innermost_chains(model))
    if not places:
        raise InputError(
            f"memory_mode expects a module that holds a Chain with parameters; {type(model).__name__} holds none. "
            "Wrap a bijection of your own by Recomputed(...) or Rebuilt(...) where it is used."
        )
    try:
        for parent, name, chain in places:
            setattr(parent, name, chain if wrap is None else wrap(chain))
        yield
    finally:
        for parent, name, chain in places:
            setattr(parent, name, chain)


def _innermost_chains(module: nn.Module) -> Iterator[tuple[nn.Module, str, Chain]]:
    """Find the chains with parameters that hold no further one, with their places."""
    for name, child in module._modules.items():
        if child is None or isinstance(child, Recomputed | Rebuilt):
            continue
        inner = list(_innermost_chains(child))
        if not inner and isinstance(child, Chain) and next(child.parameters(), None) is not None:
            inner = [(module, name, child)]
        yield from inner


class _Stretches:
    """The stretches of a chain, kept from call to call as long as they are those of its layers.

    They are no part of a model: a copied or unpickled wrapper begins without them.
    """

    def __init__(self, tolerance: float | None) -> None:
        self.tolerance = tolerance
        self.layers: list[Bijection] = []
        self.parts: list[Chain] = []

    def __reduce__(self) -> tuple[type["_Stretches"], tuple[float | None]]:
        return _Stretches, (self.tolerance,)

    def forward_and_ladj(self, bijection: Bijection, x: Tensor, context: Tensor | None) -> Pair:
        if _steps_aside(x):
            return bijection.forward_and_ladj(x, context)
        return _run(self._of(bijection), x, context, self.tolerance)

    def inverse_and_ladj(self, bijection: Bijection, z: Tensor, context: Tensor | None) -> Pair:
        if _steps_aside(z):
            return bijection.inverse_and_ladj(z, context)
        return _run([Inverse(part) for part in reversed(self._of(bijection))], z, context, self.tolerance)

    def _of(self, bijection: Bijection) -> list[Chain]:
        layers = list(bijection) if isinstance(bijection, Chain) else [bijection]
        if len(layers) != len(self.layers) or any(a is not b for a, b in zip(layers, self.layers, strict=True)):
            self.layers, self.parts = layers, [Chain(part) for part in _cut(layers)]
        return self.parts


def _cut(layers: Sequence[Bijection]) -> list[list[Bijection]]:
    """Cut a chain behind every layer that has parts of its own, such as a network; the rest joins the last stretch."""
    ends = [place + 1 for place, layer in enumerate(layers) if next(layer.children(), None) is not None]
    starts = [0, *ends[:-1]]
    return [list(layers[start:end]) for start, end in zip(starts, [*starts[1:], len(layers)], strict=True)]


def _steps_aside(x: Tensor) -> bool:
    return not torch.is_grad_enabled() or torch.compiler.is_compiling() or is_transformed(x.device.type)


def _run(stretches: Sequence[Bijection], x: Tensor, context: Tensor | None, tolerance: float | None) -> Pair:
    total, tape = x.new_zeros(()), None if tolerance is None else _Tape(tolerance)
    for number, bijection in enumerate(stretches):
        stretch = _Stretch(bijection)
        parameters = dict(stretch.named_parameters())
        # A backward pass ends where nothing before needs a gradient.
        begins, ends = number == 0 or not x.requires_grad, number + 1 == len(stretches)
        place = _Place(tape, keeps_x=tape is None or begins, keeps_z=tape is not None and ends)
        x, ladj = _Run.apply(stretch, place, tuple(parameters), x, context, *parameters.values())
        total = total + ladj
    return x, total


class _Stretch(nn.Module):
    """Both directions of a bijection behind one call, which `functional_call` can give other parameters."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, x: Tensor, context: Tensor | None, *, undo: bool = False) -> Pair:
        return (self.bijection.inverse_and_ladj if undo else self.bijection.forward_and_ladj)(x, context)


class _Tape:
    """The state that the backward pass of one stretch hands to that of the stretch before it."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.state: Tensor | None = None

    def compare(self, true: Tensor, batch_ndim: int) -> None:
        """Raise a NotConvergedError if the state has drifted away from what it should be."""
        if self.state is None:
            return
        size = _largest(true, batch_ndim)
        error = _largest(self.state - true, batch_ndim) / (1 + size)
        # A rebuilt NaN is an error too; where the true state is none, training has other worries.
        if bool((~(error <= self.tolerance) & size.isfinite()).any()):
            worst = error.nan_to_num(nan=float("inf")).max()
            raise NotConvergedError(
                f"Rebuilding the states of a chain by inversion ended {float(worst):.2g} away from the state that is "
                f"known (relative to its size; {self.tolerance:g} is allowed): gradients would be wrong. Use "
                "Recomputed, float64, or maps that stretch less: a smaller log_scale_limit, fewer layers."
            )


def _largest(state: Tensor, batch_ndim: int) -> Tensor:
    return state.detach().flatten(batch_ndim).abs().amax(-1)


class _Place(NamedTuple):
    """What a stretch keeps, which depends on where in the chain it is."""

    tape: _Tape | None
    keeps_x: bool
    keeps_z: bool


class _Run(torch.autograd.Function):
    """Run a stretch without a graph; in the backward pass, run it again with one."""

    @staticmethod
    def forward(
        ctx: Any,
        stretch: _Stretch,
        place: _Place,
        names: Sequence[str],
        x: Tensor,
        context: Tensor | None,
        *parameters: Tensor,
    ) -> Pair:
        before = _random_states(x)
        z, ladj = stretch(x, context)
        drew = any(not torch.equal(a, b) for a, b in zip(before, _random_states(x), strict=True))
        ctx.stretch, ctx.tape, ctx.names, ctx.random = stretch, place.tape, names, before if drew else []
        ctx.save_for_backward(x if place.keeps_x else None, z if place.keeps_z else None, context, *parameters)
        return z, ladj

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, z, context, *parameters = ctx.saved_tensors
        again = _Again(ctx.stretch, dict(zip(ctx.names, parameters, strict=True)), ctx.random)
        tape, known = ctx.tape, x is not None
        if tape is not None and z is not None:
            tape.state = z
        if not known:
            x = again(tape.state, context, undo=True)[0]
        z, found = again.differentiate(x, context, gradients, ctx.needs_input_grad[3:])
        if tape is not None:
            if known:
                tape.compare(z, gradients[1].ndim)
            tape.state = None if known else x
        return None, None, None, *found


class _Again(NamedTuple):
    """A stretch with the parameters and the random numbers that its forward pass had."""

    stretch: _Stretch
    parameters: dict[str, Any]
    random: Sequence[Tensor]

    def __call__(self, x: Tensor, context: Tensor | None, *, undo: bool = False) -> Pair:
        own = self.stretch.parameters()
        with _drawing_again(self.random, x):
            # Only who called with the parameters of another model (`functional_call`) has to wait for an exchange.
            if all(a is b for a, b in zip(own, self.parameters.values(), strict=True)):
                return self.stretch(x, context, undo=undo)
            return functional_call(self.stretch, self.parameters, (x, context), {"undo": undo})

    def differentiate(
        self, x: Tensor, context: Tensor | None, gradients: Sequence[Tensor], wanted: Sequence[bool]
    ) -> tuple[Tensor, list[Tensor | None]]:
        """Return z, and the gradients of x, context and parameters."""
        inputs: list[Any] = [x, context, *self.parameters.values()]
        twice = torch.is_grad_enabled()
        with torch.enable_grad():
            if twice:
                # Fresh views: what x was computed from, perhaps with the same parameters, is not what is asked here.
                inputs = [None if t is None else t.view_as(t) for t in inputs]
            else:
                ends = zip(inputs[:2], wanted, strict=False)
                inputs[:2] = [t.detach().requires_grad_() if want and t is not None else t for t, want in ends]
            outputs = self._replace(parameters=dict(zip(self.parameters, inputs[2:], strict=True)))(*inputs[:2])
        chosen = [t for t, want in zip(inputs, wanted, strict=True) if want and t is not None]
        pairs = [(y, g) for y, g in zip(outputs, gradients, strict=True) if y.requires_grad]
        values, upstream = zip(*pairs, strict=True)
        found = iter(torch.autograd.grad(values, chosen, upstream, create_graph=twice, allow_unused=True))
        return outputs[0], [next(found) if want else None for want in wanted]


def _random_states(x: Tensor) -> list[Tensor]:
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(x.device)] if x.is_cuda else [])]


@contextmanager
def _drawing_again(states: Sequence[Tensor], x: Tensor) -> Iterator[None]:
    """Give a stretch the random numbers of its forward pass again, if it drew any (dropout)."""
    if not states:
        yield
        return
    with torch.random.fork_rng([x.device] if x.is_cuda else [], device_type="cuda"):
        torch.set_rng_state(states[0])
        if x.is_cuda:
            torch.cuda.set_rng_state(states[1], x.device)
        yield


def _keep_names(wrapper: nn.Module) -> None:
    """Let the weights of a wrapped bijection be saved and loaded under the names that they have without wrapper."""
    wrapper.register_state_dict_post_hook(_drop_level)
    wrapper.register_load_state_dict_pre_hook(_add_level)


def _drop_level(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}bijection.")]:
        state[prefix + name.removeprefix(f"{prefix}bijection.")] = state.pop(name)


def _add_level(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any) -> None:
    for name in [name for name in state if name.startswith(prefix)]:
        state[f"{prefix}bijection.{name.removeprefix(prefix)}"] = state.pop(name)
