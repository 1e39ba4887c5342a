"""The density of a table as an estimator."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import DensityMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from bijecta.data import Schema
from bijecta.data.table import AnyArray, FloatArray
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.estimators.base import FlowEstimator
from bijecta.estimators.frames import as_frame, like_frame
from bijecta.estimators.inputs import drop_unweighted, matrix_of, read_rows, read_schema, read_weights
from bijecta.flows import Flow


class FlowDensity(TransformerMixin, DensityMixin, FlowEstimator):  # type: ignore[misc]
    r"""Estimate the density of rows by a normalizing flow.

    .. math:: \log p(x) = \log p_Z(f(x)) + \log|\det \partial f / \partial x|

    Rows are arrays (N, D), or data frames of pandas, polars or pyarrow, whose columns may hold numbers, booleans, text
    or categories: samples come back as such a frame, with the same types.

    Args:
        recipe: name of a recipe.
        recipe_arguments: further arguments of the recipe, such as ``{"layers": 4}``.
        epochs: passes over the training rows, at most.
        batch_size: rows per step (None: by the number of rows).
        learning_rate: the largest learning rate (None: by the number of rows).
        validation_fraction: fraction of the rows held out to stop early by; 0 trains on all.
        patience: stop after so many epochs without a better validation loss; 0 never stops early.
        max_seconds: time limit of a fit; such a fit can't be repeated bit for bit.
        schema: kinds of some columns, such as ``{"phi": "periodic:0:360"}``, or a whole `Schema`, or "infer" to guess
            from the values (`infer_schema`). By default the columns of an array, called x0, x1, ..., are real, those
            of a data frame what their types say: real, integer or category.
        device: where to train and evaluate, such as "cuda" (None: the CPU).
        random_state: an integer makes the fit repeatable, bit for bit on one machine.

    Attributes:
        flow_: the fitted Distribution, in float64.
        schema_: what each column is.
        fit_result_: the history of the fit.
        n_features_in_: number D of columns.
        feature_names_in_: their names, where the data had some.

    Raises:
        InputError: in `fit`, a column has one value only, is NaN, or does not fit its kind; the message names it.

    References:
        G. Papamakarios et al. (2021), Normalizing Flows for Probabilistic Modeling and Inference.

    Example:
        >>> import numpy as np
        >>> from bijecta.estimators import FlowDensity
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = FlowDensity(epochs=2, random_state=0).fit(rows)
        >>> density.score_samples(rows[:3]).shape, density.sample(5, random_state=0).shape
        ((3,), (5, 2))
    """

    schema_: Schema

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "FlowDensity":  # noqa: ARG002
        """Fit the flow.

        Args:
            X: rows (N, D), an array or a data frame.
            y: ignored.
            sample_weight: what each row counts, of shape (N,), any scale; negative ones allowed.

        Returns:
            The estimator.
        """
        frame = as_frame(X)
        table = read_rows(self, X, reset=True)
        table, weight, _ = drop_unweighted(table, read_weights(sample_weight, table.n_rows))
        self.schema_ = read_schema(table, X, self.schema)
        self._names = table.names
        self._template = None if frame is None else frame.head(0).to_native()
        self._fit_flow(self.schema_, matrix_of(self.schema_, table, fitting=True), weight=weight)
        return self

    def score_samples(self, X: Any) -> FloatArray:
        """Return the log-density of rows (N, D), in nats per unit of the columns, of shape (N,)."""
        return self._evaluate(self._fitted().log_prob, self._matrix(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: ARG002
        """Return the mean log-density of rows (N, D), in nats per row."""
        return float(np.average(self.score_samples(X), weights=sample_weight))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows.

        Args:
            n_samples: how many.
            random_state: an integer makes the draw repeatable.

        Returns:
            An array (n_samples, D), or a data frame like the one that was fitted.
        """
        self._fitted()
        rows = self.schema_.columns_from_matrix(self._draw(n_samples, random_state))
        return self._rows_out(rows)

    def transform(self, X: Any) -> FloatArray:
        """Map rows (N, D) to the latent space, where the base lives, of shape (N, D)."""
        return self._evaluate(self._continuous().to_latent, self._matrix(X))

    def inverse_transform(self, X: Any) -> Any:
        """Map latent rows (N, D) back to data, an array or a data frame as `sample` returns it."""
        latent = check_array(X, dtype=np.float64)
        return self._rows_out(self.schema_.columns_from_matrix(self._evaluate(self._continuous().to_data, latent)))

    def get_feature_names_out(self, input_features: Any = None) -> AnyArray:  # noqa: ARG002
        """Return the names z0, z1, ... of the columns of the latent space."""
        self._fitted()
        return np.array([f"z{number}" for number in range(self.n_features_in_)], dtype=object)

    def _fitted(self) -> Distribution:
        check_is_fitted(self, "flow_")
        return self.flow_

    def _continuous(self) -> Flow:
        flow = self._fitted()
        if isinstance(flow, Flow):
            return flow
        discrete = [column.name for column in self.schema_.columns if column.kind in ("integer", "category")]
        raise InputError(
            f"Discrete columns have no latent space: {', '.join(discrete)}. Measurements that are stored as integers "
            f'can be declared real: schema={{"{discrete[0]}": "real"}}.'
        )

    def _matrix(self, X: Any) -> FloatArray:
        self._fitted()
        return matrix_of(self.schema_, read_rows(self, X, reset=False))

    def _rows_out(self, columns: Mapping[str, AnyArray]) -> Any:
        """Return columns as they came: an array, or a frame like the one that was fitted."""
        if self._template is None:
            return np.column_stack([columns[name] for name in self._names])
        return like_frame(self._template, columns)
