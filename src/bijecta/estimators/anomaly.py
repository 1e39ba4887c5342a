"""Anomaly detection: rows where a flow, blurred at several scales, finds little density."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from bijecta.data import Schema, infer_schema, split_rows
from bijecta.data.table import AnyArray, FloatArray
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.estimators.base import FlowEstimator, new_seed, seeded
from bijecta.estimators.inputs import column_kinds, matrix_of, one_hot, read_rows
from bijecta.flows import build
from bijecta.training import Batch, FitConfig, Loss, fit

SCALES = 5  # at which the density is evaluated
DIRECTIONS = 64  # principal directions that the flow sees, at most
DEGENERATE = 1e-3  # share of a column's variance below which a direction is left to the Gaussian
BATCH = 256
HELD_OUT = 0.1
SMALL = {"nsf": {"layers": 4, "bins": 8}}  # what blurred data need of a recipe


class FlowAnomalyDetector(OutlierMixin, FlowEstimator):  # type: ignore[misc]
    r"""Find rows that do not look like the training rows, by the density of a normalizing flow.

    .. math:: s(x) = \frac{1}{5} \sum_{k=1}^{5} \log p(x; \sigma_k), \qquad
              p(\cdot\,; \sigma) = p_{data} * \mathcal{N}(0, \sigma^2 C)

    One flow, with the scale :math:`\sigma` as its context, learns the density of rows to which Gaussian noise with the
    shape C of their covariance was added: a kernel density whose kernels are learned. Small scales see repeated values,
    fine structure and correlations, large ones the whole; no single scale suits every table. Along the directions
    beyond the first 64 principal ones, and where columns hardly vary, the density is a Gaussian.

    Training rows should be normal, or mostly so. They are arrays, or data frames, whose columns may hold categories.

    Args:
        recipe: name of a recipe that takes a context.
        recipe_arguments: further arguments of the recipe (None: for nsf 4 layers of 8 bins, else those of the recipe).
        contamination: fraction of the training rows below ``offset_``, above 0 and at most 0.5.
        statistic: "likelihood", or "typicality": minus the distance of s(x) from its mean over held-out rows, which
            also finds rows that are likelier than rows should be.
        scales: the smallest and the largest :math:`\sigma`, in standard deviations.
        steps: how many steps of 256 rows the training has.
        device: where to train and evaluate, such as "cuda" (None: the CPU).
        random_state: an integer makes the fit repeatable, bit for bit on one machine.

    Attributes:
        offset_: the score that separates outliers from inliers.
        typical_: mean of s(x) over the held-out rows, in nats.
        held_out_scores_: scores of the tenth of the training rows that was held out, sorted.
        flow_: the fitted Distribution of the principal directions.
        schema_: what each column is.
        fit_result_: the history of the fit.

    Raises:
        InputError: in `fit`, settings out of range, fewer than 2 rows, no column that varies, NaN or infinity.

    References:
        C. Bishop (1994), Novelty Detection and Neural Network Validation; E. Nalisnick et al. (2019), Detecting
        Out-of-Distribution Inputs to Deep Generative Models Using Typicality.

    Example:
        >>> import numpy as np
        >>> from bijecta.estimators import FlowAnomalyDetector
        >>> rows = np.random.default_rng(0).normal(size=(200, 2))
        >>> detector = FlowAnomalyDetector(steps=20, random_state=0).fit(rows)
        >>> detector.predict([[0.0, 0.0], [9.0, -9.0]])
        array([ 1, -1])
    """

    schema_: Schema
    offset_: float
    typical_: float
    held_out_scores_: FloatArray

    def __init__(
        self,
        recipe: str = "nsf",
        *,
        recipe_arguments: Mapping[str, Any] | None = None,
        contamination: float = 0.1,
        statistic: str = "likelihood",
        scales: tuple[float, float] = (0.05, 0.8),
        steps: int = 800,
        device: str | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(recipe, recipe_arguments=recipe_arguments, device=device, random_state=random_state)
        self.contamination = contamination
        self.statistic = statistic
        self.scales = scales
        self.steps = steps

    def fit(self, X: Any, y: Any = None) -> "FlowAnomalyDetector":  # noqa: ARG002
        """Learn what rows look like.

        Args:
            X: rows (N, D), an array or a data frame.
            y: ignored.

        Returns:
            The estimator.
        """
        self._check_settings()
        table = read_rows(self, X, reset=True)
        self.schema_ = infer_schema(table, column_kinds(table, X, integers="real"))[0]
        rows = one_hot(self.schema_, matrix_of(self.schema_, table))
        seed = new_seed(self.random_state)
        train, held_out = split_rows(len(rows), HELD_OUT, seed)
        self._axes = principal_axes(rows[train])
        self._fit_scales(self._axes.project(rows)[:, : self._axes.modelled], len(train), seed)
        log_density = self._log_density(rows)
        self.typical_ = float(log_density[held_out].mean())
        scores = self._judge(log_density)
        self.held_out_scores_ = np.sort(scores[held_out])
        self.offset_ = float(np.quantile(scores, self.contamination))
        return self

    def score_samples(self, X: Any) -> FloatArray:
        """Return the score of rows (N, D), higher for normal ones, of shape (N,), in nats."""
        check_is_fitted(self, "flow_")
        table = read_rows(self, X, reset=False)
        return self._judge(self._log_density(one_hot(self.schema_, matrix_of(self.schema_, table))))

    def decision_function(self, X: Any) -> FloatArray:
        """Return the score of rows (N, D) minus ``offset_``: negative for outliers, of shape (N,)."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> AnyArray:
        """Return 1 for inliers and -1 for outliers among rows (N, D), of shape (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def p_values(self, X: Any) -> FloatArray:
        r"""Compute how probable so low a score is for a normal row.

        .. math:: p(x) = \frac{1 + \#\{n : s(x_n) \le s(x)\}}{1 + N_{held\,out}}

        A row of the training distribution has :math:`P(p \le \alpha) \le \alpha`, however bad the flow is, but for
        the choice of the best epoch, the one thing that the held-out rows were used for.

        Args:
            X: rows (N, D).

        Returns:
            Of shape (N,), between 1 / (1 + number of held-out rows) and 1.

        References:
            V. Vovk, A. Gammerman, G. Shafer (2005), Algorithmic Learning in a Random World.
        """
        scores = self.score_samples(X)
        rank = np.searchsorted(self.held_out_scores_, scores, side="right")
        return np.asarray((1 + rank) / (1 + len(self.held_out_scores_)))

    def _check_settings(self) -> None:
        if not 0 < self.contamination <= 0.5:
            raise InputError(
                f"FlowAnomalyDetector expects contamination above 0 and at most 0.5, got {self.contamination!r}."
            )
        if self.statistic not in ("likelihood", "typicality"):
            raise InputError(
                f'FlowAnomalyDetector expects statistic "likelihood" or "typicality", got {self.statistic!r}.'
            )
        if len(self.scales) != 2 or not 0 < self.scales[0] <= self.scales[1] < math.inf:
            raise InputError(f"FlowAnomalyDetector expects two positive scales, in order; got {self.scales!r}.")
        if self.steps < 1:
            raise InputError(f"FlowAnomalyDetector expects at least 1 step, got {self.steps!r}.")

    def _fit_scales(self, latent: FloatArray, count: int, seed: int) -> None:
        """Fit the flow of blurred rows, given in principal directions; count of them are trained on."""
        arguments = SMALL.get(self.recipe, {}) if self.recipe_arguments is None else self.recipe_arguments
        low, high = (math.log(scale) for scale in self.scales)
        config = FitConfig(
            epochs=max(1, round(self.steps / math.ceil(count / BATCH))),
            batch_size=BATCH,
            learning_rate=2e-3,  # the usual one for few rows is smaller, but no row is seen twice with the same noise
            validation_fraction=HELD_OUT,
            patience=0,
            seed=seed,
        )
        with seeded(seed):
            flow = build(self.recipe, {"features": latent.shape[1], "context": 1, **arguments})
        flow = flow.to(self.device or "cpu")
        # These contexts only tell the flow their range: the loss draws new ones in every step.
        context = np.random.default_rng(seed).uniform(low, high, (len(latent), 1))
        self.fit_result_ = fit(flow, latent, context=context, loss=blurred_nll(low, high), config=config)
        self.flow_ = flow.double()  # trained in float32: the noise is far above its rounding

    def _log_density(self, rows: FloatArray) -> FloatArray:
        """Return the log-density, averaged over the scales, of numeric rows."""
        latent = self._axes.project(rows)
        modelled, rest = np.split(latent, [self._axes.modelled], axis=1)
        total = np.zeros(len(rows))
        for scale in np.linspace(math.log(self.scales[0]), math.log(self.scales[1]), SCALES):
            total += self._evaluate(self.flow_.log_prob, modelled, np.full((len(rows), 1), scale))
        gaussian = -0.5 * (rest**2 + math.log(2 * math.pi)).sum(1)
        return np.asarray(total / SCALES + gaussian + self._axes.ladj)

    def _judge(self, log_density: FloatArray) -> FloatArray:
        """Turn log-densities into scores."""
        return -np.abs(log_density - self.typical_) if self.statistic == "typicality" else log_density


def blurred_nll(low: float, high: float) -> Loss:
    r"""Make the loss of a flow whose context is the logarithm of a scale of noise.

    .. math:: \mathcal{L} = -\mathbb{E}\left[\log p(x + \sigma \varepsilon; \log\sigma)\right], \qquad
              \log\sigma \sim U(low, high), \quad \varepsilon \sim \mathcal{N}(0, 1)

    Args:
        low: smallest logarithm of a scale.
        high: largest one.

    Returns:
        A loss for `fit`.

    Example:
        >>> import torch
        >>> from bijecta.estimators.anomaly import blurred_nll
        >>> from bijecta.flows import realnvp
        >>> from bijecta.training import Batch
        >>> blurred_nll(-3.0, 0.0)(realnvp(2, context=1), Batch(5, torch.zeros(5, 2))).shape
        torch.Size([])
    """

    def loss(flow: Distribution, batch: Batch) -> torch.Tensor:
        if batch.x is None:
            raise InputError("The loss blurred_nll expects data, got none.")
        scale = low + (high - low) * torch.rand_like(batch.x[:, :1])
        log_prob: torch.Tensor = flow.log_prob(batch.x + scale.exp() * torch.randn_like(batch.x), scale)
        return -log_prob.mean()

    return loss


@dataclass(frozen=True)
class PrincipalAxes:
    """A linear map of rows to principal directions, of unit variance each.

    Attributes:
        mean: of the columns, of shape (D,).
        matrix: of shape (D, D); column k makes the k-th coordinate of a centred row.
        modelled: how many of the directions, from the first, hold enough variance for a flow.
        ladj: log |det| of the map, in nats.
    """

    mean: FloatArray
    matrix: FloatArray
    modelled: int
    ladj: float

    def project(self, rows: FloatArray) -> FloatArray:
        """Map rows (N, D) to their coordinates (N, D)."""
        return (rows - self.mean) @ self.matrix


def principal_axes(rows: FloatArray) -> PrincipalAxes:
    r"""Measure the principal directions of standardised columns.

    .. math:: \mathrm{corr}(x) = V \Lambda V^T, \qquad
              z = [(1 - a) \Lambda + a]^{-1/2} V^T (x - \mu) / \sigma, \quad a = (D + 1) / (N + D + 1)

    The shrinkage a keeps directions of no variance at a finite scale. A constant column has :math:`\sigma = 1`.

    Args:
        rows: of shape (N, D).

    Returns:
        The map to z.

    Raises:
        InputError: no column varies.

    References:
        O. Ledoit, M. Wolf (2004), A Well-conditioned Estimator for Large-dimensional Covariance Matrices (the idea).
    """
    count, features = rows.shape
    mean, scale = rows.mean(0), rows.std(0)
    constant = scale <= 1e-12 * np.abs(rows).max(0)  # what rounding leaves of a constant column
    if constant.all():
        raise InputError(f"An anomaly detector needs columns that vary; none of {features} does in {count} rows.")
    scale = np.where(constant, 1.0, scale)
    standardised = (rows - mean) / scale
    variances, directions = np.linalg.eigh(standardised.T @ standardised / count)
    variances, directions = variances[::-1], directions[:, ::-1]
    shrinkage = (features + 1) / (count + features + 1)
    spread = np.sqrt((1 - shrinkage) * variances.clip(0) + shrinkage)
    modelled = min(DIRECTIONS, int((variances > DEGENERATE).sum()))
    ladj = -float(np.log(scale).sum() + np.log(spread).sum())
    return PrincipalAxes(mean, directions / spread / scale[:, None], modelled, ladj)
