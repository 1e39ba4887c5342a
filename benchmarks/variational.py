"""Where densities are given and not data, or live on a sphere: posteriors, four particles, events on the earth.

    python benchmarks/variational.py posteriors|particles|sphere|gaps

posteriors: means and spreads of weighted draws against 10,000 reference draws, in standard errors of both together.
particles: the four particles of DW4, whose energies are compared with those of a Monte Carlo chain; fitted without
    data, and to the states of that chain, turned, reflected and numbered at random.
sphere: test negative log-likelihood of floods and fires, in nats per unit area, over random 80/10/10 splits.
gaps: toys with gaps, from a normal and from a resampled base, as distance to the exact entropy in nats.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import HalfCauchy

from bijecta.data import toy
from bijecta.distributions import double_well_particles
from bijecta.flows import Flow, nsf, realnvp, sphere
from bijecta.training import FitConfig, fit, fit_variational, sample_importance
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared" / "data"
SPLITS = 3
SPHERE = FitConfig(epochs=60, batch_size=256, patience=12, learning_rate=3e-3)
POSTERIOR = FitConfig(epochs=10, steps_per_epoch=100, batch_size=128, learning_rate=3e-3, patience=0)
PARTICLES = FitConfig(epochs=15, steps_per_epoch=100, batch_size=256, learning_rate=2e-3, patience=0)
STATES = FitConfig(epochs=40, batch_size=512, learning_rate=2e-3, patience=0)
GAPS = FitConfig(epochs=25, batch_size=256, patience=0, learning_rate=5e-3)


def eight_schools(x: Tensor) -> Tensor:
    """Effects as mu + tau * eta, with the logarithm of tau and its Jacobian."""
    y, sigma = (column.to(x) for column in _columns("eight_schools-eight_schools_centered", "y", "sigma"))
    mu, log_tau, eta = x[:, 0], x[:, 1], x[:, 2:]
    theta = mu[:, None] + log_tau.exp()[:, None] * eta
    prior = -0.5 * (mu / 5).square() + HalfCauchy(5.0).log_prob(log_tau.exp()) + log_tau - 0.5 * eta.square().sum(-1)
    return prior - 0.5 * ((y - theta) / sigma).square().sum(-1)


def regression(x: Tensor) -> Tensor:
    """Predict the score of a child from the IQ of its mother; sigma by its logarithm."""
    score, iq = (column.to(x) for column in _columns("kidiq-kidscore_momiq", "kid_score", "mom_iq"))
    sigma = x[:, 2:].exp()
    residual = (score - x[:, :1] - x[:, 1:2] * iq) / sigma
    prior = HalfCauchy(2.5).log_prob(sigma[:, 0]) + x[:, 2]
    return prior - 0.5 * residual.square().sum(-1) - len(score) * x[:, 2]


def _columns(posterior: str, *names: str) -> list[Tensor]:
    data = json.loads((DATA / "posteriordb" / posterior / "data.json").read_text())
    return [torch.tensor(data[name], dtype=torch.float64) for name in names]


def posteriors() -> list[dict[str, object]]:
    """Fit two small Bayesian models."""
    schools = lambda x: torch.cat([x[:, :1] + x[:, 1:2].exp() * x[:, 2:], x[:, :1], x[:, 1:2].exp()], -1)  # noqa: E731
    scores = lambda x: torch.cat([x[:, :2], x[:, 2:].exp()], -1)  # noqa: E731
    start = torch.tensor([80.0, 0.0, 3.0])
    return [
        _posterior("eight_schools-eight_schools_centered", eight_schools, schools, 10, None),
        _posterior("kidiq-kidscore_momiq", regression, scores, 3, start),
    ]


def _posterior(
    name: str,
    density: Callable[[Tensor], Tensor],
    translate: Callable[[Tensor], Tensor],
    features: int,
    start: Tensor | None,
) -> dict[str, object]:
    reference = torch.as_tensor(np.load(DATA / "posteriordb" / name / "draws.npz")["draws"]).double().flatten(0, 1)
    torch.manual_seed(0)
    flow = nsf(features, layers=4)
    found = fit_variational(flow, density, start=start, config=POSTERIOR)
    sample = sample_importance(flow.double(), density, 1, draws=40_000)
    values, weight = translate(sample.draws), sample.weight
    mean = weight @ values
    spread = (weight @ (values - mean).square()).sqrt()
    error = reference.std(0) * (1 / sample.effective_sample_size + 1 / len(reference)) ** 0.5
    return {
        "posterior": name,
        "largest error of a mean / its standard error": float(((mean - reference.mean(0)) / error).abs().max()),
        "largest ratio of spreads": float((spread / reference.std(0)).log().abs().max().exp()),
        "effective fraction": sample.effective_sample_size / 40_000,
        "tail shape": sample.tail_shape,
        "log evidence": sample.log_evidence,
        "its error": sample.log_evidence_error,
        "lower bound": -found.fit.best_loss,
    }


def particles() -> list[dict[str, object]]:
    """Fit DW4 with one and with eight samples per bound, and to states of a chain; compare mean energies."""
    x = torch.as_tensor(np.load(DATA / "boltzmann" / "train_split_DW4.npz")["x"]).double().reshape(-1, 4, 2)
    x = x - x.mean(1, keepdim=True)
    flows = {}
    for samples in (1, 8):
        torch.manual_seed(0)
        flow = flows[f"no data, {samples} per bound"] = nsf(8, layers=8)
        fit_variational(flow, double_well_particles, samples=samples, config=PARTICLES)
    torch.manual_seed(0)
    flow = flows["states of the chain"] = nsf(8, layers=8)
    fit(flow, _moved(x).flatten(1).float(), config=STATES)
    chain = -double_well_particles(x.flatten(1))
    return [{"fitted to": name} | _energies(flow, chain) for name, flow in flows.items()]


def _moved(x: Tensor) -> Tensor:
    """Turn, reflect, number and place particles at random: the energy does not see it, but for the place."""
    angle = 2 * math.pi * torch.rand(len(x), dtype=x.dtype)
    mirror = torch.where(torch.rand(len(x)) < 0.5, 1.0, -1.0)
    across, up = torch.stack([angle.cos(), angle.sin()], -1), torch.stack([-angle.sin(), angle.cos()], -1)
    turned = x @ torch.stack([across, mirror[:, None] * up], -1)
    numbered = turned.gather(1, torch.rand(x.shape[:2]).argsort(1)[:, :, None].expand_as(x))
    return numbered + 0.5 * torch.randn(len(x), 1, 2, dtype=x.dtype)


def _energies(flow: Flow, chain: Tensor) -> dict[str, object]:
    sample = sample_importance(flow, double_well_particles, 1, draws=100_000)
    positions = sample.draws.double().reshape(-1, 4, 2)
    energy = -double_well_particles((positions - positions.mean(1, keepdim=True)).flatten(1))
    mean = sample.weight @ energy
    return {
        "energy": float(mean),
        "its error": float((sample.weight.square() @ (energy - mean).square()) ** 0.5),
        "energy of the chain": float(chain.mean()),
        "effective fraction": sample.effective_sample_size / len(energy),
        "tail shape": sample.tail_shape,
        "log evidence": sample.log_evidence,
        "error of the log evidence": sample.log_evidence_error,
    }


def events() -> list[dict[str, object]]:
    """Fit floods and fires on the sphere."""
    return [_event(name) for name in ("flood", "fire")]


def _event(name: str) -> dict[str, object]:
    latitude, longitude = np.deg2rad(np.load(DATA / "earth" / f"{name}.npz")["latlon"]).T
    circle = np.cos(latitude)
    x = np.stack([circle * np.cos(longitude), circle * np.sin(longitude), np.sin(latitude)], -1)
    losses = [_split(torch.as_tensor(x).float(), seed) for seed in range(SPLITS)]
    return {
        "events": name,
        "rows": len(x),
        "test NLL": float(np.mean(losses)),
        "spread over splits": float(np.std(losses, ddof=1)),
        "uniform": math.log(4 * math.pi),
        "splits": SPLITS,
    }


def _split(x: Tensor, seed: int) -> float:
    """Train on 80 %, stop by 10 %, test on 10 %."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    test, rest = order.tensor_split([len(x) // 10])
    torch.manual_seed(seed)
    flow = sphere(layers=8, bins=16)
    settings = {**SPHERE.to_json(), "validation_fraction": 1 / 9, "seed": seed}
    fit(flow, x[rest], config=FitConfig(**settings))
    with torch.no_grad():
        return -float(flow.log_prob(x[test]).double().mean())


def gaps() -> list[dict[str, object]]:
    """Fit toys with gaps."""
    return [_gap(name, base) for name in ("8gaussians", "rings") for base in ("normal", "resampled")]


def _gap(name: str, base: str) -> dict[str, object]:
    target = toy(name)
    train, test = target.sample(20_000, 1), target.sample(20_000, 2)
    torch.manual_seed(0)
    flow = realnvp(2, layers=4, base=base)
    fit(flow, train, config=GAPS)
    with torch.no_grad():
        loss = -float(flow.log_prob(torch.as_tensor(test).float()).double().mean())
    return {"toy": name, "base": base, "gap": loss + float(target.log_prob(test).mean())}


TASKS = {"posteriors": posteriors, "particles": particles, "sphere": events, "gaps": gaps}

if __name__ == "__main__":
    torch.set_num_threads(1)
    for task in sys.argv[1:] or TASKS:
        rows = TASKS[task]()
        print_table(rows)
        keep(f"variational_{task}", rows)
