"""Decay chains: the momenta of the last particles as masses and angles of the decays that made them.

A chain is a binary tree of particles, such as ((b, (lepton, neutrino)), (antib, (quark, antiquark))). A decay is
described in the rest frame of the parent. The frame of a daughter has its z axis along her flight and its x axis in the
plane of that flight and the parent's z axis (helicity frames); the frame of the whole system is that of Collins and
Soper. One decay after the other is an isotropic direction in flat phase space, so the ladj is a sum of two-body terms.
Particles whose mass differs from event to event (mass None) have it as a further coordinate, after all others.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.bijections.base import check_features
from bijecta.errors import InputError
from bijecta.hep import kinematics
from bijecta.hep.decay_tree import ROOTS, Decay, column_names, read_tree, slots_of

Columns = dict[str, Tensor]
Masses = Sequence[float | None]


def describe(tree: Decay, momenta: Tensor, root: str = "free", free: Sequence[int] = ()) -> Tensor:
    """Compute the coordinates of a decay chain from four-momenta.

    Args:
        tree: the decay of the whole system.
        momenta: (E, px, py, pz) in GeV, shape (..., k, 4), in the order of the slots.
        root: as in `column_names`.
        free: the slots whose masses are coordinates too.

    Returns:
        The coordinates that `column_names` lists, then the free masses, in GeV and radians, shape (..., D).

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.

    Example:
        >>> muons = torch.tensor([[5.0, 3.0, 0.0, 4.0], [5.0, -3.0, 0.0, -4.0]])
        >>> describe(read_tree(("mu-", "mu+"), ("mu-", "mu+")), muons, "at_rest")
        tensor([0.8000, 0.0000])
    """
    names = column_names(tree, root)
    leaves = momenta[..., list(tree.slots), :]
    columns: Columns = {}
    if root != "at_rest":
        leaves = _bring_to_rest(leaves, columns, transverse=root == "free")
    _describe_decay(tree, leaves, columns)
    columns[names[len(ROOTS[root]) + 1]] = columns.pop(f"phi({tree.name})")
    columns["cos_theta"] = columns.pop(f"cos_theta({tree.name})")
    own = [kinematics.mass(momenta[..., slot, :]) for slot in free]
    return torch.stack([*(columns[name] for name in names), *own], -1)


def realise(tree: Decay, coordinates: Tensor, masses: Masses, energy: Tensor | None = None) -> Tensor:
    """Compute the four-momenta of a decay chain from its coordinates: the inverse of `describe`.

    Args:
        tree: the decay of the whole system.
        coordinates: as `describe` gives them, shape (..., D); D says how the system moves.
        masses: mass in GeV of every slot, None where it is a coordinate.
        energy: for a system at rest its mass in GeV, shape (...).

    Returns:
        Four-momenta in GeV, on their mass shells, shape (..., k, 4).

    Raises:
        InputError: no energy for a system at rest.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.

    Example:
        >>> tree = read_tree(("mu-", "mu+"), ("mu-", "mu+"))
        >>> realise(tree, torch.tensor([0.8, 0.0]), (0.0, 0.0), torch.tensor(10.0))[0]
        tensor([5.0000, 3.0000, 0.0000, 4.0000])
    """
    chain, own = _split(tree, coordinates, masses)
    root = _root_of(tree, chain.shape[-1])
    if root == "at_rest" and energy is None:
        raise InputError("A system at rest needs its energy: pass energy=... in GeV.")
    names = column_names(tree, root)
    columns = dict(zip(names, chain.unbind(-1), strict=True))
    azimuth = columns[names[len(ROOTS[root]) + 1]]
    columns |= {f"cos_theta({tree.name})": columns["cos_theta"], f"phi({tree.name})": azimuth}
    columns[f"mass({tree.name})"] = columns["mass"] if energy is None else energy
    leaves = _realise_decay(tree, columns, own)
    if root != "at_rest":
        leaves = _set_in_motion(leaves, columns, transverse=root == "free")
    restored = leaves[..., sorted(range(len(tree.slots)), key=tree.slots.__getitem__), :]
    return on_shell(restored[..., 1:], own)


def on_shell(momenta: Tensor, masses: Sequence[float] | Tensor) -> Tensor:
    r"""Put the energy before momenta: :math:`E = \sqrt{m^2 + \mathbf p^2}`.

    Args:
        momenta: (px, py, pz) in GeV, shape (..., k, 3).
        masses: mass in GeV of each of the k particles, shape (k,) or (..., k).

    Returns:
        (E, px, py, pz) in GeV, shape (..., k, 4).

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> on_shell(torch.tensor([[3.0, 4.0, 0.0]]), [12.0])
        tensor([[13.,  3.,  4.,  0.]])
    """
    square = momenta.square().sum(-1) + torch.as_tensor(masses, dtype=momenta.dtype, device=momenta.device) ** 2
    return torch.cat([square.sqrt().unsqueeze(-1), momenta], -1)


def log_phase_space(tree: Decay, coordinates: Tensor, masses: Masses, energy: Tensor | None = None) -> Tensor:
    r"""Compute the log of the phase-space element per unit of the coordinates of a decay chain.

    .. math:: \prod_i \frac{d^3 p_i}{2 E_i} = d^4 P\, \prod_n \frac{k_n}{4 M_n}\, d\cos\theta_n\, d\phi_n\,
        \prod_{n \ne \text{system}} 2 M_n\, dM_n, \qquad d^4 P = m\, p_T\, dm\, dp_T\, dy\, d\phi

    The factor d⁴P is there for a free system only: otherwise (part of) P is fixed. A free mass m_i is a coordinate
    on both sides: its dm_i changes nothing.

    Args:
        tree: the decay of the whole system.
        coordinates: as `describe` gives them, shape (..., D).
        masses: mass in GeV of every slot, None where it is a coordinate.
        energy: for a system at rest its mass in GeV, shape (...).

    Returns:
        The log, shape (...); energies in GeV.

    Reference:
        Byckling, Kajantie (1973), "Particle kinematics", chapter VI.

    Example:
        >>> tree = read_tree(("e-", "e+"), ("e-", "e+"))
        >>> log_phase_space(tree, torch.zeros(2), (0.0, 0.0), torch.tensor(91.2)).exp()  # k / 4M of massless ones
        tensor(0.1250)
    """
    chain, own = _split(tree, coordinates, masses)
    root = _root_of(tree, chain.shape[-1])
    columns = dict(zip(column_names(tree, root), chain.unbind(-1), strict=True))
    columns[f"mass({tree.name})"] = columns["mass"] if energy is None else energy
    total = torch.log(columns["mass"] * columns["pt"]) if root == "free" else coordinates.new_zeros(())
    for decay in tree.walk():
        mass, (first, second) = columns[f"mass({decay.name})"], _daughter_masses(decay, columns, own)
        total = total + torch.log(two_body_momentum(mass, first, second) / (4.0 * mass))
        if decay is not tree:
            total = total + torch.log(2.0 * mass)
    return total


def two_body_momentum(mass: Tensor, first: Tensor, second: Tensor) -> Tensor:
    r"""Return the momentum of two daughters in the rest frame of their parent; 0 where the decay is forbidden.

    .. math:: k = \frac{1}{2M} \sqrt{(M - m_1 - m_2)(M + m_1 + m_2)(M - m_1 + m_2)(M + m_1 - m_2)}

    Args:
        mass: mass M of the parent in GeV.
        first: mass of one daughter in GeV.
        second: mass of the other daughter in GeV.

    Returns:
        k in GeV.

    Reference:
        Particle Data Group (2024), "Review of particle physics", section "Kinematics".

    Example:
        >>> two_body_momentum(torch.tensor(10.0), torch.tensor(3.0), torch.tensor(3.0))
        tensor(4.)
    """
    above = (mass - first - second) * (mass + first + second)
    square = above * (mass - first + second) * (mass + first - second)
    positive = above > 0.0
    return torch.where(positive, torch.where(positive, square, 1.0).sqrt() / (2.0 * mass), 0.0)


class DecayChain(Bijection):
    r"""Map the momenta of a decay chain to its masses and angles.

    .. math:: \log|\det| = -\sum_i \log 2 E_i - \log(m\, p_T) - \sum_n \log\frac{k_n}{4 M_n}
        - \sum_{n \ne \text{system}} \log 2 M_n

    Data are (px, py, pz) of each particle side by side, in GeV; the latent is what `column_names` lists for a system
    that moves freely. With two leptons it is (m, pT, y, φ, cos θ, φ) of the Collins-Soper frame. Masses that are None
    are further columns of both, after all others, in the order of the names.

    Args:
        tree: nested pairs of the names.
        names: the names of the particles, in the order of the data.
        masses: their masses in GeV, None where a mass differs from event to event.

    Raises:
        InputError: a tree that does not hold every particle once.

    Reference:
        Collins, Soper (1977), "Angular distribution of dileptons in high-energy hadron collisions".

    Example:
        >>> pair = DecayChain(("mu-", "mu+"), ("mu-", "mu+"), (0.1057, 0.1057))
        >>> mass, pt, *_ = pair.forward(torch.tensor([30.0, 0.0, 10.0, -20.0, 0.0, 10.0]))
        >>> round(float(pt), 4)
        10.0
    """

    def __init__(self, tree: Any, names: Sequence[str], masses: Masses) -> None:
        super().__init__()
        self.tree, self.masses = read_tree(tree, names), tuple(masses)
        self.features = 3 * len(self.masses) + self.masses.count(None)

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(x, self.features)
        three, own = _split(self.tree, x, self.masses)
        momenta = on_shell(three.unflatten(-1, (-1, 3)), own)
        # The free masses are taken over as they are: computed from momenta they would lose digits.
        z = torch.cat([describe(self.tree, momenta), x[..., three.shape[-1] :]], -1)
        return z, -self._log_element(z, momenta)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        check_features(z, self.features)
        momenta = realise(self.tree, z, self.masses)
        three = momenta[..., 1:].flatten(-2)
        return torch.cat([three, z[..., three.shape[-1] :]], -1), self._log_element(z, momenta)

    def _log_element(self, z: Tensor, momenta: Tensor) -> Tensor:
        return log_phase_space(self.tree, z, self.masses) + torch.log(2.0 * momenta[..., 0]).sum(-1)


def _split(tree: Decay, coordinates: Tensor, masses: Masses) -> tuple[Tensor, Tensor]:
    """Take the free masses off, and return the other coordinates and the masses of all slots, shape (..., k)."""
    free = [slot for slot in range(len(tree.slots)) if masses[slot] is None]
    chain = coordinates[..., : coordinates.shape[-1] - len(free)]
    known = coordinates.new_tensor([mass or 0.0 for mass in masses]).expand(*coordinates.shape[:-1], -1)
    if not free:
        return chain, known
    slots = torch.tensor(free, device=coordinates.device)
    return chain, known.index_copy(-1, slots, coordinates[..., chain.shape[-1] :])


def _root_of(tree: Decay, columns: int) -> str:
    missing = 3 * len(tree.slots) - columns
    roots = {0: "free", 2: "along_beam", 4: "at_rest"}
    if missing not in roots:
        raise InputError(
            f"{len(tree.slots)} particles have {3 * len(tree.slots)} coordinates, or 2 or 4 fewer; got {columns}."
        )
    return roots[missing]


def _bring_to_rest(leaves: Tensor, columns: Columns, *, transverse: bool) -> Tensor:
    """Enter the Collins-Soper frame: turn the momentum of the system to the x axis, boost along z, then along x."""
    total = leaves.sum(-2)
    mass, pt = kinematics.mass(total), kinematics.pt(total)
    columns |= {"mass": mass, "rapidity": kinematics.rapidity(total)}
    if not transverse:
        return _boosted(leaves, 3, columns["rapidity"].cosh(), -columns["rapidity"].sinh())
    columns |= {"pt": pt, "phi": kinematics.azimuth(total)}
    leaves = _turned_about_z(leaves, columns["phi"].cos(), -columns["phi"].sin())
    leaves = _boosted(leaves, 3, columns["rapidity"].cosh(), -columns["rapidity"].sinh())
    return _boosted(leaves, 1, torch.hypot(mass, pt) / mass, -pt / mass)


def _set_in_motion(leaves: Tensor, columns: Mapping[str, Tensor], *, transverse: bool) -> Tensor:
    if transverse:
        mass, pt = columns["mass"], columns["pt"]
        leaves = _boosted(leaves, 1, torch.hypot(mass, pt) / mass, pt / mass)
    leaves = _boosted(leaves, 3, columns["rapidity"].cosh(), columns["rapidity"].sinh())
    return _turned_about_z(leaves, columns["phi"].cos(), columns["phi"].sin()) if transverse else leaves


def _describe_decay(decay: Decay, leaves: Tensor, columns: Columns) -> None:
    """Enter the angles of a decay, from momenta in the rest frame of the parent, and go on with the daughters."""
    first = len(slots_of(decay.daughters[0]))
    parts = leaves[..., :first, :], leaves[..., first:, :]
    total = parts[0].sum(-2)
    sine = kinematics.pt(total)
    columns[f"cos_theta({decay.name})"] = (total[..., 3] / torch.hypot(sine, total[..., 3])).clamp(-1.0, 1.0)
    columns[f"phi({decay.name})"] = kinematics.azimuth(total)
    for daughter, part in zip(decay.daughters, parts, strict=True):
        if isinstance(daughter, Decay):
            total = part.sum(-2)
            mass, pt = kinematics.mass(total), kinematics.pt(total)
            size, safe = torch.hypot(pt, total[..., 3]), torch.where(pt > 0.0, pt, 1.0)
            along_x = torch.where(pt > 0.0, total[..., 1] / safe, 1.0)
            turned = _turned_about_z(part, along_x, -total[..., 2] / safe)
            turned = _turned_about_y(turned, total[..., 3] / size, -pt / size)
            columns[f"mass({daughter.name})"] = mass
            _describe_decay(daughter, _boosted(turned, 3, total[..., 0] / mass, -size / mass), columns)


def _realise_decay(decay: Decay, columns: Mapping[str, Tensor], masses: Tensor) -> Tensor:
    """Return the momenta of all that comes out of a decay in the rest frame of the parent, shape (..., n, 4)."""
    cosine, phi = columns[f"cos_theta({decay.name})"], columns[f"phi({decay.name})"]
    sine = ((1.0 - cosine) * (1.0 + cosine)).clamp(min=0.0).sqrt()
    mother, own = columns[f"mass({decay.name})"], _daughter_masses(decay, columns, masses)
    size = two_body_momentum(mother, *own).expand_as(cosine)
    parts = []
    for daughter, mass, sign in zip(decay.daughters, own, (1.0, -1.0), strict=True):
        if isinstance(daughter, Decay):
            inside = _realise_decay(daughter, columns, masses)
            part = _boosted(inside, 3, torch.hypot(mass, size) / mass, size / mass)
        else:
            part = torch.stack([torch.hypot(mass, size), 0.0 * size, 0.0 * size, size], -1).unsqueeze(-2)
        part = _turned_about_y(part, sign * cosine, sine)
        parts.append(_turned_about_z(part, sign * phi.cos(), sign * phi.sin()))
    return torch.cat(parts, -2)


def _daughter_masses(decay: Decay, columns: Mapping[str, Tensor], masses: Tensor) -> list[Tensor]:
    return [
        columns[f"mass({daughter.name})"] if isinstance(daughter, Decay) else masses[..., daughter]
        for daughter in decay.daughters
    ]


def _boosted(p: Tensor, axis: int, cosh: Tensor, sinh: Tensor) -> Tensor:
    """Boost momenta (..., n, 4) along a coordinate axis; cosh and sinh of the rapidity have shape (...)."""
    cosh, sinh = cosh.unsqueeze(-1), sinh.unsqueeze(-1)
    parts = list(p.unbind(-1))
    parts[0], parts[axis] = cosh * parts[0] + sinh * parts[axis], sinh * parts[0] + cosh * parts[axis]
    return torch.stack(parts, -1)


def _turned_about_z(p: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    cosine, sine = cosine.unsqueeze(-1), sine.unsqueeze(-1)
    energy, x, y, z = p.unbind(-1)
    return torch.stack([energy, cosine * x - sine * y, sine * x + cosine * y, z], -1)


def _turned_about_y(p: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    cosine, sine = cosine.unsqueeze(-1), sine.unsqueeze(-1)
    energy, x, y, z = p.unbind(-1)
    return torch.stack([energy, cosine * x + sine * z, y, cosine * z - sine * x], -1)
