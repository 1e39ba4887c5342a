"""Which chains native code can pass a tile of rows through, and how it is told about their layers.

`Chain` asks here first. A chain is native as a whole or not at all, and the plain layers define what it computes.
"""

from collections.abc import Iterable, Sequence
from itertools import repeat
from operator import attrgetter, contains, getitem, is_
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import relu

from bijecta.bijections.base import Bijection
from bijecta.bijections.hosts import Autoregressive, Coupling, Elementwise
from bijecta.bijections.linear import ActNorm, LULinear, Permute
from bijecta.bijections.preprocessing import Standardise, Whiten
from bijecta.bijections.univariate.affine import AdditiveUnivariate, AffineUnivariate
from bijecta.bijections.univariate.base import Univariate
from bijecta.bijections.univariate.splines import RationalQuadraticSpline
from bijecta.functional.kernels import SplineSettings, chain
from bijecta.functional.kernels.chain import Layer, Program, Step
from bijecta.functional.kernels.dispatch import can_run_natively
from bijecta.functional.kernels.plainly import Pair, Plain
from bijecta.functional.kernels.spline import MIN_BIN
from bijecta.nets import MLP, MaskedMLP

FIXED: dict[type[Bijection], tuple[str, tuple[str, ...]]] = {
    Standardise: ("standardise", ("mean", "scale")),
    ActNorm: ("act_norm", ("bias", "log_scale")),
    Whiten: ("matrix", ("matrix",)),
    LULinear: ("lu", ("lower", "upper", "log_diagonal", "bias")),
    Permute: ("permute", ()),
}
_VERSION = attrgetter("_version")  # grows with every write into a tensor


class NativeChain:
    """The program of a chain, kept from call to call as long as it still describes the chain.

    It is no part of a model: a copied or unpickled chain begins without one.
    """

    def __init__(self) -> None:
        self.description: _Description | None = None

    def __reduce__(self) -> tuple[type["NativeChain"], tuple[()]]:
        return NativeChain, ()

    def forward_and_ladj(
        self, layers: Iterable[Bijection], x: Tensor, context: Tensor | None, plain: Plain
    ) -> Pair | None:
        """Map data to latent natively; None where that is not possible."""
        found = self._ready(layers, x, context)
        return None if found is None else chain.forward_and_ladj(found.program, x, found.context, found.tensors, plain)

    def inverse_and_ladj(self, layers: Iterable[Bijection], z: Tensor, context: Tensor | None) -> Pair | None:
        """Map latent to data natively; None where that is not possible."""
        found = self._ready(layers, z, context)
        return None if found is None else chain.inverse_and_ladj(found.program, z, found.context, found.tensors)

    def normal_loss(
        self, layers: Iterable[Bijection], x: Tensor, context: Tensor | None, weight: Tensor | None
    ) -> Tensor | None:
        """Compute the loss of a standard normal latent and add its gradient natively; None where not possible."""
        found = self._ready(layers, x, context)
        return None if found is None else chain.normal_loss(found.program, x, found.context, weight, found.tensors)

    def _ready(self, layers: Iterable[Bijection], x: Tensor, context: Tensor | None) -> "_Ready | None":
        found = self._find(layers, x, context)
        if found is None or found.program is None:
            return None
        return _Ready(found.program, context if found.program.contexts else None, found.tensors())

    def _find(self, layers: Iterable[Bijection], x: Tensor, context: Tensor | None) -> "_Description | None":
        if not can_run_natively(x, context):  # first, for under a tracer even reading a permutation is too much
            return None
        layers = list(layers)
        if self.description is None or not self.description.holds(layers):
            self.description = _Description(layers)
        return self.description


class _Ready(NamedTuple):
    """A program with what it reads."""

    program: Program
    context: Tensor | None
    tensors: list[Tensor]


class _NotNative(Exception):  # noqa: N818 (control flow inside this file, not an error)
    pass


