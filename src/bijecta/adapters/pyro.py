"""A flow as a distribution of Pyro."""

from typing import Any

from torch import Tensor

from bijecta.errors import require
from bijecta.flows import Flow
from bijecta.flows.conditioned import ConditionedFlow


def pyro_distribution(flow: Flow, context: Tensor | None = None, *, validate_args: bool | None = None) -> Any:
    r"""Present :math:`p(x \mid c)` as a distribution for `pyro.sample`, in a model or in a guide.

    To train the flow, register its parameters in the same function with ``pyro.module("flow", flow)``. In a plate,
    one context per entry of the plate gives the batch shape; an unconditional flow is expanded to it.

    Args:
        flow: the flow.
        context: of shape (\*B, C) for a conditional flow.
        validate_args: whether `log_prob` checks shape and support of its argument.

    Returns:
        A ``pyro.distributions.TorchDistribution`` with batch shape \*B, reparameterised where the base allows.

    Raises:
        MissingDependencyError: Pyro is not installed.

    References:
        E. Bingham et al. (2019), Pyro: Deep Universal Probabilistic Programming.

    Example:
        >>> import pyro
        >>> from bijecta.adapters import pyro_distribution
        >>> from bijecta.flows import realnvp
        >>> pyro.sample("x", pyro_distribution(realnvp(2))).shape
        torch.Size([2])
    """
    mixin = require("pyro.distributions.torch_distribution", extra="inference", purpose="pyro_distribution")

    # Made here, because its second base exists only where Pyro is installed.
    class PyroFlow(ConditionedFlow, mixin.TorchDistributionMixin):  # type: ignore[misc, name-defined]
        """A conditioned flow with the methods that Pyro adds."""

    return PyroFlow(flow, context, validate_args=validate_args)
