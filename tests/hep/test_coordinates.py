"""Coordinates against autograd, and against formulas that were derived elsewhere."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from bijecta.bijections import Bijection
from bijecta.errors import InputError
from bijecta.hep import rambo as rambo_points
from bijecta.hep import rambo_volume
from bijecta.hep.coordinates_collider import BoundedRapidity, PartonFractions, RelativeAzimuth
from bijecta.hep.coordinates_mass import BreitWigner, MassExcess, PowerLaw
from bijecta.hep.decay import DecayChain, describe, log_phase_space, on_shell, realise
from bijecta.hep.decay_tree import read_tree
from bijecta.hep.kinematics import collins_soper_angles, mass, pt, rapidity
from bijecta.hep.rambo_on_diet import RamboMasses

LEPTONS = (("mu-", "mu+"), ("mu-", "mu+"), (0.1057, 0.1057))
TOPS = (
    (("b", ("l+", "nu")), ("bbar", ("q", "qbar"))),
    ("b", "l+", "nu", "bbar", "q", "qbar"),
    (4.8, 0.1057, 0.0, 4.8, 0.5, 0.3),
)


def uniform(low: float, high: float, columns: int = 1) -> Tensor:
    return low + (high - low) * torch.rand(64, columns, dtype=torch.float64)


def joined(*columns: Tensor) -> Tensor:
    return torch.cat(columns, -1)


def momenta(particles: int) -> Tensor:
    return 40.0 * torch.randn(64, 3 * particles, dtype=torch.float64)


ENERGIES = [500.0, 2000.0]
CASES: dict[str, tuple[Bijection, Tensor]] = {}
torch.manual_seed(5)
CASES["breit wigner"] = BreitWigner(91.1876, 2.4952, 40.0, 200.0), uniform(41.0, 199.0)
for power in (-1.0, 0.0, 1.0, 1.0 + 1e-9, 3.0):
    CASES[f"power {power}"] = PowerLaw(power, 40.0, 200.0), uniform(41.0, 199.0)
CASES["excess"] = MassExcess(4.8, 2), joined(uniform(350.0, 900.0), uniform(80.0, 170.0, 2))
CASES["rapidity"] = BoundedRapidity(transverse=False), joined(uniform(-1.5, 1.5), uniform(40.0, 100.0))
CASES["rapidity with pT"] = (
    BoundedRapidity(transverse=True),
    joined(uniform(-1.0, 1.0), uniform(40.0, 100.0), uniform(0.1, 60.0)),
)
CASES["azimuths"] = RelativeAzimuth(3), uniform(-3.1, 3.1, 3)
CASES["partons"] = PartonFractions(), uniform(0.01, 0.99, 2)
CASES["rambo 3"] = RamboMasses(3), uniform(1.0, 499.0)
CASES["rambo 5"] = RamboMasses(5), joined(uniform(300.0, 499.0), uniform(100.0, 290.0), uniform(5.0, 90.0))
CASES["lepton pair"] = DecayChain(*LEPTONS), momenta(2)
CASES["top pair"] = DecayChain(*TOPS), momenta(6)
every_case = pytest.mark.parametrize("name", CASES)


def context() -> Tensor:
    return torch.tensor(ENERGIES, dtype=torch.float64).log().repeat(32)[:, None]


def determinant(function, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    z = function(x)
    rows = [torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in range(z.shape[-1])]
    return torch.linalg.slogdet(torch.stack(rows, -2)).logabsdet


@every_case
def test_ladj_is_the_determinant_of_the_autograd_jacobian(name):
    bijection, x = CASES[name]
    z, ladj = bijection.forward_and_ladj(x, context())
    assert ladj.shape == (64,)
    torch.testing.assert_close(ladj, determinant(lambda x: bijection.forward(x, context()), x), atol=1e-8, rtol=1e-8)
    _, back = bijection.inverse_and_ladj(z, context())
    expected = determinant(lambda z: bijection.inverse(z, context()), z)
    torch.testing.assert_close(back, expected, atol=1e-8, rtol=1e-8)


@every_case
def test_round_trip(name):
    bijection, x = CASES[name]
    z, ladj = bijection.forward_and_ladj(x, context())
    back, opposite = bijection.inverse_and_ladj(z, context())
    torch.testing.assert_close(back, x, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(opposite, -ladj, atol=1e-8, rtol=1e-8)


@every_case
def test_float32_agrees_with_float64(name):
    bijection, x = CASES[name]
    z, ladj = bijection.forward_and_ladj(x, context())
    single, ladj32 = bijection.forward_and_ladj(x.float(), context().float())
    assert single.dtype == ladj32.dtype == torch.float32
    torch.testing.assert_close(single.double(), z, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(ladj32.double(), ladj, atol=5e-3, rtol=5e-3)
    assert bijection.inverse(single, context().float()).isfinite().all()


def test_breit_wigner_flattens_the_line_shape():
    """The density of masses drawn evenly in z is the relativistic line shape."""
    layer = BreitWigner(91.1876, 2.4952, 60.0, 120.0)
    masses = torch.tensor([[70.0], [91.1876], [91.1876 + 1.2476], [110.0]], dtype=torch.float64)
    density = layer.forward_and_ladj(masses)[1].exp()
    shape = masses / ((masses**2 - 91.1876**2) ** 2 + (91.1876 * 2.4952) ** 2)
    torch.testing.assert_close(density / density[0], (shape / shape[0]).squeeze(-1))
    assert layer.inverse(torch.tensor([[-1.0], [1.0]])).flatten().tolist() == pytest.approx([60.0, 120.0], rel=1e-6)


def test_lepton_pair_is_the_collins_soper_frame():
    """Against the angles from light-cone components, which know nothing of boosts."""
    x, chain = momenta(2), DecayChain(*LEPTONS)
    pair = on_shell(x.unflatten(-1, (2, 3)), chain.masses)
    total = pair.sum(1)
    cosine, phi = collins_soper_angles(pair[:, 0], pair[:, 1])
    expected = [mass(total), pt(total), rapidity(total), torch.atan2(total[:, 2], total[:, 1]), cosine, phi]
    torch.testing.assert_close(chain.forward(x), torch.stack(expected, -1), atol=1e-9, rtol=1e-9)


def test_top_pairs_have_the_masses_of_their_daughters():
    x = momenta(6)
    chain = DecayChain(*TOPS)
    z = chain.forward(x)
    p = realise(chain.tree, z, chain.masses)
    torch.testing.assert_close(z[:, 6], mass(p[:, :3].sum(1)))
    torch.testing.assert_close(z[:, 9], mass(p[:, 1:3].sum(1)))
    torch.testing.assert_close(
        mass(p), torch.tensor(chain.masses, dtype=torch.float64).expand(64, 6), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("root", ["free", "along_beam", "at_rest"])
def test_a_rotation_about_the_beam_changes_one_coordinate(root):
    tree = read_tree(*TOPS[:2])
    start = describe(tree, realise(tree, _coordinates(tree, root), TOPS[2], _energy(root)), root)
    p = realise(tree, start, TOPS[2], _energy(root))
    turned = p.clone()
    turned[..., 1], turned[..., 2] = -p[..., 2], p[..., 1]
    changed = (describe(tree, turned, root) - start).abs().amax(0) > 1e-8
    assert changed.sum() == 1
    assert changed[3 if root == "free" else {"along_beam": 3, "at_rest": 1}[root]]


def _coordinates(tree, root):
    free = DecayChain(*TOPS).forward(momenta(6))
    below = free[:, 4:]
    if root == "free":
        return free
    return below if root == "at_rest" else torch.cat([free[:, :1], free[:, 2:3], below], -1)


def _energy(root):
    return torch.full((64,), 5000.0, dtype=torch.float64) if root == "at_rest" else None


def test_momentum_is_conserved_and_on_shell_in_float32():
    tree = read_tree(*TOPS[:2])
    z, energy = _coordinates(tree, "at_rest").float(), torch.full((64,), 5000.0)
    p = realise(tree, z, TOPS[2], energy)
    square = p[..., 0] ** 2 - (p[..., 1:] ** 2).sum(-1)
    wanted = torch.tensor(TOPS[2]) ** 2
    assert ((square - wanted).abs() / p[..., 0] ** 2).max() <= 1e-6
    assert (p.sum(1)[:, 1:].abs() / 5000.0).max() <= 1e-5
    assert (p.sum(1)[:, 0] / 5000.0 - 1.0).abs().max() <= 1e-5


@pytest.mark.parametrize("particles", [3, 4, 6])
def test_rambo_on_diet_is_flat_with_the_known_volume(particles):
    """Every point of the cube has the weight V_n, and points of the older algorithm come back evenly spread."""
    tree = read_tree(_nested(particles), [str(i) for i in range(particles)])
    p = torch.tensor(rambo_points(particles, 100.0, 4000, np.random.default_rng(1)))
    z = describe(tree, p, "at_rest")
    columns = list(range(2, z.shape[-1], 3))
    energy = torch.full((4000,), 100.0, dtype=torch.float64)
    flat, ladj = RamboMasses(particles).forward_and_ladj(z[:, columns], energy.log()[:, None])
    weight = log_phase_space(tree, z, (0.0,) * particles, energy) - ladj
    volume = rambo_volume(particles, 100.0) * (2.0 * math.pi) ** (3 * particles - 4)
    cube = 2.0 ** (particles - 2) * (4.0 * math.pi) ** (particles - 1)
    torch.testing.assert_close(weight.exp() * cube, torch.full_like(weight, volume), rtol=1e-6, atol=0)
    for column in flat.unbind(-1):
        gap = (column.sort().values - torch.linspace(-1.0, 1.0, 4000)).abs().max() / 2.0
        assert gap < 1.95 / 4000**0.5


def _nested(particles: int):
    tree = (str(particles - 2), str(particles - 1))
    for number in range(particles - 3, -1, -1):
        tree = (str(number), tree)
    return tree


def test_partons_meet_at_the_mass_and_rapidity_of_their_pair():
    tau, y = PartonFractions().forward(torch.tensor([0.2, 0.05], dtype=torch.float64))
    energy = 13000.0
    pair = energy / 2.0 * torch.tensor([[0.2, 0.0, 0.0, 0.2], [0.05, 0.0, 0.0, -0.05]], dtype=torch.float64).sum(0)
    assert float(mass(pair)) == pytest.approx(float((tau * energy**2).sqrt()))
    assert float(rapidity(pair)) == pytest.approx(float(y))


@pytest.mark.parametrize("tree", ["b", ("b", "l+"), (("b", "l+"), "b"), ("b", "l+", "nu"), [["b", "l+"], 3]])
def test_a_tree_must_hold_every_particle_once(tree):
    with pytest.raises(InputError, match="nested pairs with each of b, l"):
        read_tree(tree, ("b", "l+", "nu"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: BreitWigner(0.0, 1.0, 1.0, 2.0),
        lambda: BreitWigner(91.0, 2.0, 5.0, 2.0),
        lambda: PowerLaw(1.0, 0.0, 2.0),
        lambda: RamboMasses(2),
        lambda: BoundedRapidity(transverse=False).forward(torch.ones(3, 2)),
        lambda: realise(read_tree(("a", "b"), ("a", "b")), torch.zeros(2), (0.0, 0.0)),
        lambda: realise(read_tree(("a", "b"), ("a", "b")), torch.zeros(5), (0.0, 0.0)),
        lambda: describe(read_tree(("a", "b"), ("a", "b")), torch.zeros(2, 4), "sideways"),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(InputError):
        make()
