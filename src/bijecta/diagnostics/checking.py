"""Is this flow what it claims to be? Measured, for any flow."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor

from bijecta.diagnostics.agreement import density_measurements, samples_against_latent
from bijecta.diagnostics.invertibility import log_determinants, round_trips
from bijecta.diagnostics.loading import save_and_load
from bijecta.diagnostics.measurement import CheckReport, Measurement
from bijecta.diagnostics.numerics import drift, float64_is_kept, gradients
from bijecta.diagnostics.subject import Subject, make_subject
from bijecta.distributions import Distribution
from bijecta.errors import InputError

Measure = Callable[[Subject], Measurement | Sequence[Measurement]]

MEASUREMENTS: dict[str, Measure] = {
    "round trips": round_trips,
    "log-determinants": log_determinants,
    "float64 is kept": float64_is_kept,
    "float32 against float64 log_prob": drift,
    "density": density_measurements,
    "samples against latent": samples_against_latent,
    "finite gradients": gradients,
    "saved and loaded": save_and_load,
}


def check(
    flow: Distribution, x: Tensor | None = None, context: Tensor | None = None, *, samples: int = 1000, seed: int = 0
) -> CheckReport:
    r"""Measure whether a flow is what it claims to be.

    .. math:: f^{-1}(f(x)) = x, \quad \mathrm{ladj} = \log|\det\partial f/\partial x|, \quad
              \int p(x)\,dx = 1, \quad x \sim p

    Also: float64 stays float64, float32 agrees with it, gradients are finite far from the data, and the saved state
    holds all that the flow is. A measurement that the flow does not allow (an integral in many dimensions) gets no
    verdict, and says so. The statistical limits are such that a sound flow fails about one check in 100,000.

    Args:
        flow: a `Flow`, or a distribution of a table (`Dequantised`, `Mixed`), whose continuous part is measured; it
            is not changed.
        x: rows of data (N, \*event), in the units of the data (default: samples of the flow).
        context: contexts (N, C), one per row of ``x`` (default: standard normal). Integrals use the first one.
        samples: how many rows to use at most.
        seed: of everything random.

    Returns:
        A `CheckReport`: ``passed``, ``measurements``, ``to_json()``, and a table when printed.

    Raises:
        InputError: ``flow`` is of another kind, or there are fewer than two rows.
        ShapeError: the rows do not fit the flow.

    References:
        X.-L. Meng, W. H. Wong (1996), Simulating Ratios of Normalizing Constants, for integrals by weighted samples.

    Example:
        >>> from bijecta.diagnostics import check
        >>> from bijecta.flows import realnvp
        >>> check(realnvp(2, layers=2), samples=200).passed
        True
    """
    if samples < 2:
        raise InputError(f"check expects samples of at least 2, got {samples}. Try 1000.")
    subject = make_subject(flow, x, context, samples=samples, seed=seed)
    found = [measurement for name, measure in MEASUREMENTS.items() for measurement in _attempt(name, measure, subject)]
    settings = {
        "flow": getattr(flow, "recipe", None) or type(flow).__name__,
        "event_shape": list(subject.event_shape),
        "context": subject.flow.context,
        "dtype": str(subject.x.dtype).removeprefix("torch."),
        "rows": len(subject.x),
        "seed": seed,
    }
    return CheckReport(tuple(found), settings)


def _attempt(name: str, measure: Measure, subject: Subject) -> Sequence[Measurement]:
    """Measure; a flow that cannot even be evaluated fails that measurement instead of ending the check."""
    try:
        found = measure(subject)
    except (RuntimeError, ValueError, ArithmeticError, TypeError, IndexError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        return [Measurement(name, {}, limit=math.nan, passed=False, note=f"{type(error).__name__}: {reason}")]
    return [found] if isinstance(found, Measurement) else found
