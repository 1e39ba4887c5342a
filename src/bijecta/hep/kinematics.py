"""Relativistic kinematics: pure functions of four-momenta (E, px, py, pz), for NumPy arrays and tensors alike.

The four components are the last axis; all other axes are free. Energies in GeV, angles in radians, the beams along z.
Roots and quotients have finite values and derivatives where a momentum vanishes, as it does for absent particles.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Numbers = TypeVar("Numbers", NDArray[np.float64], torch.Tensor)


def pt(p: Numbers) -> Numbers:
    r"""Return the transverse momentum.

    .. math:: p_T = \sqrt{p_x^2 + p_y^2}

    Args:
        p: four-momenta in GeV, shape (..., 4).

    Returns:
        Transverse momenta in GeV, shape (...).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> float(pt(np.array([13.0, 3.0, 4.0, 12.0])))
        5.0
    """
    return _root(p, p[..., 1] ** 2 + p[..., 2] ** 2)


def mass(p: Numbers) -> Numbers:
    r"""Return the invariant mass; 0 where rounding made its square negative.

    .. math:: m = \sqrt{(E - |\mathbf p|)(E + |\mathbf p|)}

    Args:
        p: four-momenta in GeV, shape (..., 4).

    Returns:
        Masses in GeV, shape (...).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> float(mass(np.array([13.0, 3.0, 4.0, 0.0])))
        12.0
    """
    momentum = _root(p, (p[..., 1:] ** 2).sum(-1))
    return _root(p, (p[..., 0] - momentum) * (p[..., 0] + momentum))


def azimuth(p: Numbers) -> Numbers:
    r"""Return the angle around the beam.

    .. math:: \phi = \operatorname{atan2}(p_y, p_x)

    Args:
        p: four-momenta in GeV, shape (..., 4).

    Returns:
        Angles in [-π, π], shape (...); 0 for a vanishing momentum.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> float(azimuth(np.array([2.0, 0.0, 1.0, 0.0]))) == np.pi / 2
        True
    """
    return _namespace(p).arctan2(p[..., 2], p[..., 1])


def rapidity(p: Numbers) -> Numbers:
    r"""Return the rapidity along the beam.

    .. math:: y = \operatorname{arsinh}(p_z / m_T), \qquad m_T^2 = E^2 - p_z^2

    Args:
        p: four-momenta in GeV, shape (..., 4).

    Returns:
        Rapidities, shape (...); 0 for a vanishing momentum, ±inf for a massless one along the beam.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> round(float(rapidity(np.array([np.cosh(1.5), 0.0, 0.0, np.sinh(1.5)]))), 12)
        1.5
    """
    return _area_sine(p, _root(p, (p[..., 0] - p[..., 3]) * (p[..., 0] + p[..., 3])))


def pseudorapidity(p: Numbers) -> Numbers:
    r"""Return the pseudorapidity, the rapidity that a massless particle of this direction would have.

    .. math:: \eta = \operatorname{arsinh}(p_z / p_T) = -\ln\tan(\theta / 2)

    Args:
        p: four-momenta in GeV, shape (..., 4).

    Returns:
        Pseudorapidities, shape (...); 0 for a vanishing momentum, ±inf along the beam.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> round(float(pseudorapidity(np.array([5.0, 1.0, 0.0, np.sinh(2.0)]))), 12)
        2.0
    """
    return _area_sine(p, pt(p))


def four_momentum(pt: Numbers, eta: Numbers, phi: Numbers, mass: Numbers) -> Numbers:
    r"""Return the four-momentum of given transverse momentum, pseudorapidity, azimuth and mass.

    .. math:: p = (\sqrt{m^2 + p_T^2 \cosh^2\eta},\; p_T\cos\phi,\; p_T\sin\phi,\; p_T\sinh\eta)

    Args:
        pt: transverse momenta in GeV, shape (...).
        eta: pseudorapidities.
        phi: azimuths in radians.
        mass: masses in GeV.

    Returns:
        Four-momenta in GeV, shape (..., 4).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> p = four_momentum(np.array(5.0), np.array(0.0), np.array(0.0), np.array(12.0))
        >>> float(p[0])
        13.0
    """
    xp = _namespace(pt)
    energy = xp.hypot(mass, pt * xp.cosh(eta))
    return xp.stack([energy, pt * xp.cos(phi), pt * xp.sin(phi), pt * xp.sinh(eta)], -1)


def boost(p: Numbers, velocity: Numbers) -> Numbers:
    r"""Boost four-momenta: what is at rest moves with the velocity afterwards.

    .. math:: E' = \gamma (E + \boldsymbol\beta\mathbf p), \qquad
        \mathbf p' = \mathbf p
        + \boldsymbol\beta\gamma\left(\tfrac{\gamma}{\gamma + 1}\boldsymbol\beta\mathbf p + E\right)

    Args:
        p: four-momenta in GeV, shape (..., 4).
        velocity: β in units of the speed of light, |β| < 1, shape (..., 3). `-q[..., 1:] / q[..., :1]` leads to the
            rest frame of q.

    Returns:
        Four-momenta in GeV, shape (..., 4).

    Reference:
        Jackson (1998), "Classical electrodynamics", chapter 11.

    Example:
        >>> moving = boost(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.0, 0.0, 0.6]))
        >>> moving.round(12).tolist()
        [1.25, 0.0, 0.0, 0.75]
    """
    gamma = 1.0 / _namespace(p).sqrt(1.0 - (velocity**2).sum(-1))
    along = (velocity * p[..., 1:]).sum(-1)
    energy = gamma * (p[..., 0] + along)
    shift = gamma * (gamma / (gamma + 1.0) * along + p[..., 0])
    return _namespace(p).concatenate([energy[..., None], p[..., 1:] + shift[..., None] * velocity], -1)


def delta_phi(p: Numbers, q: Numbers) -> Numbers:
    r"""Return the difference of azimuths on the circle.

    Args:
        p: four-momenta in GeV, shape (..., 4).
        q: four-momenta in GeV, shape (..., 4).

    Returns:
        Azimuth of p minus azimuth of q in radians, in [-π, π), shape (...).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> a, b = (np.array([1.0, np.cos(phi), np.sin(phi), 0.0]) for phi in (3.0, -3.0))
        >>> round(float(delta_phi(a, b)), 6)  # 6 - 2 π
        -0.283185
    """
    return (azimuth(p) - azimuth(q) + np.pi) % (2.0 * np.pi) - np.pi


def delta_r(p: Numbers, q: Numbers) -> Numbers:
    r"""Return the angular distance that jet algorithms use.

    .. math:: \Delta R = \sqrt{(\eta_p - \eta_q)^2 + (\phi_p - \phi_q)^2}

    Args:
        p: four-momenta in GeV, shape (..., 4).
        q: four-momenta in GeV, shape (..., 4).

    Returns:
        Distances, shape (...).

    Reference:
        Cacciari, Salam, Soyez (2008), "The anti-kt jet clustering algorithm".

    Example:
        >>> a = four_momentum(*(np.array(value) for value in (20.0, 0.3, 0.4, 0.0)))
        >>> b = four_momentum(*(np.array(value) for value in (50.0, 0.0, 0.0, 0.0)))
        >>> round(float(delta_r(a, b)), 12)
        0.5
    """
    return _root(p, (pseudorapidity(p) - pseudorapidity(q)) ** 2 + delta_phi(p, q) ** 2)


def collins_soper_angles(lepton: Numbers, antilepton: Numbers) -> tuple[Numbers, Numbers]:
    r"""Return the direction of the lepton in the Collins-Soper frame of the pair.

    .. math:: \cos\theta = \frac{(E_1 + p_{z1})(E_2 - p_{z2}) - (E_1 - p_{z1})(E_2 + p_{z2})}{2 k \sqrt{m^2 + p_T^2}},
        \qquad \tan\phi = \frac{\sqrt{m^2 + p_T^2}}{m}\,\frac{\Delta\cdot\hat R}{\Delta\cdot\hat q_T}

    with m and pT of the pair, k² = m²/4 - m_lepton², Δ the difference of the two transverse momenta, q̂ the direction
    of their sum and R̂ = ẑ × q̂. The frame is the rest frame of the pair; its z axis halves the angle between one beam
    and the reverse of the other, its x axis has the direction of the transverse momentum of the pair (the x axis of
    the laboratory where that vanishes).

    Args:
        lepton: four-momenta in GeV, shape (..., 4).
        antilepton: four-momenta in GeV, shape (..., 4); of the same mass as the lepton.

    Returns:
        cos θ and φ in [-π, π], each of shape (...).

    Reference:
        Collins, Soper (1977), "Angular distribution of dileptons in high-energy hadron collisions".

    Example:
        >>> lepton = np.array([5.0, 3.0, 0.0, 4.0])
        >>> cosine, phi = collins_soper_angles(lepton, lepton * np.array([1, -1, -1, -1]))
        >>> float(cosine), float(phi)
        (0.8, 0.0)
    """
    xp = _namespace(lepton)
    pair = lepton + antilepton
    pair_mass, phi_pair = mass(pair), azimuth(pair)
    transverse_mass = _root(pair, pair_mass**2 + pair[..., 1] ** 2 + pair[..., 2] ** 2)
    up = (lepton[..., 0] + lepton[..., 3]) * (antilepton[..., 0] - antilepton[..., 3])
    down = (lepton[..., 0] - lepton[..., 3]) * (antilepton[..., 0] + antilepton[..., 3])
    scale = 2.0 * _root(pair, pair_mass**2 / 4.0 - mass(lepton) ** 2) * transverse_mass
    cosine = (up - down) / xp.where(scale > 0.0, scale, 1.0)
    x, y = (lepton - antilepton)[..., 1], (lepton - antilepton)[..., 2]
    along = (x * xp.cos(phi_pair) + y * xp.sin(phi_pair)) * pair_mass
    across = (y * xp.cos(phi_pair) - x * xp.sin(phi_pair)) * transverse_mass
    return cosine, xp.arctan2(across, along)


def _namespace(values: Any) -> Any:
    """Return the module whose functions take these values: their names and orders of arguments agree."""
    return torch if isinstance(values, torch.Tensor) else np


def _root(p: Any, square: Any) -> Any:
    """Return the root of what is positive and 0 elsewhere, with derivative 0 there instead of infinity."""
    xp = _namespace(p)
    positive = square > 0.0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, 1.0)), 0.0)


def _area_sine(p: Any, transverse: Any) -> Any:
    """Return arsinh(pz / transverse), ±inf or 0 where there is nothing transverse."""
    xp = _namespace(p)
    pz, positive = p[..., 3], transverse > 0.0
    along = xp.where(pz > 0.0, np.inf, xp.where(pz < 0.0, -np.inf, 0.0))
    return xp.where(positive, xp.arcsinh(pz / xp.where(positive, transverse, 1.0)), along)
