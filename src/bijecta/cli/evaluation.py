"""The numbers of a run, measured on rows that the training never saw."""

import math
import platform
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bijecta import __version__
from bijecta.cli.problem import Problem
from bijecta.data import Schema
from bijecta.data.rows import Array, Rows
from bijecta.diagnostics.metrics import gaussian_nll
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.persistence.tabular import log_prob, parameter_count
from bijecta.training import FitConfig, FitResult


@dataclass(frozen=True)
class Mean:
    """A mean over rows and its standard error."""

    value: float
    error: float


def measure(problem: Problem, flow: Distribution, result: FitResult, config: FitConfig) -> dict[str, Any]:
    """Collect everything that metrics.json holds. Losses are in nats per row."""
    log_density = log_prob(flow, problem.test, config.seed)
    test = weighted_mean(-log_density, problem.test.weight)
    baseline = gaussian_baseline(problem, config.seed)
    return {
        "test_nll": test.value,
        "test_nll_error": test.error,
        "validation_nll": result.best_loss if config.validation_fraction else None,
        "gaussian_nll": baseline,
        "gain_over_gaussian": None if baseline is None else baseline - test.value,
        **_against_truth(problem, log_density),
        "is_bound": flow.is_bound,
        "rows": problem.training_rows + len(problem.test),
        "train_rows": result.rows,
        "test_rows": len(problem.test),
        "effective_sample_size": result.effective_sample_size,
        "features": len(problem.schema.columns),
        "categories": [column.kind for column in problem.schema.columns].count("category"),
        "parameters": parameter_count(flow),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "seed": config.seed,
        "versions": versions(),
        "threads": torch.get_num_threads(),
    }


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"bijecta": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}


def weighted_mean(values: Array, weight: Array | None) -> Mean:
    """Average over rows; the error is that of the weighted mean."""
    weight = np.ones(len(values)) if weight is None else weight
    total = weight.sum()
    mean = float((weight * values).sum() / total)
    spread = float(np.sqrt(np.square(weight * (values - mean)).sum()) / abs(total))
    return Mean(mean, spread * math.sqrt(len(values) / max(1, len(values) - 1)))


def gaussian_baseline(problem: Problem, seed: int) -> float | None:
    """Score the test rows under a full-covariance Gaussian; given contexts, under its conditional density.

    Integers get uniform noise, so that a density per unit and a probability mean the same. Weighted rows have no
    baseline, since their Gaussian would need weights too, and categories have none, since they have no distances.
    """
    kinds = [column.kind for column in problem.schema.columns]
    if problem.train.weight is not None or "category" in kinds:
        return None
    generator = np.random.default_rng(seed)
    train, test = (_noisy(rows.x, problem.schema, generator) for rows in (problem.train, problem.test))
    try:
        if problem.train.context is None or problem.test.context is None:
            return gaussian_nll(train, test).nll
        joint = gaussian_nll(_beside(train, problem.train), _beside(test, problem.test)).nll
        return joint - gaussian_nll(problem.train.context, problem.test.context).nll
    except InputError:
        return None  # a column that does not vary in the training part, for example


def _beside(x: Array, rows: Rows) -> Array:
    return x if rows.context is None else np.concatenate([x, rows.context], axis=1)


def _noisy(x: Array, schema: Schema, generator: np.random.Generator) -> Array:
    noisy, integers = x.copy(), [k for k, column in enumerate(schema.columns) if column.kind == "integer"]
    noisy[:, integers] += generator.random((len(x), len(integers)))
    return noisy


def _against_truth(problem: Problem, log_density: Array) -> dict[str, float]:
    """Compare with the exact density of a toy set, row by row: the noise of the test rows cancels."""
    if problem.toy is None:
        return {}
    gap = weighted_mean(problem.toy.log_prob(problem.test.x) - log_density, None)
    return {"exact_entropy": problem.toy.entropy, "gap": gap.value, "gap_error": gap.error}
