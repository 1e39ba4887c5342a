"""One function of a flow as a graph of tensor operations: what is traced, and why some flows cannot be."""

import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from bijecta.bijections import (
    Bernstein,
    BlockAutoregressive,
    Continuous,
    Gaussianise,
    NeuralMonotone,
    ResidualBlock,
    SumOfSquares,
    UnconstrainedMonotone,
)
from bijecta.distributions import (
    CircularUniform,
    Dequantised,
    DiagonalNormal,
    Distribution,
    GaussianMixture,
    Normal,
    Product,
    UniformBox,
)
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.nets import ContextScaler

INPUTS = {"log_prob": "x", "to_data": "z", "sample": "noise"}
OUTPUTS = {"log_prob": "log_prob", "to_data": "x", "sample": "x"}

SEARCH = "its numerical inverse is a search, whose number of steps the data decide"
ADAPTIVE = (
    "how many steps the adaptive solver takes depends on the data. Give every Continuous layer fixed steps: "
    "layer.solver = Solver('rk4', steps=32), and let bijecta.flows.solver_error tell what that changes"
)
RANDOM = (
    "above 16 features it is an estimate that draws random numbers. What a cnf with fixed steps does to noise, "
    "what='to_data', can be exported"
)
_SEARCHED = (
    Bernstein,
    BlockAutoregressive,
    Gaussianise,
    NeuralMonotone,
    ResidualBlock,
    SumOfSquares,
    UnconstrainedMonotone,
)


class Traced(NamedTuple):
    """One function of a flow as a program, with inputs to try it on and what the flow itself makes of them."""

    program: ExportedProgram
    inputs: tuple[Tensor, ...]
    expected: Tensor


class OneFunction(nn.Module):
    """One function of a distribution as the forward of a module, in float32 on the CPU.

    Args:
        flow: what has events of a known shape; a dequantised flow stands for the continuous one inside, but its samples
            are whole.
        what: "log_prob", or of a flow "to_data" or "sample".

    Raises:
        InputError: the distribution has no such function.
    """

    def __init__(self, flow: Distribution, what: str) -> None:
        super().__init__()
        _check_kind(continuous(flow), what)
        flow = copy.deepcopy(flow).cpu().float().eval().requires_grad_(False)  # noqa: FBT003 (torch's own signature)
        self.flow: Any = continuous(flow)
        self.what = what
        self.integers = flow.discrete.tolist() if isinstance(flow, Dequantised) else []

    def forward(self, given: Tensor, context: Tensor | None = None) -> Tensor:
        if self.what == "log_prob":
            return self.flow.log_prob(given, context)
        if self.what == "to_data":
            return self.flow.to_data(given, context)
        x = self.flow.to_data(from_noise(self.flow.base, given), context)
        whole = torch.tensor([column in self.integers for column in range(x.shape[-1])])
        return torch.where(whole, x.floor(), x) if self.integers else x

    def example(self, rows: int) -> tuple[Tensor, ...]:
        """Draw inputs, the same at every call; contexts are normal around their mean."""
        generator = torch.Generator().manual_seed(0)
        context = torch.randn(rows, self.flow.context, generator=generator) if self.flow.context else None
        scaler = next((layer for layer in self.flow.modules() if isinstance(layer, ContextScaler)), None)
        if context is not None and scaler is not None:
            context = scaler.mean + scaler.scale * context
        if self.what == "sample":
            given = draw_noise(noise_kinds(self.flow.base), rows, generator)
        else:
            source = self.flow if self.what == "log_prob" else self.flow.base
            given = source.sample((rows,) if context is None else (), context, generator=generator)
        return (given,) if context is None else (given, context)


def continuous(flow: Distribution) -> Distribution:
    """Return the continuous flow inside a dequantised one, or what was given."""
    return flow.distribution if isinstance(flow, Dequantised) else flow


def _check_kind(flow: Distribution, what: str) -> None:
    name = type(flow).__name__
    if what != "log_prob" and not isinstance(flow, Flow):
        raise InputError(f"Only a Flow maps noise to data; of {name} there is what='log_prob' to export.")
    if getattr(flow, "event_shape", None) is None:
        raise InputError(
            f"export expects a flow that knows the shape of its events, got {name} without event_shape. "
            "Make it one: Flow(bijection, base, event_shape=(features,))."
        )


