"""The mass of a resonance on a falling continuum: a mixture of two line shapes becomes flat."""

import math

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.errors import InputError
from bijecta.functional.inversion import invert_monotone
from bijecta.hep.coordinates_mass import BreitWigner, PowerLaw


class PeakAndContinuum(Bijection):
    r"""Map masses of a peak on a falling continuum to [-1, 1], so that the mixture of both becomes flat.

    .. math:: \tfrac12 (1 + z) = f\, F_{BW}(m) + (1 - f)\, F_p(m), \qquad
        \frac{dz}{dm} = 2 \left[ f\, \frac{dF_{BW}}{dm} + (1 - f)\, \frac{dF_p}{dm} \right]

    with the distribution function F_BW of a Breit-Wigner between a and b, and F_p of :math:`m^{-p}`. The inverse has no
    closed form: a bracketing search finds it to rounding, with exact derivatives. Beyond a and b the map goes on
    straight, so that the search has a line to run on; these masses lie outside of [-1, 1].

    Args:
        mass: M of the resonance in GeV.
        width: Γ in GeV.
        power: p of the continuum, of either sign.
        low: lowest mass a in GeV, positive.
        high: highest mass b in GeV.
        peak: share f of the peak, above 0 and below 1.

    Raises:
        InputError: a share, mass, width or range that is impossible.
        NotConvergedError: in the inverse, for latents that are no numbers of this range.

    Reference:
        Kleiss, Pittau (1994), "Weight optimization in multichannel Monte Carlo".

    Example:
        >>> z_boson = PeakAndContinuum(91.1876, 2.4952, 3.0, low=40.0, high=200.0)
        >>> z_boson.inverse(torch.tensor([[-1.0], [0.0], [1.0]])).flatten().round().tolist()
        [40.0, 89.0, 200.0]
    """

    def __init__(self, mass: float, width: float, power: float, low: float, high: float, peak: float = 0.5) -> None:
        super().__init__()
        if not 0.0 < peak < 1.0:
            raise InputError(f"PeakAndContinuum expects a share of the peak between 0 and 1; got {peak}.")
        self.resonance, self.continuum = BreitWigner(mass, width, low, high), PowerLaw(power, low, high)
        self.low, self.high, self.peak = low, high, peak

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        z, ladj = self._curve(x)
        return z, ladj.sum(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        x, ladj = invert_monotone(self._curve, z)
        return x, ladj.sum(-1)

    def _curve(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the log of its slope, element by element."""
        inside = x.clamp(self.low, self.high).unsqueeze(-1)  # the parts sum their ladj over the last axis
        first, log_first = self.resonance.forward_and_ladj(inside)
        second, log_second = self.continuum.forward_and_ladj(inside)
        z = self.peak * first + (1.0 - self.peak) * second
        ladj = torch.logaddexp(log_first + math.log(self.peak), log_second + math.log(1.0 - self.peak))
        return z.squeeze(-1) + ladj.exp() * (x - inside.squeeze(-1)), ladj