class _Description:
    """What was read from the layers, and enough to tell whether it is still true."""

    def __init__(self, layers: list[Bijection]) -> None:
        self.layers = layers
        self.program: Program | None = None
        self.homes: list[tuple[dict[str, Any], str]] = []
        self.facts: list[tuple[dict[str, Any], str, object]] = []  # this entry was this object
        self.buffers: list[Tensor] = []  # their numbers were read
        self.hooks: list[dict[int, Any]] = []  # who is called before or after some layer
        self.places: list[dict[str, Any]] = []  # the layers' own attributes
        self.context = 0
        try:
            features = _features(layers)
            steps = [self._step(layer, features) for layer in layers]
            if not all(_points_inside(step, features, self.context) for step in steps):
                raise _NotNative  # a damaged file: the plain layers will say so, native code would read anywhere
            # Without a conditioner there is nothing to gain.
            if any(step.kind == "conditioned" for step in steps) and not self._hooked():
                self.program = Program(steps, features, self.context)
        except _NotNative:
            pass
        self.hooked = self._hooked()
        # Asked for every step: in columns, over which `map` goes without Python between the entries.
        self.columns: list[tuple[Any, ...]] = list(zip(*self.facts, strict=True)) or [(), (), ()]
        self.places_of_tensors: list[tuple[Any, ...]] = list(zip(*self.homes, strict=True)) or [(), ()]
        self.versions = list(map(_VERSION, self.buffers))

    def holds(self, layers: list[Bijection]) -> bool:
        """Tell whether nothing was replaced, rewritten or hooked since."""
        return (
            layers == self.layers
            and all(map(is_, map(dict.get, *self.columns[:2]), self.columns[2]))
            and list(map(_VERSION, self.buffers)) == self.versions
            and self._hooked() == self.hooked
        )

    def _hooked(self) -> bool:
        """Tell whether somebody listens at a layer or has replaced its call: native code would not call them."""
        return any(self.hooks) or any(map(contains, self.places, repeat("forward")))

    def tensors(self) -> list[Tensor]:
        return list(map(getitem, *self.places_of_tensors))

    def _step(self, layer: Bijection, features: int) -> Step:
        self._watch(layer)
        kind, names = FIXED.get(type(layer), ("", ()))
        if type(layer) in (Permute, LULinear) and layer.event_ndim == 1:
            return Step(kind, [self._tensor(layer, name) for name in names], inputs=self._numbers(layer, "index"))
        if type(layer) in (Standardise, Whiten, ActNorm) and layer.event_ndim == 1:
            return Step(kind, [self._tensor(layer, name) for name in names])
        if type(layer) is Coupling and layer.event_ndim == 1:
            return self._coupling(layer, features)
        if type(layer) is Autoregressive:
            return self._autoregressive(layer, features)
        if type(layer) is Elementwise and layer.conditioner is None:
            outputs = features * layer.univariate.n_params
            constant = Layer(0, outputs, -1, self._tensor(layer, "params"))
            return self._conditioned(layer.univariate, (), range(features), [constant])
        raise _NotNative

    def _coupling(self, layer: Coupling, features: int) -> Step:
        net = self._part(layer, "conditioner", MLP)
        inputs = [*self._numbers(layer, "kept"), *range(features, features + self._contexts(net))]
        layers = [self._layer(linear) for linear in self._linears(net)]
        return self._conditioned(layer.univariate, inputs, self._numbers(layer, "transformed"), layers)

    def _autoregressive(self, layer: Autoregressive, features: int) -> Step:
        net = self._part(layer, "conditioner", MaskedMLP)
        self.facts.append((net.__dict__, "sequence", net.sequence))
        contexts = self._contexts(net)
        # In the order of their degrees; then what a unit sees is always a prefix.
        inputs = [*range(features, features + contexts), *net.sequence]
        degrees = [[0] * contexts + list(range(1, features + 1))]
        degrees += [net.hidden_degrees(linear.out_features) for linear in net.layers]
        degrees += [[degree for degree in range(features) for _ in range(net.n_params)]]
        outputs = [i * net.n_params + p for i in net.sequence for p in range(net.n_params)]
        layers = []
        for number, linear in enumerate(self._linears(net)):
            described = self._layer(linear)
            seen = [sum(below <= own for below in degrees[number]) for own in degrees[number + 1]]
            columns, rows = inputs if number == 0 else (), outputs if number == len(net.layers) else ()
            layers.append(described._replace(columns=columns, rows=rows, seen=seen))
        return self._conditioned(layer.univariate, inputs, net.sequence, layers, autoregressive=True)

    def _conditioned(
        self,
        univariate: Univariate,
        inputs: Sequence[int],
        transformed: Sequence[int],
        layers: list[Layer],
        *,
        autoregressive: bool = False,
    ) -> Step:
        step = Step("conditioned", (), inputs, transformed, layers, autoregressive=autoregressive)
        self._watch(univariate)
        if type(univariate) is AdditiveUnivariate:
            return step._replace(map="additive")
        if type(univariate) is AffineUnivariate:
            return step._replace(map="affine", log_scale_limit=univariate.limit)
        if type(univariate) is RationalQuadraticSpline and isinstance(univariate.bound, int | float):
            settings = SplineSettings(univariate.bins, univariate.bound, False, False, MIN_BIN, univariate.min_slope)  # noqa: FBT003
            if univariate.circular is False:
                return step._replace(map="spline", spline=settings)
        raise _NotNative

    def _part(self, module: nn.Module, name: str, kind: type[Any]) -> Any:
        part = getattr(module, name)
        if type(part) is not kind or part.activation is not relu or part.residual or part.embedding.any_circular:
            raise _NotNative
        self.facts.append((module._modules, name, part))
        self._watch(part)
        return part

    def _contexts(self, net: Any) -> int:
        if net.context and self.context not in (0, net.context):
            raise _NotNative
        self.context = net.context or self.context
        return int(net.context)

    def _linears(self, net: Any) -> list[nn.Linear]:
        places = [(net.layers._modules, str(number)) for number in range(len(net.layers))]
        linears = []
        for home, name in [*places, (net._modules, "last")]:
            linear = home[name]
            if type(linear) is not nn.Linear:
                raise _NotNative
            self.facts.append((home, name, linear))
            self._watch(linear)
            linears.append(linear)
        return linears

    def _layer(self, linear: nn.Linear) -> Layer:
        weight, bias = self._tensor(linear, "weight"), self._tensor(linear, "bias")
        return Layer(linear.in_features, linear.out_features, weight, bias)

    def _tensor(self, module: nn.Module, name: str) -> int:
        self.homes.append((module._parameters if name in module._parameters else module._buffers, name))
        return len(self.homes) - 1

    def _numbers(self, module: nn.Module, name: str) -> list[int]:
        """Read a buffer of indices, and remember that it has been read."""
        buffer = getattr(module, name)
        self.facts.append((module._buffers, name, buffer))
        self.buffers.append(buffer)
        return [int(number) for number in buffer.tolist()]

    def _watch(self, module: nn.Module) -> None:
        self.hooks += [module._forward_hooks, module._forward_pre_hooks, module._backward_hooks]
        self.places.append(module.__dict__)


def _features(layers: Iterable[Bijection]) -> int:
    """Find the length of the vectors; all layers of a chain share it."""
    for layer in layers:
        for name in ("mean", "bias", "index", "restore"):
            if isinstance(getattr(layer, name, None), Tensor):
                return len(getattr(layer, name))
        if isinstance(layer, Autoregressive):
            return len(layer.columns)
    raise _NotNative


def _points_inside(step: Step, features: int, context: int) -> bool:
    """Tell whether all indices, which are buffers that a file can bring, are those of features or contexts."""
    inputs = all(0 <= index < features + context for index in step.inputs)
    return inputs and all(0 <= index < features for index in step.transformed)
