"""Coordinates of invariant masses: spectra that are sharp in GeV become flat on [-1, 1]."""

import math

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.errors import InputError


class BreitWigner(Bijection):
    r"""Map the masses of a resonance to [-1, 1], so that its line shape becomes flat.

    .. math:: z = 2\,\frac{\theta(m) - \theta(a)}{\theta(b) - \theta(a)} - 1, \qquad
        \theta(m) = \arctan\frac{m^2 - M^2}{M \Gamma}, \qquad
        \frac{d\theta}{dm} = \frac{2 m M \Gamma}{(m^2 - M^2)^2 + M^2 \Gamma^2}

    Args:
        mass: M of the resonance in GeV.
        width: Γ in GeV.
        low: lowest mass a in GeV, not negative.
        high: highest mass b in GeV.

    Raises:
        InputError: a mass, width or range that is not positive.

    Reference:
        Breit, Wigner (1936), "Capture of slow neutrons".

    Example:
        >>> z_boson = BreitWigner(91.1876, 2.4952, low=60.0, high=120.0)
        >>> z_boson.inverse(torch.tensor([-1.0, 1.0])).round()
        tensor([ 60., 120.])
    """

    def __init__(self, mass: float, width: float, low: float, high: float) -> None:
        super().__init__()
        if not (mass > 0.0 and width > 0.0):
            raise InputError(f"BreitWigner expects a positive mass and width in GeV; got {mass} and {width}.")
        check_masses("BreitWigner", low, high)
        self.mass, self.width, self.low, self.high = mass, width, low, high
        self.start, self.end = self._angle(low), self._angle(high)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        angle = torch.atan((x - self.mass) * (x + self.mass) / (self.mass * self.width))
        return 2.0 * (angle - self.start) / (self.end - self.start) - 1.0, self._ladj(x)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        angle = self.start + (z + 1.0) / 2.0 * (self.end - self.start)
        square = self.mass * (self.mass + self.width * torch.tan(angle))
        x = square.clamp(min=self.low**2, max=self.high**2).sqrt()
        return x, -self._ladj(x)

    def _angle(self, mass: float) -> float:
        return math.atan((mass - self.mass) * (mass + self.mass) / (self.mass * self.width))

    def _ladj(self, x: Tensor) -> Tensor:
        scale = self.mass * self.width
        shape = ((x - self.mass) * (x + self.mass) / scale) ** 2 + 1.0
        return (torch.log(x / shape) + math.log(4.0 / scale / (self.end - self.start))).sum(-1)


class PowerLaw(Bijection):
    r"""Map falling spectra to [-1, 1], so that a density :math:`\propto m^{-p}` becomes flat.

    .. math:: z = 2\,\frac{m^{1-p} - a^{1-p}}{b^{1-p} - a^{1-p}} - 1, \qquad
        z = 2\,\frac{\ln m - \ln a}{\ln b - \ln a} - 1 \text{ for } p = 1

    Args:
        power: p, of either sign.
        low: lowest value a, in GeV.
        high: highest value b, in GeV.

    Raises:
        InputError: a range that is empty or does not begin above zero.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter X (importance sampling of invariant masses).

    Example:
        >>> PowerLaw(2.0, low=1.0, high=3.0).inverse(torch.tensor([0.0]))  # half of all lies below
        tensor([1.5000])
    """

    def __init__(self, power: float, low: float, high: float) -> None:
        super().__init__()
        check_masses("PowerLaw", low, high)
        if low <= 0.0:
            raise InputError(f"PowerLaw expects a range above zero; got low={low}.")
        self.power, self.low, self.high = power, low, high

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        # In ln m the map is (e^(r t) - 1) / (e^(r T) - 1) with r = 1 - p: expm1 keeps it exact for p near 1.
        r, log_ratio = 1.0 - self.power, torch.log(x / self.low)
        share = log_ratio / self._range() if r == 0.0 else torch.expm1(r * log_ratio) / math.expm1(r * self._range())
        return 2.0 * share - 1.0, self._ladj(log_ratio)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        r, share = 1.0 - self.power, (z + 1.0) / 2.0
        grown = share * self._range() if r == 0.0 else torch.log1p(share * math.expm1(r * self._range())) / r
        return self.low * grown.exp(), -self._ladj(grown)

    def _range(self) -> float:
        return math.log(self.high / self.low)

    def _ladj(self, log_ratio: Tensor) -> Tensor:
        r = 1.0 - self.power
        factor = 1.0 / self._range() if r == 0.0 else r / math.expm1(r * self._range())
        return (math.log(2.0 * factor / self.low) - self.power * log_ratio).sum(-1)


class MassExcess(Bijection):
    r"""Map the mass of a decaying particle to the logarithm of what it has above its daughters.

    .. math:: z = \log\Bigl(m - m_0 - \sum_i m_i\Bigr), \qquad \log|\det| = -z

    Every latent belongs to a decay that is allowed: no mass comes out below the sum of its daughters'. Events are
    columns (m, m_1, ..., m_D) in GeV; only m changes.

    Args:
        stable: m₀, the summed mass in GeV of the daughters that are no columns.
        daughters: number D of the daughters that are columns.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI (recursive phase space).

    Example:
        >>> pair_of_tops = MassExcess(stable=0.0, daughters=2)
        >>> pair_of_tops.inverse(torch.tensor([0.0, 172.5, 172.5]))  # 1 GeV above the threshold
        tensor([346.0000, 172.5000, 172.5000])
    """

    def __init__(self, stable: float, daughters: int) -> None:
        super().__init__()
        self.stable, self.features = stable, 1 + daughters

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        z = torch.log(x[..., :1] - self._threshold(x))
        return torch.cat([z, x[..., 1:]], -1), -z.squeeze(-1)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        mass = z[..., :1].exp() + self._threshold(z)
        return torch.cat([mass, z[..., 1:]], -1), z[..., 0]

    def _threshold(self, x: Tensor) -> Tensor:
        check_features(x, self.features)
        return self.stable + x[..., 1:].sum(-1, keepdim=True)


def check_masses(name: str, low: float, high: float) -> None:
    """Raise an InputError unless 0 <= low < high."""
    if not 0.0 <= low < high:
        raise InputError(f"{name} expects 0 <= low < high in GeV; got low={low} and high={high}.")
