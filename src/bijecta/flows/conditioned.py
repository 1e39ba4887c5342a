"""A flow as a distribution of `torch.distributions`, with one context per batch entry."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Size, Tensor, distributions
from torch.distributions import constraints

from bijecta.bijections import Bijection, Chain, Indexed, Log, Logit, Wrap
from bijecta.distributions import CircularUniform, DiagonalNormal, Distribution, Normal, Product, StudentT, UniformBox
from bijecta.errors import InputError
from bijecta.nets.inputs import check_context

if TYPE_CHECKING:
    from bijecta.flows.flow import Flow

# Bases whose samples are differentiable in their parameters. A mixture chooses, a von Mises rejects: they are not.
_REPARAMETERISED = (Normal, DiagonalNormal, StudentT, UniformBox, CircularUniform)


class ConditionedFlow(distributions.Distribution):
    r"""Present :math:`p(x \mid c)` as a `torch.distributions.Distribution`, for a fixed context c.

    The batch shape is that of the context, so there is one distribution per context. It shares its parameters with the
    flow: gradients reach them through `log_prob` and `rsample`. The support is the product of the columns' supports,
    as far as the flow's own exact maps (logarithm, logit, angle) tell.

    Args:
        flow: the flow; it has to know its ``event_shape``, as those of all recipes do.
        context: of shape (\*B, C) for a conditional flow, None for an unconditional one.
        validate_args: whether `log_prob` checks shape and support of its argument (default: that of torch).

    Raises:
        InputError: the flow has no ``event_shape``, or an unconditional flow got a context.
        ShapeError: the context is missing or has not C columns.

    Example:
        >>> import torch
        >>> from bijecta.flows import realnvp
        >>> distribution = realnvp(2, context=1).condition(torch.zeros(5, 1))
        >>> distribution.batch_shape, distribution.event_shape
        (torch.Size([5]), torch.Size([2]))
        >>> distribution.rsample((3,)).shape
        torch.Size([3, 5, 2])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, flow: "Flow", context: Tensor | None = None, *, validate_args: bool | None = None) -> None:
        if flow.event_shape is None:
            raise InputError("condition expects a flow with an event_shape. Build it with Flow(..., event_shape=...).")
        if flow.context == 0 and context is not None:
            raise InputError("This flow is unconditional and expects no context. Build the recipe with context=C.")
        batch = Size() if context is None else context.shape[:-1]
        self.flow, self.context = flow, check_context(context, flow.context, batch)
        super().__init__(batch, Size(flow.event_shape), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether samples are differentiable in all parameters, which the base decides."""
        parts = [part for part in self.flow.base.modules() if isinstance(part, Distribution)]
        return all(isinstance(part, (*_REPARAMETERISED, Product)) for part in parts)

    @property
    def support(self) -> constraints.Constraint:
        """The product of the supports of the columns."""
        columns = _bounded_columns(self.flow.bijection, self.event_shape[-1])
        if not columns:
            return constraints.independent(constraints.real, len(self.event_shape))
        parts = [columns.get(column, constraints.real) for column in range(self.event_shape[-1])]
        return constraints.independent(constraints.cat(parts, dim=-1), 1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        batch = torch.broadcast_shapes(value.shape[: value.ndim - len(self.event_shape)], self.batch_shape)
        return self.flow.log_prob(value.expand(*batch, *self.event_shape), self.context)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(
                f"Samples of the base {type(self.flow.base).__name__} are not differentiable. Use sample()."
            )
        return self._draw(sample_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._draw(sample_shape)

    def _draw(self, sample_shape: Sequence[int]) -> Tensor:
        # A context brings its batch shape itself.
        batch = self.batch_shape if self.context is None else ()
        return self.flow.sample((*sample_shape, *batch), self.context)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "ConditionedFlow":
        new = self._get_checked_instance(ConditionedFlow, _instance)
        new.flow = self.flow
        new.context = None if self.context is None else self.context.expand(*batch_shape, -1)
        distributions.Distribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=self._validate_args)
        return new


def _bounded_columns(bijection: Bijection, columns: int) -> dict[int, constraints.Constraint]:
    """Read the bounded supports of columns off the exact maps of single columns with which a flow begins."""
    found: dict[int, constraints.Constraint] = {}
    for layer in bijection if isinstance(bijection, Chain) else [bijection]:
        inner = layer.bijection if isinstance(layer, Indexed) else layer
        support = _domain(inner)
        if support is None:
            break
        for column in layer.index.tolist() if isinstance(layer, Indexed) else range(columns):
            found.setdefault(column, support)
    return found


def _domain(bijection: Bijection) -> constraints.Constraint | None:
    match bijection:
        case Log():
            return constraints.greater_than(bijection.lower)
        case Logit() | Wrap():
            return constraints.interval(bijection.low, bijection.high)
    return None
