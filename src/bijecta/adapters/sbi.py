"""A flow as the density estimator of sbi."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from bijecta.errors import InputError, ShapeError, require
from bijecta.flows import Flow, build


def sbi_estimator(recipe: str = "nsf", **arguments: Any) -> Callable[[Tensor, Tensor], Any]:
    r"""Make a builder of density estimators for the trainers of sbi: NPE of :math:`p(\theta \mid x)`, NLE of the other.

    sbi calls the builder with its training simulations. The flow is built for their shapes and initialised from them:
    it standardises parameters and data itself.

    Args:
        recipe: name of a recipe of conditional flows.
        arguments: further arguments of the recipe, but features and context, which the simulations decide.

    Returns:
        A function of parameters (N, D) and data (N, C), to be passed as ``density_estimator``. What it returns is a
        ``ConditionalDensityEstimator`` of sbi, whose ``net`` is the `Flow`.

    Raises:
        InputError: in the builder, when the recipe is unknown or builds no conditional flow of vectors.
        ShapeError: in the builder, when parameters or data are not vectors.
        MissingDependencyError: in the builder, when sbi is not installed.

    References:
        A. Tejero-Cantero et al. (2020), sbi: A Toolkit for Simulation-Based Inference.

    Example:
        >>> import torch
        >>> from bijecta.adapters import sbi_estimator
        >>> estimator = sbi_estimator("realnvp", layers=2)(torch.randn(50, 2), torch.randn(50, 3))
        >>> estimator.sample(torch.Size([7]), condition=torch.zeros(5, 3)).shape
        torch.Size([7, 5, 2])
    """

    def make(theta: Tensor, x: Tensor) -> Any:
        require("sbi", extra="inference", purpose="sbi_estimator")
        from bijecta.adapters.sbi_flow import SbiFlow

        if theta.ndim != 2 or x.ndim != 2:
            raise ShapeError(
                f"Expected parameters (N, D) and data (N, C), got {tuple(theta.shape)} and {tuple(x.shape)}. "
                "Summarise images or series as vectors first."
            )
        flow = build(recipe, {"features": theta.shape[1], "context": x.shape[1], **arguments})
        if not isinstance(flow, Flow):
            raise InputError(f"The recipe {recipe} does not build a Flow of vectors; choose another one.")
        flow.initialise(theta, x)
        return SbiFlow(flow, theta.shape[1:], x.shape[1:])

    return make
