"""Samples as the `InferenceData` of ArviZ."""

import warnings
from collections.abc import Sequence
from typing import Any

from bijecta.diagnostics.drawing import Rows, as_array
from bijecta.errors import ShapeError, require


def to_inference_data(samples: Rows, log_prob: Rows | None = None, *, names: Sequence[str] = ()) -> Any:
    r"""Hand samples of a flow to ArviZ, which summarises and plots posteriors.

    Args:
        samples: of shape (draws, D), or (chains, draws, D); a tensor or an array.
        log_prob: their log-densities in nats, of the shape of the samples without the D; kept as the statistic "lp".
        names: one per column (default: x1 to xD).

    Returns:
        An ``arviz.InferenceData`` with the group posterior, and sample_stats where there is a log-density.

    Raises:
        ShapeError: the samples have another number of dimensions, or names or log-densities do not fit them.
        MissingDependencyError: ArviZ is not installed.

    References:
        R. Kumar, C. Carroll, A. Hartikainen, O. Martin (2019), ArviZ.

    Example:
        >>> import torch
        >>> from bijecta.adapters import to_inference_data
        >>> data = to_inference_data(torch.zeros(100, 2), names=["mass", "width"])
        >>> dict(data.posterior.sizes)
        {'chain': 1, 'draw': 100}
    """
    draws = as_array(samples)
    if draws.ndim not in (2, 3):
        raise ShapeError(f"Expected samples of shape (draws, D) or (chains, draws, D), got {draws.shape}.")
    chains = draws.reshape(-1, *draws.shape[-2:])
    labels = list(names) or [f"x{column + 1}" for column in range(draws.shape[-1])]
    if len(labels) != draws.shape[-1]:
        raise ShapeError(f"Expected {draws.shape[-1]} names, one per column; got {len(labels)}: {labels}.")
    groups = {"posterior": {label: chains[..., column] for column, label in enumerate(labels)}}
    if log_prob is not None:
        density = as_array(log_prob)
        if density.shape != draws.shape[:-1]:
            raise ShapeError(f"Expected log-densities of shape {draws.shape[:-1]}, got {density.shape}.")
        groups["sample_stats"] = {"lp": density.reshape(chains.shape[:-1])}
    with warnings.catch_warnings():
        # Importing ArviZ 0.2x announces its next version, which is no concern of whoever calls this.
        warnings.simplefilter("ignore", FutureWarning)
        arviz = require("arviz", extra="inference", purpose="InferenceData")
        return arviz.from_dict(**groups)
