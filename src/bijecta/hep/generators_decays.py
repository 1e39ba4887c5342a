"""More generators with exact densities: three jets, the decay of the muon, and a mixture with negative weights."""

from dataclasses import dataclass
from math import factorial, pi
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bijecta.errors import InputError
from bijecta.hep.events import Events
from bijecta.hep.generators import MUON_MASS
from bijecta.hep.generators_arrays import columns_of, energies_of, log_density, provenance, random_source
from bijecta.hep.kinematics import boost, mass
from bijecta.hep.schema import Condition, EventSchema, Particle

FloatArray = NDArray[np.float64]

FERMI_CONSTANT = 1.1663788e-5  # GeV⁻²

_JETS = EventSchema(
    (Particle("quark", 1, 0.0), Particle("antiquark", -1, 0.0), Particle("gluon", 21, 0.0)),
    condition=(Condition("energy"),),
)
_DECAY = EventSchema((Particle("e-", 11, 0.0), Particle("nu_mu", 14, 0.0), Particle("nubar_e", -12, 0.0)))


@dataclass(frozen=True)
class ThreeJets:
    r"""Quark, antiquark and gluon from electron and positron, e+e- → q q̄ g, at lowest order.

    .. math:: p(x_1, x_2) \propto \frac{x_1^2 + x_2^2}{(1 - x_1)(1 - x_2)}, \qquad 1 - x_i > y_c

    with x_i = 2 E_i / √s for quark, antiquark and gluon, x₁ + x₂ + x₃ = 2. The orientation of the event is isotropic.

    Args:
        cut: y_c, which keeps collinear and soft gluons away.

    Raises:
        InputError: a cut that is not between 0 and 1/3.

    Reference:
        Ellis, Gaillard, Ross (1976), "Search for gluons in e+e- annihilation".

    Example:
        >>> round(ThreeJets(cut=0.05).norm(), 5)
        8.64768
        >>> ThreeJets().sample(10, energy=91.2, seed=0).schema.slots
        ('quark', 'antiquark', 'gluon')
    """

    cut: float = 0.05
    columns: ClassVar[tuple[str, ...]] = ("x_quark", "x_antiquark")

    def __post_init__(self) -> None:
        if not 0.0 < self.cut < 1.0 / 3.0:
            raise InputError(f"cut: expected a number between 0 and 1/3; got {self.cut}.")

    def norm(self) -> float:
        """Integrate the unnormalised density by Gauss-Legendre quadrature in the logarithms of 1 - x."""
        nodes, weights = np.polynomial.legendre.leggauss(80)
        nodes, weights = (nodes + 1.0) / 2.0, weights / 2.0
        range_first = np.log((1.0 - 2.0 * self.cut) / self.cut)
        first = self.cut * np.exp(range_first * nodes)
        range_second = np.log((1.0 - self.cut - first) / self.cut)
        second = self.cut * np.exp(range_second[:, None] * nodes)
        numerator = (1.0 - first[:, None]) ** 2 + (1.0 - second) ** 2
        return float((range_first * weights * range_second) @ (numerator @ weights))

    def log_prob(self, x: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density.

        Args:
            x: the energy fractions of quark and antiquark, shape (n, 2).

        Returns:
            Log-densities in nats, shape (n,); minus infinity beyond the cuts.
        """
        first, second = 1.0 - columns_of(x, 2)
        inside = (first > self.cut) & (second > self.cut) & (1.0 - first - second > self.cut)
        product = np.where(inside, first * second, 1.0)
        return log_density(((1.0 - first) ** 2 + (1.0 - second) ** 2) / product, inside) - np.log(self.norm())

    def draw(self, n: int, generator: np.random.Generator) -> FloatArray:
        """Draw energy fractions of quark and antiquark, shape (n, 2)."""
        found = np.empty((0, 2))
        while len(found) < n:
            # The denominators are taken by drawing 1 - x from 1 / (1 - x); the numerator is below 2.
            rest = self.cut * ((1.0 - 2.0 * self.cut) / self.cut) ** generator.random((4 * n, 2))
            x = 1.0 - rest
            kept = (rest.sum(axis=1) < 1.0 - self.cut) & (2.0 * generator.random(4 * n) < (x**2).sum(axis=1))
            found = np.concatenate([found, x[kept]])
        return found[:n]

    def sample(self, n: int, energy: ArrayLike, *, seed: int) -> Events:
        """Draw events.

        Args:
            n: how many.
            energy: centre-of-mass energies in GeV, one for all or one each, shape () or (n,).
            seed: the same seed gives the same events.

        Returns:
            Events of massless quark, antiquark and gluon with the condition "energy".
        """
        energies, generator = energies_of(n, energy, 0.0, np.inf), random_source(seed)
        x = self.draw(n, generator)
        fractions = np.column_stack([x, 2.0 - x.sum(axis=1)])
        cosine = 1.0 - 2.0 * (1.0 - fractions[:, 2]) / (x[:, 0] * x[:, 1])  # between quark and antiquark
        first, second = _right_angled(n, generator)
        direction = cosine[:, None] * first + np.sqrt(np.maximum(1.0 - cosine**2, 0.0))[:, None] * second
        quark, antiquark = x[:, :1] * first, x[:, 1:] * direction
        three = np.stack([quark, antiquark, -quark - antiquark], axis=1)
        momenta = np.concatenate([fractions[..., None], three], axis=2) * energies[:, None, None] / 2.0
        return Events(_JETS, momenta, condition={"energy": energies}, metadata=provenance(self, seed, (11, -11)))

    def coordinates(self, events: Events) -> FloatArray:
        """Return the energy fractions of quark and antiquark, shape (n, 2)."""
        energies = events.momenta[:, :, 0]
        return np.asarray(2.0 * energies[:, :2] / energies.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class MuonDecay:
    r"""The decay of a muon at rest, μ- → e- ν_μ ν̄_e, with a massless electron.

    .. math:: \overline{|M|^2} = 64\, G_F^2\, (p_\mu p_{\bar\nu_e})(p_e p_{\nu_\mu}), \qquad
        \Gamma = \frac{G_F^2 m_\mu^5}{192 \pi^3}, \qquad p(x, \bar x) = 12\, \bar x (1 - \bar x)

    with x and x̄ the energies of electron and ν̄_e in units of half the muon mass; phase space is flat in them.

    Reference:
        Michel (1950), "Interaction between four half-spin particles and the decay of the μ-meson".

    Example:
        >>> float(MuonDecay().michel_spectrum(1.0))
        2.0
        >>> MuonDecay().sample(5, seed=0).momenta.sum(axis=1).round(6)[0].tolist()[0]
        0.105658
    """

    columns: ClassVar[tuple[str, ...]] = ("x_electron", "x_antineutrino")

    def width(self) -> float:
        """Return the decay width in GeV."""
        return float(FERMI_CONSTANT**2 * MUON_MASS**5 / (192.0 * pi**3))

    def squared_amplitude(self, momenta: FloatArray) -> FloatArray:
        """Return the squared amplitude, averaged over spins, of momenta (n, 3, 4) in the order of the schema."""
        electron, neutrino, antineutrino = np.moveaxis(momenta, 1, 0)
        product = mass(electron + neutrino) ** 2 / 2.0
        return np.asarray(64.0 * FERMI_CONSTANT**2 * MUON_MASS * antineutrino[:, 0] * product)

    def michel_spectrum(self, x: ArrayLike) -> FloatArray:
        """Return the density 2x²(3 - 2x) of the energy of the electron in units of half the muon mass."""
        x = np.asarray(x, dtype=np.float64)
        return np.where((x >= 0.0) & (x <= 1.0), 2.0 * x**2 * (3.0 - 2.0 * x), 0.0)

    def log_prob(self, x: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density.

        Args:
            x: the energies of e- and ν̄_e in units of half the muon mass, shape (n, 2).

        Returns:
            Log-densities in nats, shape (n,); minus infinity where energy and momentum forbid the decay.
        """
        electron, antineutrino = columns_of(x, 2)
        inside = (electron <= 1.0) & (antineutrino <= 1.0) & (electron + antineutrino >= 1.0)
        return log_density(12.0 * antineutrino * (1.0 - antineutrino), inside)

    def sample(self, n: int, *, seed: int) -> Events:
        """Draw events: points of flat phase space, kept in proportion to the squared amplitude.

        Args:
            n: how many.
            seed: the same seed gives the same events.

        Returns:
            Events of e-, ν_μ and ν̄_e in the rest frame of the muon.
        """
        generator = random_source(seed)
        # (p_μ p_ν̄)(p_e p_ν) = m⁴ x̄ (1 - x̄) / 4 is largest at x̄ = ½.
        largest = 4.0 * FERMI_CONSTANT**2 * MUON_MASS**4
        found = np.empty((0, 3, 4))
        while len(found) < n:
            momenta = rambo(3, MUON_MASS, 2 * n + 16, generator)
            kept = largest * generator.random(len(momenta)) < self.squared_amplitude(momenta)
            found = np.concatenate([found, momenta[kept]])
        return Events(_DECAY, found[:n], metadata=provenance(self, seed, (13,)))

    def coordinates(self, events: Events) -> FloatArray:
        """Return the energies of e- and ν̄_e in units of half the muon mass, shape (n, 2)."""
        return np.asarray(events.momenta[:, [0, 2], 0] * 2.0 / MUON_MASS)


@dataclass(frozen=True)
class SignedMixture:
    r"""Points in the plane with weights +1 and -1, as a calculation beyond lowest order gives them.

    .. math:: p(x) = \frac{(1 - f)\, N(x; 0, 1) - f\, N(x; 0, \sigma^2)}{1 - 2 f}

    The weighted sample has the positive density p, with a hole at the origin that only the negative weights dig.

    Args:
        fraction: f, the share of negative weights.
        width: σ of the negative part.

    Raises:
        InputError: settings for which p would be negative somewhere.

    Reference:
        Stienen, Verheyen (2021), "Phase space sampling and inference from weighted events with autoregressive flows".

    Example:
        >>> points, weight = SignedMixture().sample(1000, seed=0)
        >>> points.shape, sorted(set(weight.tolist()))
        ((1000, 2), [-1.0, 1.0])
    """

    fraction: float = 0.15
    width: float = 0.5
    columns: ClassVar[tuple[str, ...]] = ("x", "y")

    def __post_init__(self) -> None:
        if not (0.0 < self.width < 1.0 and 0.0 <= self.fraction / self.width**2 < 1.0 - self.fraction):
            raise InputError(
                f"The density must be positive: expected 0 < width < 1 and fraction / width² < 1 - fraction; "
                f"got fraction {self.fraction}, width {self.width}."
            )

    def log_prob(self, x: ArrayLike) -> FloatArray:
        """Evaluate the exact log-density in nats at points of shape (n, 2)."""
        square = (columns_of(x, 2) ** 2).sum(axis=0)
        # Relative to the positive part, so that nothing underflows far out.
        removed = self.fraction / (1.0 - self.fraction) / self.width**2 * np.exp(-square / 2.0 * (self.width**-2 - 1.0))
        scale = (1.0 - self.fraction) / (1.0 - 2.0 * self.fraction) / (2.0 * pi)
        return np.asarray(np.log1p(-removed) + np.log(scale) - square / 2.0)

    def sample(self, n: int, *, seed: int) -> tuple[FloatArray, FloatArray]:
        """Draw n weighted points.

        Args:
            n: how many.
            seed: the same seed gives the same points.

        Returns:
            Points (n, 2) and weights (n,), each +1 or -1.
        """
        generator = random_source(seed)
        negative = generator.random(n) < self.fraction
        points = generator.standard_normal((n, 2)) * np.where(negative, self.width, 1.0)[:, None]
        return points, np.where(negative, -1.0, 1.0)

    def sample_unweighted(self, n: int, *, seed: int) -> FloatArray:
        """Draw n points of the density itself, without weights, shape (n, 2)."""
        generator = random_source(seed)
        found = np.empty((0, 2))
        while len(found) < n:
            points = generator.standard_normal((2 * n + 16, 2))
            normal = -(points**2).sum(axis=1) / 2.0 - np.log(2.0 * pi)
            bound = (1.0 - self.fraction) / (1.0 - 2.0 * self.fraction)
            kept = bound * generator.random(len(points)) < np.exp(self.log_prob(points) - normal)
            found = np.concatenate([found, points[kept]])
        return found[:n]


def rambo(particles: int, energy: float, n: int, generator: np.random.Generator) -> FloatArray:
    r"""Draw points of massless phase space, all with the same weight, `rambo_volume`.

    Isotropic momenta with energies from x e^(-x) are boosted into their common rest frame and scaled to the energy.

    Args:
        particles: number of particles, at least 2.
        energy: centre-of-mass energy in GeV.
        n: number of points.
        generator: source of randomness.

    Returns:
        (E, px, py, pz) in GeV, shape (n, particles, 4); each point adds up to (energy, 0, 0, 0).

    Raises:
        InputError: fewer than two particles.

    Reference:
        Kleiss, Stirling, Ellis (1986), "A new Monte Carlo treatment of multiparticle phase space at high energies".

    Example:
        >>> rambo(3, 100.0, 5, np.random.default_rng(0)).sum(axis=1).round(9)[0].tolist()[0]
        100.0
    """
    if particles < 2:
        raise InputError(f"Phase space needs at least 2 particles; got {particles}.")
    energies = generator.gamma(2.0, size=(n, particles))
    directions = _isotropic((n, particles), generator)
    momenta = energies[..., None] * np.concatenate([np.ones((n, particles, 1)), directions], axis=2)
    total = momenta.sum(axis=1)
    velocity = np.broadcast_to((-total[:, 1:] / total[:, :1])[:, None], directions.shape)
    return np.asarray(boost(momenta, velocity) * (energy / mass(total))[:, None, None])


def rambo_volume(particles: int, energy: float) -> float:
    r"""Return the volume of massless phase space, the weight of every point of `rambo`.

    .. math:: V_n = \left(\frac{\pi}{2}\right)^{n-1} \frac{s^{n-2}}{(n-1)!\,(n-2)!}\, (2\pi)^{4-3n}

    Args:
        particles: number n of particles, at least 2.
        energy: centre-of-mass energy √s in GeV.

    Returns:
        The volume in GeV^(2n-4), with the factors of 2π of a cross section.

    Reference:
        Kleiss, Stirling, Ellis (1986), "A new Monte Carlo treatment of multiparticle phase space at high energies".

    Example:
        >>> rambo_volume(2, 91.2) == 1.0 / (8.0 * np.pi)
        True
    """
    power = energy ** (2 * particles - 4) * (2.0 * pi) ** (4 - 3 * particles)
    return float((pi / 2.0) ** (particles - 1) * power / (factorial(particles - 1) * factorial(particles - 2)))


def _isotropic(shape: tuple[int, ...], generator: np.random.Generator) -> FloatArray:
    directions = generator.standard_normal((*shape, 3))
    return np.asarray(directions / np.linalg.norm(directions, axis=-1, keepdims=True))


def _right_angled(n: int, generator: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw two orthogonal unit vectors of random orientation."""
    first, other = _isotropic((n,), generator), _isotropic((n,), generator)
    second = np.cross(first, other)
    return first, np.asarray(second / np.linalg.norm(second, axis=1, keepdims=True))
