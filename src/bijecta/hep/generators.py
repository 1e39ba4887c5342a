"""Generators with exact densities: muon pairs from e+e- and from proton and antiproton. NumPy only.

Each one draws events and evaluates the very density they come from, in the coordinates that it names in `columns`, so a
fitted flow can be compared with the truth. `generators_decays` has the three-body ones and the signed mixture.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError, NotConvergedError
from bijecta.hep import kinematics
from bijecta.hep.events import Events
from bijecta.hep.generators_arrays import columns_of, energies_of, log_density, provenance, random_angles, random_source
from bijecta.hep.generators_electroweak import DOWN, LEPTON, PICOBARN, UP, Electroweak
from bijecta.hep.schema import Condition, EventSchema, Particle

FloatArray = NDArray[np.float64]

MUON_MASS = 0.1056583755
_MUONS = EventSchema(
    (Particle("mu-", 13, MUON_MASS), Particle("mu+", -13, MUON_MASS)), condition=(Condition("energy"),)
)


@dataclass(frozen=True)
class MuonPairs:
    r"""Muon pairs from electron and positron, e+e- → γ*/Z → μ-μ+, at lowest order.

    .. math:: p(\cos\theta, \varphi \mid \sqrt s) = \frac{1}{2\pi}\left[\tfrac38 (1 + \cos^2\theta)
        + A_{FB}(\sqrt s)\cos\theta\right]

    θ is the angle between the electron, which flies along +z, and the μ-. Photon and Z interfere, so the asymmetry
    swings from -0.73 below the Z to +0.75 above it: a density that has to depend on its condition.

    Args:
        parameters: masses and couplings.

    Raises:
        InputError: energies that are not above twice the muon mass.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Electroweak model and constraints".

    Example:
        >>> generator = MuonPairs()
        >>> round(float(generator.forward_backward_asymmetry(80.0)), 4)
        -0.7276
        >>> events = generator.sample(1000, energy=80.0, seed=0)
        >>> bool((events.column("mu-.pz") > 0).mean() < 0.2)  # A_FB = (forward - backward) / all
        True
    """

    parameters: Electroweak = field(default_factory=Electroweak)
    columns: ClassVar[tuple[str, ...]] = ("cos_theta", "phi")

    def forward_backward_asymmetry(self, energy: ArrayLike) -> FloatArray:
        """Return A_FB = ¾ F₂ / F₁ at centre-of-mass energies in GeV; shape of the energies."""
        even, odd = self.parameters.structure(np.square(energy), LEPTON)
        return 0.75 * odd / even

    def cross_section(self, energy: ArrayLike) -> FloatArray:
        """Return the total cross section, 4πα² F₁ / 3s, in pb at centre-of-mass energies in GeV."""
        s = np.square(energy)
        even, _ = self.parameters.structure(s, LEPTON)
        return 4.0 * np.pi * self.parameters.alpha**2 / (3.0 * s) * even * PICOBARN

    def log_prob(self, x: ArrayLike, energy: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density.

        Args:
            x: cos θ and φ in radians, shape (n, 2).
            energy: centre-of-mass energies in GeV, shape (n,) or ().

        Returns:
            Log-densities in nats, shape (n,); minus infinity outside |cos θ| <= 1, |φ| <= π.
        """
        cosine, phi = columns_of(x, 2)
        asymmetry = self.forward_backward_asymmetry(energy)
        inside = (np.abs(cosine) <= 1.0) & (np.abs(phi) <= np.pi)
        return log_density((0.375 * (1.0 + cosine**2) + asymmetry * cosine) / (2.0 * np.pi), inside)

    def draw(self, energy: FloatArray, generator: np.random.Generator) -> FloatArray:
        """Draw cos θ and φ, one pair for each energy in GeV; shape (n, 2)."""
        n = len(energy)
        # |cos θ| has the cumulative distribution (c³ + 3c) / 4 whatever the asymmetry, which only decides the sign;
        # the cubic is solved by c = 2 sinh t, because 4 sinh³ t + 3 sinh t = sinh 3t.
        size = np.minimum(2.0 * np.sinh(np.arcsinh(2.0 * generator.random(n)) / 3.0), 1.0)
        tilt = self.forward_backward_asymmetry(energy) * size / (0.375 * (1.0 + size**2))
        sign = np.where(generator.random(n) < 0.5 * (1.0 + tilt), 1.0, -1.0)
        return np.stack([sign * size, random_angles(n, generator)], axis=1)

    def sample(self, n: int, energy: ArrayLike, *, seed: int) -> Events:
        """Draw events.

        Args:
            n: how many.
            energy: centre-of-mass energies in GeV, one for all or one each, shape () or (n,).
            seed: the same seed gives the same events.

        Returns:
            Events of a μ- and a μ+ with the condition "energy".
        """
        energies = energies_of(n, energy, low=2.0 * MUON_MASS, high=np.inf)
        x = self.draw(energies, random_source(seed))
        momenta = pair_momenta(energies, np.zeros(n), x[:, 0], x[:, 1])
        return Events(_MUONS, momenta, condition={"energy": energies}, metadata=provenance(self, seed, (11, -11)))

    def coordinates(self, events: Events) -> FloatArray:
        """Return cos θ and φ of events, shape (n, 2)."""
        return np.stack(kinematics.collins_soper_angles(events.particle("mu-"), events.particle("mu+")), axis=1)


