"""The Fréchet physics distance of two samples of features."""

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import ShapeError
from bijecta.hep.evaluation_distances import Number, effective_size

FloatArray = NDArray[np.float64]
_SIZES = 8  # sample sizes that are extrapolated from


def frechet_distance(
    generated: FloatArray,
    reference: FloatArray,
    *,
    weights: tuple[FloatArray, FloatArray] | None = None,
    extrapolate: bool = False,
    seed: int = 0,
) -> float:
    r"""Measure the Fréchet distance of the Gaussians with means and covariances of two samples of features.

    .. math:: d^2 = |\mu - \nu|^2 + \operatorname{tr}\left[\Sigma + T - 2\,(\Sigma^{1/2} T\,\Sigma^{1/2})^{1/2}\right]

    Two samples of the same truth have a distance of about their size to the power -1, which `extrapolate` removes: a
    straight line through the distances of smaller parts, against one over their size, gives the one of infinite
    samples.

    Args:
        generated: features (n, D) of comparable size, see `feature_matrix`.
        reference: features (m, D).
        weights: event weights (n,) and (m,); None if all count the same.
        extrapolate: to infinite samples; the result scatters around 0 for equal distributions.
        seed: of the parts that are extrapolated from.

    Returns:
        The squared distance, in squared units of the features.

    Raises:
        ShapeError: the two have not the same features.

    References:
        Kansal et al. (2023), "Evaluating generative models in high energy physics".

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> round(frechet_distance(rows + [3.0, 4.0], rows), 6)
        25.0
    """
    if generated.ndim != 2 or generated.shape[1:] != reference.shape[1:]:
        raise ShapeError(f"frechet_distance expects (n, D) and (m, D), got {generated.shape} and {reference.shape}.")
    own, truth = (np.ones(len(generated)), np.ones(len(reference))) if weights is None else weights
    if not extrapolate:
        return _distance(_moments(generated, own), _moments(reference, truth))
    generator = np.random.default_rng(seed)
    shares = np.linspace(0.2, 1.0, _SIZES)
    found = []
    for share in shares:
        first, second = (generator.permutation(len(x))[: int(share * len(x))] for x in (generated, reference))
        found.append(_distance(_moments(generated[first], own[first]), _moments(reference[second], truth[second])))
    return float(np.polynomial.Polynomial.fit(1.0 / shares, found, 1)(0.0))


def frechet_number(
    samples: tuple[FloatArray, FloatArray],
    weights: tuple[FloatArray, FloatArray],
    *,
    replicas: int,
    null: bool,
    generator: np.random.Generator,
) -> Number:
    """Measure the distance with its bootstrap error and the null of the same effective sizes."""
    rate = effective_size(weights[0]) / effective_size(weights[1])
    spread, truth = [], []
    for _ in range(replicas):
        parts = [_moments(x, w * generator.poisson(1.0, len(x))) for x, w in zip(samples, weights, strict=True)]
        spread.append(_distance(parts[0], parts[1]))
        if null:
            drawn = [_moments(samples[1], weights[1] * generator.poisson(r, len(samples[1]))) for r in (rate, 1.0)]
            truth.append(_distance(drawn[0], drawn[1]))
    return Number(
        frechet_distance(*samples, weights=weights),
        error=float(np.std(spread)) if spread else None,
        null=float(np.mean(truth)) if truth else None,
        null_high=float(np.quantile(truth, 0.95)) if truth else None,
    )


def _moments(features: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    share = weight / weight.sum()
    mean = share @ features
    centred = features - mean
    return mean, (centred * share[:, None]).T @ centred


def _distance(first: tuple[FloatArray, FloatArray], second: tuple[FloatArray, FloatArray]) -> float:
    values, vectors = np.linalg.eigh(first[1])
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # Rounding, and negative weights, can make an eigenvalue negative.
    product = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second[1] @ root), 0.0)).sum()
    square = ((first[0] - second[0]) ** 2).sum() + np.trace(first[1]) + np.trace(second[1]) - 2.0 * product
    return float(max(square, 0.0))
