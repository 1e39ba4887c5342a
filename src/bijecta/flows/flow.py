"""The flow: a bijection and a base distribution."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bijecta.bijections import Bijection, Chain
from bijecta.distributions import Distribution, Normal
from bijecta.distributions.base import SampleShape
from bijecta.errors import ShapeError
from bijecta.flows.conditioned import ConditionedFlow
from bijecta.nets import ContextScaler
from bijecta.nets.inputs import check_context

if TYPE_CHECKING:
    from bijecta.flows.conditional import ConditionalSamples


class Flow(Distribution):
    r"""Model a density by mapping data to a simple distribution.

    .. math:: \log p(x \mid c) = \log p_Z(f(x; c)) + \log|\det \partial f / \partial x|

    Sampling draws z from the base and returns :math:`f^{-1}(z; c)`.

    Args:
        bijection: the map f from data to latent.
        base: the distribution of the latent.
        event_shape: shape of one event, such as (D,) or (C, H, W), to check inputs against (None: unchecked).
        context: number C of context features.
        embedding: a network that is applied to the context once, before anything sees it.

    Raises:
        ShapeError: at the call, when data or context do not fit.

    Example:
        >>> import torch
        >>> from bijecta.bijections import Affine
        >>> from bijecta.distributions import Normal
        >>> from bijecta.flows import Flow
        >>> flow = Flow(Affine(shift=torch.ones(2), scale=3 * torch.ones(2)), Normal(2), event_shape=(2,))
        >>> flow.log_prob(torch.ones(2))  # the peak of a normal with standard deviation 3
        tensor(-4.0351)
        >>> flow.sample(5).shape
        torch.Size([5, 2])
    """

    initialised: Tensor

    def __init__(
        self,
        bijection: Bijection,
        base: Distribution,
        *,
        event_shape: Sequence[int] | None = None,
        context: int = 0,
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.bijection, self.base, self.embedding, self.context = bijection, base, embedding, context
        self.event_shape = None if event_shape is None else tuple(event_shape)
        self.recipe: dict[str, Any] | None = None
        self.register_buffer("initialised", torch.tensor(False))  # noqa: FBT003 (a value, not a flag)

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        context = self._embed(context, self._batch_of(x))
        z, ladj = self.bijection.forward_and_ladj(x, context)
        return self.base.log_prob(z, context) + ladj

    def differentiate_nll(
        self, x: Tensor, context: Tensor | None = None, weight: Tensor | None = None
    ) -> Tensor | None:
        r"""Compute the mean of :math:`-w \log p(x \mid c)` and add its gradient to ``.grad`` in one native call.

        Only a chain with a standard normal base can do that, and only for parameters that have a ``.grad``. Where it
        is not possible, nothing was added and None is returned: autograd has to do it.
        """
        if type(self.base) is not Normal or type(self.bijection) is not Chain:
            return None
        context = self._embed(context, self._batch_of(x))
        return self.bijection.native.normal_loss(self.bijection, x, context, weight)

    def sample(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Tensor:
        context = self._embed(context, None)
        z = self.base.sample(shape, context, generator=generator)
        return self.bijection.inverse(z, context)

    def sample_and_log_prob(
        self, shape: SampleShape = (), context: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw samples with their log-density, in one pass: differentiable, for reverse KL."""
        context = self._embed(context, None)
        z = self.base.sample(shape, context, generator=generator)
        x, ladj = self.bijection.inverse_and_ladj(z, context)
        return x, self.base.log_prob(z, context) - ladj

    def to_latent(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map data to latent."""
        return self.bijection.forward(x, self._embed(context, self._batch_of(x)))

    def to_data(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Map latent to data."""
        return self.bijection.inverse(z, self._embed(context, None))

    def condition(self, context: Tensor | None = None, *, validate_args: bool | None = None) -> ConditionedFlow:
        r"""Present :math:`p(x \mid c)` as a `torch.distributions.Distribution` with the batch shape of the context."""
        return ConditionedFlow(self, context, validate_args=validate_args)

    def conditional(self, given: Mapping[int | str, float], size: int, **options: Any) -> "ConditionalSamples":
        r"""Sample the other columns given any of them, exactly or with weights: see `conditional_sample`."""
        from bijecta.flows.conditional import conditional_sample  # which needs to know what a Flow is

        return conditional_sample(self, given, size, **options)

    @torch.no_grad()
    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Set everything that starts from data, once: standardisation, ActNorm, centres of a mixture, context scaling.

        A flow that was initialised before, also by whoever saved it, keeps its values.
        """
        if self.initialised:
            return
        self.initialised.fill_(True)  # noqa: FBT003
        batch = self._batch_of(x)
        if context is not None and isinstance(self.embedding, ContextScaler):
            self.embedding.initialise(context)
        context = self._embed(context, batch)
        self.base.initialise(self.bijection.initialise(x, context), context)

    def _batch_of(self, x: Tensor) -> torch.Size:
        """Check the events of x and return its batch shape."""
        shape = self.event_shape
        if shape is None:
            return x.shape[: -self.bijection.event_ndim]
        if tuple(x.shape[x.ndim - len(shape) :]) != shape or x.ndim < len(shape):
            raise ShapeError(f"Expected data of shape (*batch, {', '.join(map(str, shape))}), got {tuple(x.shape)}.")
        return x.shape[: x.ndim - len(shape)]

    def _embed(self, context: Tensor | None, batch: torch.Size | None) -> Tensor | None:
        """Check a context, against a batch of data where there is one, and embed it."""
        if context is None or self.context == 0:
            return check_context(context, self.context, batch if batch is not None else torch.Size())
        check_context(context, self.context, context.shape[:-1] if batch is None else batch)
        embedded: Tensor = context if self.embedding is None else self.embedding(context)
        return embedded
