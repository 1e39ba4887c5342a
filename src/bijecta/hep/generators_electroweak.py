"""Fermion pairs through a photon or a Z: the formulas of lowest order, in NumPy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

PICOBARN = 0.3893793721e9  # (ħc)² in GeV² pb


@dataclass(frozen=True)
class Fermion:
    """The electric charge in units of e and the weak isospin of a left-handed fermion."""

    charge: float
    isospin: float


LEPTON = Fermion(-1.0, -0.5)
UP = Fermion(2.0 / 3.0, 0.5)
DOWN = Fermion(-1.0 / 3.0, -0.5)


@dataclass(frozen=True)
class Electroweak:
    r"""The constants of the neutral current.

    The Z propagates with a width that grows with energy,

    .. math:: \chi(s) = \frac{1}{4 s_W^2 c_W^2}\,\frac{s}{s - M_Z^2 + i s \Gamma_Z / M_Z}.

    Args:
        z_mass: mass of the Z in GeV.
        z_width: width of the Z in GeV.
        sin2_theta: s_W² of the overall coupling.
        sin2_effective: s_W² of the vector couplings of fermions.
        alpha: electromagnetic coupling at the mass of the Z.

    Reference:
        ALEPH, DELPHI, L3, OPAL, SLD (2006), "Precision electroweak measurements on the Z resonance".

    Example:
        >>> bool(abs(Electroweak().propagator(91.1876**2)) > 10.0)
        True
    """

    z_mass: float = 91.1876
    z_width: float = 2.4952
    sin2_theta: float = 0.2312
    sin2_effective: float = 0.2315
    alpha: float = 1.0 / 127.918

    def propagator(self, s: ArrayLike) -> NDArray[np.complex128]:
        """Return χ, the Z propagator relative to the photon's, for squared energies in GeV²; shape of s."""
        s = np.asarray(s, dtype=np.float64)
        scale = 4.0 * self.sin2_theta * (1.0 - self.sin2_theta)
        return np.asarray(s / (s - self.z_mass**2 + 1j * s * self.z_width / self.z_mass) / scale)

    def couplings(self, fermion: Fermion) -> tuple[float, float]:
        """Return the vector and the axial coupling, v = T₃ - 2 Q s² and a = T₃."""
        return fermion.isospin - 2.0 * fermion.charge * self.sin2_effective, fermion.isospin

    def structure(self, s: ArrayLike, incoming: Fermion, outgoing: Fermion = LEPTON) -> tuple[FloatArray, FloatArray]:
        r"""Return F₁ and F₂ of fermion pair → γ*/Z → fermion pair, all fermions massless.

        .. math:: \frac{d\sigma}{d\cos\theta} = \frac{\pi\alpha^2}{2 s}
            \left[F_1 (1 + \cos^2\theta) + 2 F_2\cos\theta\right]

        Args:
            s: squared energies of the pair in GeV², any shape.
            incoming: the fermion of the initial pair; θ is the angle between the two fermions.
            outgoing: the fermion of the final pair.

        Returns:
            F₁ and F₂, without units, each of the shape of s.
        """
        chi = self.propagator(s)
        charges = incoming.charge * outgoing.charge
        (v_in, a_in), (v_out, a_out) = self.couplings(incoming), self.couplings(outgoing)
        even = charges**2 + 2.0 * charges * v_in * v_out * chi.real
        even += (v_in**2 + a_in**2) * (v_out**2 + a_out**2) * np.abs(chi) ** 2
        odd = 2.0 * charges * a_in * a_out * chi.real + 4.0 * v_in * a_in * v_out * a_out * np.abs(chi) ** 2
        return even, odd
