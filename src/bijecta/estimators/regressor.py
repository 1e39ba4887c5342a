"""The distribution of an outcome given conditions: regression with more than a mean."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_array, check_is_fitted
from torch import Tensor

from bijecta.data import Schema, Table, infer_schema
from bijecta.data.table import FloatArray
from bijecta.distributions import Normal
from bijecta.errors import InputError, ShapeError
from bijecta.estimators.base import FlowEstimator, check_count
from bijecta.estimators.inputs import (
    column_kinds,
    drop_unweighted,
    matrix_of,
    one_hot,
    read_rows,
    read_schema,
    read_weights,
)
from bijecta.flows import Flow

POINTS = 512  # outcomes per row that stand for a distribution of several outputs


class FlowRegressor(MultiOutputMixin, RegressorMixin, FlowEstimator):  # type: ignore[misc]
    r"""Estimate the distribution of outputs y given a row x.

    .. math:: \log p(y \mid x) = \log p_Z(f(y; x)) + \log|\det \partial f(y; x) / \partial y|

    The mean of one output is an integral over the latent; its quantiles are exact, :math:`f^{-1}(\Phi^{-1}(q); x)`.
    For several outputs, or another base than the normal one, both are those of 512 outcomes, the same latents for
    every row.

    Args:
        recipe: name of a recipe.
        recipe_arguments: further arguments of the recipe, such as ``{"layers": 4}``.
        epochs: passes over the training rows, at most.
        batch_size: rows per step (None: by the number of rows).
        learning_rate: the largest learning rate (None: by the number of rows).
        validation_fraction: fraction of the rows held out to stop early by; 0 trains on all.
        patience: stop after so many epochs without a better validation loss; 0 never stops early.
        max_seconds: time limit of a fit; such a fit can't be repeated bit for bit.
        schema: kinds of the outputs, such as ``{"y0": "positive"}``; their names are y0, y1, ... Columns of X that
            hold text, booleans or categories become one-hot vectors.
        device: where to train and evaluate, such as "cuda" (None: the CPU).
        random_state: an integer makes the fit repeatable, bit for bit on one machine.

    Attributes:
        flow_: the fitted conditional Distribution of the outputs.
        schema_: what each output is.
        conditions_: what each column of X is.
        fit_result_: the history of the fit.

    Raises:
        InputError: in `fit`, an output that does not vary, or values that are NaN.

    References:
        B. Trippe, R. Turner (2018), Conditional Density Estimation with Bayesian Normalising Flows.

    Example:
        >>> import numpy as np
        >>> from bijecta.estimators import FlowRegressor
        >>> x = np.random.default_rng(0).normal(size=(200, 1))
        >>> model = FlowRegressor(epochs=2, random_state=0).fit(x, 2 * x[:, 0] + 1)
        >>> model.predict(x[:5]).shape, model.predict_interval(x[:5], 0.9).shape, model.sample(x[:5], 10).shape
        ((5,), (5, 2), (5, 10))
    """

    schema_: Schema
    conditions_: Schema

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FlowRegressor":
        """Fit the conditional density.

        Args:
            X: rows (N, C), an array or a data frame.
            y: outputs of shape (N,) or (N, D).
            sample_weight: what each row counts, of shape (N,), any scale; negative ones allowed.

        Returns:
            The estimator.
        """
        table = read_rows(self, X, reset=True)
        target = read_target(y, table.n_rows)
        table, weight, kept = drop_unweighted(table, read_weights(sample_weight, table.n_rows))
        target = target[kept]
        self._single = target.ndim == 1
        outputs = _output_table(target)
        self.schema_ = read_schema(outputs, target, self.schema)
        self.conditions_ = infer_schema(table, column_kinds(table, X, integers="real"))[0]
        context = one_hot(self.conditions_, matrix_of(self.conditions_, table))
        self._fit_flow(self.schema_, matrix_of(self.schema_, outputs, fitting=True), context=context, weight=weight)
        return self

    def predict(self, X: Any) -> FloatArray:
        """Return the mean of the outputs for rows (N, C), of shape (N,), or (N, D) for several outputs."""
        check_is_fitted(self, "flow_")
        points, weight = self._latents()
        mean = self._over_outcomes(X, points, lambda outcomes: torch.tensordot(weight.to(outcomes), outcomes, 1))
        return mean[:, 0] if self._single else mean

    def predict_quantiles(self, X: Any, q: Any) -> FloatArray:
        """Predict quantiles of every output.

        Args:
            X: rows (N, C).
            q: probabilities between 0 and 1, one number or Q of them.

        Returns:
            Of shape (N, Q), or (N, Q, D) for several outputs; without the axis Q where q is one number.

        Raises:
            InputError: a probability is not between 0 and 1.
        """
        check_is_fitted(self, "flow_")
        levels = torch.tensor(np.atleast_1d(np.asarray(q, dtype=np.float64)))
        if levels.ndim != 1 or not bool(((levels > 0) & (levels < 1)).all()):
            raise InputError(f"predict_quantiles expects probabilities above 0 and below 1, got {q!r}.")
        if self._is_monotone():
            values = self._over_outcomes(
                X, torch.special.ndtri(levels)[:, None], lambda outcomes: outcomes.movedim(0, 1)
            )
        else:
            points, _ = self._latents()
            values = self._over_outcomes(X, points, lambda y: y.quantile(levels.to(y), dim=0).movedim(0, 1))
        values = values[..., 0] if self._single else values
        return values[:, 0] if np.ndim(q) == 0 else values

    def predict_interval(self, X: Any, coverage: float = 0.9) -> FloatArray:
        """Predict the central interval that holds a fraction ``coverage`` of the outcomes.

        Args:
            X: rows (N, C).
            coverage: between 0 and 1.

        Returns:
            Lower and upper end, of shape (N, 2), or (N, 2, D) for several outputs.
        """
        return self.predict_quantiles(X, [0.5 - coverage / 2, 0.5 + coverage / 2])

    def sample(self, X: Any, n_samples: int = 1, random_state: Any = None) -> FloatArray:
        """Draw outcomes.

        Args:
            X: rows (N, C).
            n_samples: how many for each row.
            random_state: an integer makes the draw repeatable.

        Returns:
            Of shape (N, n_samples), or (N, n_samples, D) for several outputs.
        """
        check_count(n_samples)
        context = self._context(X)
        generator = self._generator(random_state)

        def draw(rows: Tensor) -> Tensor:
            return self.flow_.sample(n_samples, rows, generator=generator).movedim(0, 1)

        drawn = self._evaluate(draw, context, points=n_samples)
        return drawn[..., 0] if self._single else drawn

    def log_prob(self, X: Any, y: Any) -> FloatArray:
        """Return log p(y | x) of outputs given rows (N, C), in nats per unit of the outputs, of shape (N,)."""
        context = self._context(X)
        target = matrix_of(self.schema_, _output_table(read_target(y, len(context))))
        return self._evaluate(self.flow_.log_prob, target, context)

    def _context(self, X: Any) -> FloatArray:
        check_is_fitted(self, "flow_")
        return one_hot(self.conditions_, matrix_of(self.conditions_, read_rows(self, X, reset=False)))

    def _is_monotone(self) -> bool:
        """Tell whether quantiles are those of the latent: one output on a line, and a base whose quantiles we know."""
        line = len(self.schema_.columns) == 1 and self.schema_.columns[0].kind != "periodic"
        return line and isinstance(self.flow_, Flow) and isinstance(self.flow_.base, Normal)

    def _latent_flow(self) -> Flow | None:
        """Return the flow if one set of latents stands for all rows: not if y is discrete, or the base depends on X."""
        return self.flow_ if isinstance(self.flow_, Flow) and not self.flow_.base.context else None

    def _latents(self) -> tuple[Tensor, Tensor]:
        """Return latents (S, D) with weights (S,) that stand for the base, the same for every row."""
        outputs = len(self.schema_.columns)
        if self._is_monotone():  # the trapezoidal rule: no other converges faster on a smooth integrand
            line = torch.linspace(-6, 6, 49, dtype=torch.float64)
            weight = (-0.5 * line.square()).exp()
            return line[:, None], weight / weight.sum()
        even = torch.full((POINTS,), 1 / POINTS, dtype=torch.float64)
        flow = self._latent_flow()
        if flow is not None and not isinstance(flow.base, Normal):
            return flow.base.sample(POINTS, generator=self._generator(0)).cpu(), even
        sobol = torch.quasirandom.SobolEngine(outputs, scramble=True, seed=0).draw(POINTS, dtype=torch.float64)
        return torch.special.ndtri(sobol.clamp(1e-9, 1 - 1e-9)), even

    def _over_outcomes(self, X: Any, latents: Tensor, reduce: Callable[[Tensor], Tensor]) -> FloatArray:
        """Reduce the outcomes (S, N, D) of latents (S, D) to one row each."""

        def outcomes(rows: Tensor) -> Tensor:
            shape = (len(latents), len(rows), -1)
            flow = self._latent_flow()
            if flow is None:
                return reduce(self.flow_.sample(len(latents), rows))
            return reduce(flow.to_data(latents.to(rows)[:, None].expand(shape), rows.expand(shape)))

        return self._evaluate(outcomes, self._context(X), points=len(latents))


def read_target(y: Any, count: int) -> FloatArray:
    """Check outputs of shape (N,) or (N, D) for count rows."""
    if y is None:
        raise InputError("FlowRegressor requires y to be passed, but the target y is None.")
    target = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if target.ndim > 2 or len(target) != count:
        raise ShapeError(
            f"Expected y of shape ({count},) or ({count}, outputs), as X has {count} rows; got {target.shape}."
        )
    return np.asarray(target)


def _output_table(target: FloatArray) -> Table:
    columns = target.reshape(len(target), -1).T
    names = tuple(f"y{number}" for number in range(len(columns)))
    return Table(names, dict(zip(names, columns, strict=True)))