@dataclass(frozen=True)
class DrellYan:
    r"""Muon pairs from proton and antiproton, p p̄ → γ*/Z → μ-μ+, with toy parton densities.

    .. math:: p(m, y, \cos\theta, \varphi \mid \sqrt s) \propto m^{-3} \sum_{q = u, d} \left\{
        f_q(x_1) f_q(x_2)\left[F_1^q (1 + c^2) + 2 F_2^q c\right]
        + \bar q(x_1) \bar q(x_2)\left[F_1^q (1 + c^2) - 2 F_2^q c\right]\right\}

    with :math:`x_{1,2} = (m / \sqrt s)\, e^{\pm y}`, c = cos θ, and momentum densities that do not evolve,

    .. math:: f_u = 2 x^{0.65} (1 - x)^{3.5} + \bar q, \quad f_d = 1.1\, x^{0.7} (1 - x)^{4.5} + \bar q, \quad
        \bar q = \tfrac14 x^{-0.25} (1 - x)^7.

    The proton flies along +z, and with it the quark, so mass and angle depend on each other through the asymmetry, and
    the range of the rapidity y grows with the energy. The pair has no transverse momentum.

    Args:
        parameters: masses and couplings.
        mass_range: lowest and highest mass of the pair in GeV.
        energy_range: lowest and highest centre-of-mass energy in GeV for which the normalisation is tabulated.

    Raises:
        InputError: ranges that are empty or overlap, or energies outside the range.

    Reference:
        Drell, Yan (1970), "Massive lepton-pair production in hadron-hadron collisions at high energies".

    Example:
        >>> events = DrellYan().sample(1000, energy=1960.0, seed=0)
        >>> mass = kinematics.mass(events.momenta.sum(axis=1))
        >>> bool(((mass > 40.0) & (mass < 200.0)).all())
        True
    """

    parameters: Electroweak = field(default_factory=Electroweak)
    mass_range: tuple[float, float] = (40.0, 200.0)
    energy_range: tuple[float, float] = (600.0, 14000.0)
    columns: ClassVar[tuple[str, ...]] = ("mass", "rapidity", "cos_theta", "phi")

    def __post_init__(self) -> None:
        bounds = (2.0 * MUON_MASS, *self.mass_range, *self.energy_range)
        if any(low >= high for low, high in pairwise(bounds)):
            raise InputError(f"Expected {bounds[0]:.3f} < masses < energies in GeV, in rising order; got {bounds[1:]}.")

    def log_prob(self, x: ArrayLike, energy: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density.

        Args:
            x: mass in GeV, rapidity, cos θ, φ in radians, shape (n, 4).
            energy: centre-of-mass energies in GeV, shape (n,) or ().

        Returns:
            Log-densities in nats per GeV and radian, shape (n,); minus infinity outside the support.
        """
        mass, y, cosine, phi = columns_of(x, 4)
        energies = energies_of(len(mass), energy, *self.energy_range)
        inside = (mass > self.mass_range[0]) & (mass < self.mass_range[1]) & (np.abs(phi) <= np.pi)
        inside &= (np.abs(cosine) <= 1.0) & (np.abs(y) < np.log(energies / np.where(mass > 0.0, mass, 1.0)))
        mass, y = np.where(inside, mass, self.mass_range[0]), np.where(inside, y, 0.0)
        return log_density(self._unnormalised(mass, y, cosine, energies), inside) - self._log_norm(energies)

    def draw(self, energy: FloatArray, generator: np.random.Generator) -> FloatArray:
        """Draw mass, rapidity, cos θ and φ, one row for each energy in GeV; shape (n, 4)."""
        x = np.empty((len(energy), 4))
        log_norm, bound = self._log_norm(energy), self._bound()
        todo = np.arange(len(energy))
        while todo.size:
            mass, y, cosine, density = self._propose(energy[todo], generator)
            ratio = self._unnormalised(mass, y, cosine, energy[todo]) / np.exp(log_norm[todo]) / density
            if (ratio > bound).any():
                raise NotConvergedError(f"The bound of the rejection, {bound:g}, was exceeded: {ratio.max():g}.")
            kept = generator.random(todo.size) * bound < ratio
            rows = todo[kept]
            x[rows] = np.stack([mass, y, cosine, random_angles(len(mass), generator)], axis=1)[kept]
            todo = todo[~kept]
        return x

    def sample(self, n: int, energy: ArrayLike, *, seed: int) -> Events:
        """Draw events by rejection.

        Args:
            n: how many.
            energy: centre-of-mass energies in GeV, one for all or one each, shape () or (n,).
            seed: the same seed gives the same events.

        Returns:
            Events of a μ- and a μ+ with the condition "energy".
        """
        energies = energies_of(n, energy, *self.energy_range)
        x = self.draw(energies, random_source(seed))
        momenta = pair_momenta(*x.T)
        return Events(_MUONS, momenta, condition={"energy": energies}, metadata=provenance(self, seed, (2212, -2212)))

    def coordinates(self, events: Events) -> FloatArray:
        """Return mass in GeV, rapidity, cos θ and φ of events, shape (n, 4)."""
        lepton, antilepton = events.particle("mu-"), events.particle("mu+")
        pair = lepton + antilepton
        angles = kinematics.collins_soper_angles(lepton, antilepton)
        return np.stack([kinematics.mass(pair), kinematics.rapidity(pair), *angles], axis=1)

    def _unnormalised(self, mass: Any, y: Any, cosine: Any, energy: Any) -> FloatArray:
        first, second = (np.minimum(mass / energy * np.exp(sign * y), 1.0) for sign in (1.0, -1.0))
        sea = _sea(first) * _sea(second)
        total = np.zeros(np.broadcast_shapes(*(np.shape(each) for each in (mass, y, cosine, energy))))
        for quark, valence in ((UP, _valence_up), (DOWN, _valence_down)):
            even, odd = self.parameters.structure(np.square(mass), quark)
            both = (valence(first) + _sea(first)) * (valence(second) + _sea(second))
            total = total + (both + sea) * even * (1.0 + cosine**2) + (both - sea) * odd * 2.0 * cosine
        return total / mass**3

    def _log_norm(self, energy: FloatArray) -> FloatArray:
        """Interpolate the logarithm of the integral over everything by a polynomial in log E; see the test of it."""
        low, high = np.log(self.energy_range)
        fit = np.polynomial.Chebyshev.interpolate(
            lambda logs: np.log([self.norm(each) for each in np.exp(logs)]), 24, [low, high]
        )
        return np.asarray(fit(np.log(energy)))

    def norm(self, energy: float) -> float:
        """Integrate the unnormalised density at one energy in GeV by Gauss-Legendre quadrature."""
        mass, mass_weights = _panels(self._edges(), 16)
        nodes, weights = np.polynomial.legendre.leggauss(64)
        widest = np.log(energy / mass)
        at_right_angle = self._unnormalised(mass[:, None], widest[:, None] * nodes, 0.0, energy)
        # Integrated over angles, 1 + cos² θ gives 2π 8/3 and the odd part nothing.
        return float(2.0 * np.pi * 8.0 / 3.0 * (mass_weights * widest) @ (at_right_angle @ weights))

    def _edges(self) -> FloatArray:
        """Return ends of intervals of the mass, narrow at the Z."""
        low, high = self.mass_range
        inner = self.parameters.z_mass + self.parameters.z_width * np.array([-8.0, -3.0, -1.0, 0.0, 1.0, 3.0, 8.0])
        return np.array([low, *inner[(inner > low) & (inner < high)], high])

    def _propose(self, energy: FloatArray, generator: np.random.Generator) -> tuple[FloatArray, ...]:
        """Draw mass, rapidity and cos θ from a simple density that covers the true one, and return it too."""
        n = len(energy)
        mass = np.where(
            generator.random(n) < 0.5, self._resonance(generator.random(n)), self._tail(generator.random(n))
        )
        widest = np.log(energy / mass)
        y, cosine = widest * generator.uniform(-1.0, 1.0, n), generator.uniform(-1.0, 1.0, n)
        return mass, y, cosine, self._proposal_density(mass) / (2.0 * widest * 2.0 * 2.0 * np.pi)

    def _phases(self) -> FloatArray:
        z = self.parameters
        return np.arctan((np.square(self.mass_range) - z.z_mass**2) / (z.z_mass * z.z_width))

    def _resonance(self, u: FloatArray) -> FloatArray:
        z, (low, high) = self.parameters, self._phases()
        return np.sqrt(z.z_mass**2 + z.z_mass * z.z_width * np.tan(low + (high - low) * u))

    def _tail(self, u: FloatArray) -> FloatArray:
        low, high = np.power(self.mass_range, -2.0)
        return np.asarray((low + (high - low) * u) ** -0.5)

    def _proposal_density(self, mass: FloatArray) -> FloatArray:
        """Return the density per GeV of half a Breit-Wigner resonance and half a falling power, m⁻³."""
        z, (low, high) = self.parameters, self._phases()
        width = z.z_mass * z.z_width
        resonance = 2.0 * mass * width / ((mass**2 - z.z_mass**2) ** 2 + width**2) / (high - low)
        first, last = np.power(self.mass_range, -2.0)
        return np.asarray(0.5 * resonance + 0.5 * 2.0 * mass**-3 / (first - last))

    def _bound(self) -> float:
        """Return an upper bound of density over proposal: the largest on a grid, a tenth more for what lies between."""
        mass = np.concatenate([self._resonance(np.linspace(0.0, 1.0, 60)), self._tail(np.linspace(0.0, 1.0, 30))])
        mass = np.clip(mass, *self.mass_range)
        energy = np.geomspace(*self.energy_range, 12)[:, None, None, None]
        widest = np.log(energy / mass[:, None, None])
        y, cosine = widest * np.linspace(-1.0, 1.0, 61)[:, None], np.linspace(-1.0, 1.0, 9)
        proposal = self._proposal_density(mass)[:, None, None] / (2.0 * widest * 2.0 * 2.0 * np.pi)
        norm = np.exp(self._log_norm(energy))
        return float(1.1 * (self._unnormalised(mass[:, None, None], y, cosine, energy) / norm / proposal).max())


def pair_momenta(mass: FloatArray, rapidity: FloatArray, cosine: FloatArray, phi: FloatArray) -> FloatArray:
    """Return the momenta of a muon pair without transverse momentum.

    Args:
        mass: masses of the pair in GeV, shape (n,).
        rapidity: its rapidities.
        cosine: cos θ of the μ- in the rest frame of the pair.
        phi: its azimuth there, in radians.

    Returns:
        (E, px, py, pz) of μ- and μ+ in GeV, shape (n, 2, 4).
    """
    size = np.sqrt(mass**2 / 4.0 - MUON_MASS**2)
    sine = np.sqrt(np.maximum(1.0 - cosine**2, 0.0))
    direction = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=1)
    across, along = size[:, None] * direction[:, :2], size * direction[:, 2]
    momenta = np.empty((len(mass), 2, 4))
    for k, sign in enumerate((1.0, -1.0)):
        momenta[:, k, 0] = mass / 2.0 * np.cosh(rapidity) + sign * along * np.sinh(rapidity)
        momenta[:, k, 1:3] = sign * across
        momenta[:, k, 3] = mass / 2.0 * np.sinh(rapidity) + sign * along * np.cosh(rapidity)
    return momenta


def _valence_up(x: FloatArray) -> FloatArray:
    return 2.0 * x**0.65 * (1.0 - x) ** 3.5


def _valence_down(x: FloatArray) -> FloatArray:
    return 1.1 * x**0.7 * (1.0 - x) ** 4.5


def _sea(x: FloatArray) -> FloatArray:
    return 0.25 * x**-0.25 * (1.0 - x) ** 7


def _panels(edges: FloatArray, order: int) -> tuple[FloatArray, FloatArray]:
    """Return nodes and weights of Gauss-Legendre quadrature on adjoining intervals."""
    nodes, weights = np.polynomial.legendre.leggauss(order)
    middle, half = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges) / 2.0
    return (middle[:, None] + half[:, None] * nodes).ravel(), (half[:, None] * weights).ravel()
