"""The processes of the page Events: generators whose density is known exactly, and the flows that suit them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import InputError
from bijecta.hep import DrellYan, Events, MuonPairs, ThreeJets, standard_observables

FloatArray = NDArray[np.float64]
Z_BOSON = (91.1876, 2.4952)  # mass and width in GeV


@dataclass(frozen=True)
class Collision:
    """A generator and the flow that learns it.

    Attributes:
        title: what collides, and what comes out.
        generator: draws events and knows their density.
        energies: energies of the collision in GeV to look at; training is from the first to the last.
        shown: title -> observable, a column of the generator or a name of `standard_observables`.
        resonance: mass and width in GeV of a resonance in the energy.
        masses: shapes of masses, as `measure_coordinates` takes them.
        recipe: arguments of `event_flow`.
        training: settings of `FitConfig`.
    """

    title: str
    generator: MuonPairs | DrellYan | ThreeJets
    energies: tuple[float, ...]
    shown: Mapping[str, str]
    resonance: tuple[float, float] | None = None
    masses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_asymmetry(self) -> bool:
        """Whether there is a formula for the forward-backward asymmetry."""
        return isinstance(self.generator, MuonPairs)

    def draw(self, n: int, seed: int) -> Events:
        """Draw n events to train on, at energies between the ends: evenly in ln E, or near a resonance more closely."""
        share = np.random.default_rng(seed).random(n)
        low, high = self.energies[0], self.energies[-1]
        if self.resonance is None:
            return self.generator.sample(n, low * (high / low) ** share, seed=seed)
        mass, width = self.resonance
        ends = np.arcsinh((np.array([low, high]) - mass) / width)
        energy = np.clip(mass + width * np.sinh(ends[0] + (ends[1] - ends[0]) * share), low, high)
        return self.generator.sample(n, energy, seed=seed)

    def log_prob(self, events: Events) -> FloatArray:
        r"""Evaluate the exact log-density in the coordinates of the flow, in nats per GeV and radian.

        Three jets have their density in energy fractions. With the mass m of antiquark and gluon and the angle of the
        antiquark in their frame, :math:`x_q = 1 - m^2 / s` and :math:`x_{\bar q} - x_g = x_q \cos\theta^*`, so

        .. math:: \left|\frac{\partial(x_q, x_{\bar q})}{\partial(m, \cos\theta^*)}\right| = \frac{m\, x_q}{s},

        and the three other angles, evenly distributed, have the density :math:`1 / 8\pi^2`.

        Args:
            events: events of the generator's schema, shape (n,).

        Returns:
            Log-densities (n,).
        """
        x, energy = self.generator.coordinates(events), events.condition["energy"]
        if not isinstance(self.generator, ThreeJets):
            return self.generator.log_prob(x, energy)
        mass = energy * np.sqrt(np.maximum(1.0 - x[:, 0], 1e-12))
        return self.generator.log_prob(x) + np.log(mass * x[:, 0] / energy**2) - np.log(8.0 * np.pi**2)

    def measure(self, events: Events) -> dict[str, FloatArray]:
        """Measure what is shown: title -> (n,)."""
        columns = dict(zip(self.generator.columns, self.generator.coordinates(events).T, strict=True))
        known = standard_observables(events.schema)
        return {title: columns[name] if name in columns else known[name](events) for title, name in self.shown.items()}


COLLISIONS: Mapping[str, Collision] = {
    "muon-pairs": Collision(
        "e⁺e⁻ → μ⁺μ⁻ across the Z",
        MuonPairs(),
        (40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 83.0, 85.0, 87.0, 89.0, 90.0, 91.2, 92.0, 93.0, 94.0, 96.0, 98.0, 100.0,
         105.0, 110.0, 115.0, 120.0, 130.0, 140.0, 150.0, 160.0, 180.0, 200.0),
        {"cos θ of the μ⁻": "cos_theta", "φ of the μ⁻ (rad)": "phi", "transverse momentum of the μ⁻ (GeV)": "pt(mu-)",
         "rapidity of the μ⁻": "y(mu-)"},
        resonance=Z_BOSON,
        recipe={"layers": 1, "hidden": [32, 32], "bins": 4, "activation": "tanh"},
        training={"batch_size": 1024, "learning_rate": 1e-2},
    ),
    "drell-yan": Collision(
        "p p̄ → μ⁺μ⁻ with toy parton densities",
        DrellYan(),
        (600.0, 800.0, 1000.0, 1300.0, 1960.0, 2500.0, 3500.0, 5000.0, 7000.0, 8000.0, 10000.0, 12000.0, 14000.0),
        {"mass of the pair (GeV)": "mass", "rapidity of the pair": "rapidity", "cos θ of the μ⁻": "cos_theta",
         "transverse momentum of the μ⁻ (GeV)": "pt(mu-)"},
        masses={"mass": {"kind": "breit_wigner", "mass": Z_BOSON[0], "width": Z_BOSON[1], "low": 40.0, "high": 200.0}},
        recipe={"layers": 6, "hidden": [64, 64], "bins": 12},
        training={"batch_size": 1024},
    ),
    "three-jets": Collision(
        "e⁺e⁻ → quark, antiquark, gluon",
        ThreeJets(),
        (20.0, 35.0, 50.0, 91.2, 133.0, 161.0, 189.0, 206.0, 350.0, 500.0),
        {"energy fraction of the quark": "x_quark", "energy fraction of the antiquark": "x_antiquark",
         "mass of quark and antiquark (GeV)": "m(quark antiquark)",
         "transverse momentum of the gluon (GeV)": "pt(gluon)"},
        recipe={"layers": 6, "hidden": [64, 64], "bins": 16},
        training={"batch_size": 1024},
    ),
}  # fmt: skip
"""The processes by the names that `bijecta hep generate` has for them."""


def collision(name: str) -> Collision:
    """Look a process up; an InputError names those that there are."""
    if name not in COLLISIONS:
        raise InputError(f"There is no process {name!r}. Choose one of {', '.join(COLLISIONS)}.")
    return COLLISIONS[name]
