"""One sentence about a run: how far from the best possible, why, and what to try."""

import math
from dataclasses import dataclass

import numpy as np

from bijecta.app.messages import Array

RARE = 0.001
CURE = "mixture"
SMALL_GAP, LARGE_GAP, FEW = 0.03, 0.1, 0.015


@dataclass(frozen=True)
class Judgement:
    """What a verdict is made of; losses in nats per row, on the same fresh rows.

    Attributes:
        nll: of the flow; NaN or infinite where it has no density.
        truth_nll: of the exact density; None where it is unknown.
        gaussian_nll: of a Gaussian with the mean and covariance of the data.
        stray: share of the flow's samples where the truth has less density than at all but a thousandth of its own.
        base: name of the flow's base.
        learning_rate: the largest one; None for automatic.
        best_epoch: the epoch whose weights are kept; 0 for the start; None while it trains.
    """

    nll: float
    truth_nll: float | None
    gaussian_nll: float
    stray: float | None
    base: str = "normal"
    learning_rate: float | None = None
    best_epoch: int | None = None


def sentence(judgement: Judgement) -> str:
    r"""Say how good a flow is: :math:`\mathrm{NLL} - H`, stray samples, and what to try.

    Args:
        judgement: what was measured.

    Returns:
        One or two sentences.

    Example:
        >>> from bijecta.app.verdict import Judgement, sentence
        >>> sentence(Judgement(nll=2.41, truth_nll=2.39, gaussian_nll=3.0, stray=0.001))
        '0.020 nats above the best possible: as good as it gets.'
    """
    if not math.isfinite(judgement.nll):
        return "The density is no number any more. Choose a smaller learning rate and press Run."
    if judgement.best_epoch == 0 and judgement.nll > judgement.gaussian_nll - 0.02:
        return _never_learned(judgement)
    if judgement.truth_nll is None:
        better = judgement.gaussian_nll - judgement.nll
        return f"{better:.3f} nats better than a Gaussian; the exact density of a table is unknown."
    gap = judgement.nll - judgement.truth_nll
    return f"{max(gap, 0.0):.3f} nats above the best possible{_reason(judgement, gap)}"


def stray_share(samples_under_truth: Array, truth_under_truth: Array) -> float:
    """Count samples of a flow that lie where the truth is hardly ever.

    Args:
        samples_under_truth: exact log-density at samples of the flow, of shape (N,).
        truth_under_truth: exact log-density at samples of the truth, of shape (M,).

    Returns:
        The share of the first below the 0.1 % quantile of the second.
    """
    return float((samples_under_truth < np.quantile(truth_under_truth, RARE)).mean())


def _never_learned(judgement: Judgement) -> str:
    start = "No epoch was better than the Gaussian that it began as: "
    if judgement.learning_rate is not None and judgement.learning_rate > 0.02:
        return f"{start}the learning rate {judgement.learning_rate:g} is too high. Try 0.002."
    return f"{start}train longer, or with more layers."


def _reason(judgement: Judgement, gap: float) -> str:
    stray = judgement.stray or 0.0
    # Early on, samples go astray because little is learned yet: topology is what remains.
    if gap <= LARGE_GAP and stray > FEW and judgement.base != CURE:
        share = f"; {100 * stray:.0f} % of samples lie where data are hardly ever"
        return f"{share}: that is topology, a connected base can't be torn apart. Try the base {CURE}."
    if gap <= SMALL_GAP:
        return ": as good as it gets."
    if judgement.best_epoch is None:
        return ", and learning."
    return ". Train longer, or with more layers or wider networks."