def trace(flow: Distribution, what: str, rows: int = 8) -> Traced:
    """Trace one function of a flow, for batches of any size.

    Args:
        flow: a flow, or a dequantised one.
        what: "log_prob", "to_data" or "sample".
        rows: how many rows the example has.

    Returns:
        The program, an example, and what the flow makes of it.

    Raises:
        InputError: the flow cannot be traced; the message says why.
    """
    module = OneFunction(flow, what)
    if what == "log_prob" and any(_is_estimated(layer) for layer in module.flow.modules()):
        raise InputError(f"The {what} of this flow can't be exported: {RANDOM}.")
    with torch.no_grad(), torch.random.fork_rng(devices=[]), quiet():
        inputs = module.example(rows)
        try:
            program = torch.export.export(module, inputs, dynamic_shapes=batched(inputs))
        except RuntimeError as error:
            raise InputError(f"The {what} of this flow can't be exported: {_reason(module.flow, error)}.") from error
        return Traced(program, inputs, module(*inputs))


def batched(inputs: Sequence[Tensor]) -> Any:
    """Say that the first dimension of every input is the batch, of any size."""
    rows = Dim("batch")
    return tuple({0: rows} for _ in inputs)


def _is_estimated(layer: nn.Module) -> bool:
    return (isinstance(layer, ResidualBlock) and layer.estimate) or (
        isinstance(layer, Continuous) and layer.random_probes > 0
    )


def _reason(flow: nn.Module, error: Exception) -> str:
    """Name the layer whose control flow depends on data, or repeat what the tracer says."""
    layers = list(flow.modules())
    if any(isinstance(layer, Continuous) and layer.solver.method == "dopri5" for layer in layers):
        return ADAPTIVE
    if any(isinstance(layer, _SEARCHED) for layer in layers):
        return SEARCH
    return str(error).strip().splitlines()[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporters from talking: what users need to know is in errors and findings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


# ---------------------------------------------------------------- noise


def noise_kinds(base: Distribution) -> list[str]:
    """Name, column by column, the noise that `from_noise` turns into samples of a base.

    Args:
        base: the base of a flow.

    Returns:
        "normal" (mean 0, variance 1) or "uniform" (on [0, 1)) for every column.

    Raises:
        InputError: samples of this base are not a function of such numbers.
    """
    match base:
        case Normal() | CircularUniform():
            return ["normal" if isinstance(base, Normal) else "uniform"] * base.features
        case DiagonalNormal():
            return ["normal"] * len(base.mean)
        case UniformBox():
            return ["uniform"] * len(base.low)
        case GaussianMixture():
            return ["uniform"] + ["normal"] * base.mean.shape[-1]
        case Product():
            return [kind for part in base.parts for kind in noise_kinds(part)]
    raise InputError(
        f"Samples of {type(base).__name__} are not a function of normal and uniform numbers, as many for every row. "
        "Export what='to_data', and draw z from that base yourself; the file says which it is."
    )


def from_noise(base: Distribution, noise: Tensor) -> Tensor:
    r"""Turn noise of the kinds of `noise_kinds` into samples of a base, (N, K) into (N, D).

    A mixture spends its uniform number on the choice of the component:
    :math:`k = \#\{j : u \ge w_0 + \dots + w_j\}`.
    """
    match base:
        case DiagonalNormal():
            return base.mean + base.log_scale.exp() * noise
        case UniformBox():
            return base.low + (base.high - base.low) * noise
        case CircularUniform():
            return (2 * noise - 1) * torch.pi
        case GaussianMixture():
            ends = base.logits.softmax(-1).cumsum(-1)[:-1]
            chosen = (noise[:, :1] >= ends).sum(-1)
            return base.mean[chosen] + base.log_scale[chosen].exp() * noise[:, 1:]
        case Product():
            parts = noise.split([len(noise_kinds(part)) for part in base.parts], -1)
            values = [from_noise(part, own) for part, own in zip(base.parts, parts, strict=True)]
            return torch.cat(values, -1).index_select(-1, base.restore)
    return noise


def draw_noise(kinds: Sequence[str], rows: int, generator: torch.Generator) -> Tensor:
    """Draw noise of the given kinds, of shape (rows, kinds)."""
    draw = {"normal": torch.randn, "uniform": torch.rand}
    return torch.cat([draw[kind](rows, 1, generator=generator) for kind in kinds], -1)
