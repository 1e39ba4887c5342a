"""Bayes' rule on class-conditional densities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_consistent_length, check_is_fitted, column_or_1d
from torch import Tensor

from bijecta.data import Schema
from bijecta.data.table import AnyArray, FloatArray
from bijecta.errors import InputError
from bijecta.estimators.base import FlowEstimator
from bijecta.estimators.inputs import SchemaLike, drop_unweighted, matrix_of, read_rows, read_schema, read_weights


class FlowClassifier(ClassifierMixin, FlowEstimator):  # type: ignore[misc]
    r"""Classify rows by the density that each class gives them.

    .. math:: P(c \mid x) = \frac{P(c)\, p(x \mid c)}{\sum_k P(k)\, p(x \mid k)}

    One conditional flow describes all classes; its context is the class as a one-hot vector.

    Args:
        recipe: name of a recipe.
        priors: probabilities P(c) in the order of ``classes_`` (None: the weighted frequencies of the training rows).
        recipe_arguments: further arguments of the recipe, such as ``{"layers": 4}``.
        epochs: passes over the training rows, at most.
        batch_size: rows per step (None: by the number of rows).
        learning_rate: the largest learning rate (None: by the number of rows).
        validation_fraction: fraction of the rows held out to stop early by; 0 trains on all.
        patience: stop after so many epochs without a better validation loss; 0 never stops early.
        max_seconds: time limit of a fit; such a fit can't be repeated bit for bit.
        schema: a `Schema`, or kinds of some columns of X, as for `FlowDensity`.
        device: where to train and evaluate, such as "cuda" (None: the CPU).
        random_state: an integer makes the fit repeatable, bit for bit on one machine.

    Attributes:
        classes_: the labels of the classes, sorted.
        priors_: P(c).
        flow_: the fitted conditional Distribution.
        schema_: what each column of X is.
        fit_result_: the history of the fit.

    Raises:
        InputError: in `fit`, priors that are no probabilities, or columns that `FlowDensity` would refuse.

    References:
        C. Bishop (2006), Pattern Recognition and Machine Learning, section 1.5 (generative classifiers).

    Example:
        >>> import numpy as np
        >>> from bijecta.estimators import FlowClassifier
        >>> label = np.arange(200) % 2
        >>> rows = np.random.default_rng(0).normal(size=(200, 2)) + 5 * label[:, None]
        >>> float(FlowClassifier(epochs=3, random_state=0).fit(rows, label).predict([[5.0, 5.0]])[0])
        1.0
    """

    schema_: Schema
    classes_: AnyArray
    priors_: FloatArray

    def __init__(
        self,
        recipe: str = "nsf",
        *,
        priors: Any = None,
        recipe_arguments: Mapping[str, Any] | None = None,
        epochs: int = 100,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        patience: int = 20,
        max_seconds: float | None = None,
        schema: SchemaLike = None,
        device: str | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            recipe,
            recipe_arguments=recipe_arguments,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation_fraction=validation_fraction,
            patience=patience,
            max_seconds=max_seconds,
            schema=schema,
            device=device,
            random_state=random_state,
        )
        self.priors = priors

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "FlowClassifier":
        """Fit the class-conditional densities.

        Args:
            X: rows (N, D), an array or a data frame.
            y: labels of the classes, of shape (N,).
            sample_weight: what each row counts, of shape (N,), any scale.

        Returns:
            The estimator.
        """
        table = read_rows(self, X, reset=True)
        labels = read_labels(y, table.n_rows)
        table, weight, kept = drop_unweighted(table, read_weights(sample_weight, table.n_rows))
        self.classes_, codes = np.unique(labels[kept], return_inverse=True)
        self.schema_ = read_schema(table, X, self.schema)
        member = np.eye(len(self.classes_))[codes]
        self.priors_ = self._read_priors(member, weight)
        self._fit_flow(self.schema_, matrix_of(self.schema_, table, fitting=True), context=member, weight=weight)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Return the most probable class of rows (N, D), of shape (N,)."""
        code = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[code]

    def predict_proba(self, X: Any) -> FloatArray:
        """Return the probability of each class for rows (N, D), of shape (N, classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> FloatArray:
        """Return the logarithm of `predict_proba`."""
        check_is_fitted(self, "flow_")
        rows = matrix_of(self.schema_, read_rows(self, X, reset=False))
        return self._evaluate(self._log_posterior, rows, points=len(self.classes_))

    def _log_posterior(self, x: Tensor) -> Tensor:
        classes = torch.eye(len(self.classes_)).to(x)
        joint = [
            self.flow_.log_prob(x, label.expand(len(x), -1)) + prior
            for label, prior in zip(classes, np.log(self.priors_), strict=True)
        ]
        return torch.stack(joint, dim=1).log_softmax(dim=1)

    def _read_priors(self, member: FloatArray, weight: FloatArray | None) -> FloatArray:
        counts = member.sum(0) if weight is None else weight @ member
        priors = counts / counts.sum() if self.priors is None else np.asarray(self.priors, dtype=np.float64)
        if priors.shape != counts.shape or not (priors > 0).all() or not np.isclose(priors.sum(), 1):
            raise InputError(
                f"Expected one positive prior for each of the classes {self.classes_.tolist()}, with sum 1; got "
                f"{priors.tolist()}. Priors from the data need a positive sum of weights in every class."
            )
        return priors


def read_labels(y: Any, count: int) -> AnyArray:
    """Check the labels of count rows."""
    labels = column_or_1d(y, warn=True)
    check_consistent_length(labels, np.empty(count))
    assert_all_finite(labels, input_name="y")
    check_classification_targets(labels)
    return np.asarray(labels)
