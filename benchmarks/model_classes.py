"""A flow, flow matching, a VAE and a GAN learn eight Gaussians: what each can say afterwards, and how well it samples.

    nice -n 10 python benchmarks/model_classes.py [processor seconds per model and seed]

All four have the same interface (`loss` of a batch, `sample`, `log_likelihood` with a word for what that is), two-
dimensional latents, about the same number of weights, the same data, and the same seconds of processor time in one
thread. Five seeds. Nothing was tuned for any of them but the learning rate of the GAN, whose usual one is smaller.
"""

import math
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bijecta.app.verdict import stray_share
from bijecta.data import toy
from bijecta.flows import cnf, nsf
from bijecta.training import Batch, flow_matching
from machine import RESULTS, keep, print_table

TARGET = toy("8gaussians")
SCALE = 2.0  # the data in units of about their spread, for every model alike
TRAIN, TEST, BATCH = 20_000, 5_000, 256
SEEDS = range(5)
PACKAGED = Path(__file__).parents[1] / "src/bijecta/app/learning/model_classes.json"


class Model(nn.Module, ABC):
    """What the four have in common; x of shape (N, 2) in units of SCALE."""

    learning_rate = 2e-3
    likelihood = "none"
    passes = 1  # of a network of this size, for one sample

    @abstractmethod
    def losses(self, x: Tensor) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        """Give each loss with the parameters that lower it."""

    @abstractmethod
    def sample(self, n: int) -> Tensor:
        """Draw n points."""

    def log_likelihood(self, x: Tensor) -> dict[str, Tensor]:  # noqa: ARG002 (a model without likelihood says nothing)
        """Say log p(x), exactly or bounded, each with its name."""
        return {}


def network(inputs: int, outputs: int, width: int = 64) -> nn.Sequential:
    """Make a network of two hidden layers, as VAE and GAN take two of."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, outputs)
    )


class SplineFlow(Model):
    """A spline flow: trained by its exact likelihood."""

    likelihood = "exact"

    def __init__(self) -> None:
        super().__init__()
        self.flow = nsf(2, layers=4, hidden=(32, 32))
        self.passes = 4

    def losses(self, x: Tensor) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        yield -self.flow.log_prob(x).mean(), list(self.parameters())

    def sample(self, n: int) -> Tensor:
        return self.flow.sample((n,))

    def log_likelihood(self, x: Tensor) -> dict[str, Tensor]:
        return {"log p": self.flow.log_prob(x)}


class FlowMatching(Model):
    """A velocity field, trained by flow matching; its likelihood needs the differential equation, not the training."""

    likelihood = "exact up to the solver"

    def __init__(self) -> None:
        super().__init__()
        self.flow = cnf(2, hidden=(96, 96), solver="rk4", steps=32)
        self.passes = 4 * 32

    def losses(self, x: Tensor) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        yield flow_matching(self.flow, Batch(len(x), x)), list(self.parameters())

    def sample(self, n: int) -> Tensor:
        return self.flow.sample((n,))

    def log_likelihood(self, x: Tensor) -> dict[str, Tensor]:
        return {"log p": torch.cat([self.flow.log_prob(rows) for rows in x.split(1000)])}


class VAE(Model):
    """A variational autoencoder with Gaussian encoder and decoder, both with learned spreads."""

    likelihood = "lower bound"

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = network(2, 4), network(2, 4)
        for half in (self.encoder, self.decoder):
            nn.init.constant_(half[-1].bias[2:], -2.0)  # from wide Gaussians it collapses: the latent says nothing

    def losses(self, x: Tensor) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        yield -self._log_weights(x, 1).mean(), list(self.parameters())

    def sample(self, n: int) -> Tensor:
        return self._conditional(self.decoder, torch.randn(n, 2)).sample()

    def log_likelihood(self, x: Tensor) -> dict[str, Tensor]:
        weights = self._log_weights(x, 100)
        return {"ELBO": weights.mean(0), "log p": weights.logsumexp(0) - math.log(100)}

    def _log_weights(self, x: Tensor, k: int) -> Tensor:
        """Draw log p(x, z) - log q(z | x) for k latents of each point, of shape (k, N)."""
        posterior = self._conditional(self.encoder, x)
        z = posterior.rsample((k,))
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z)
        likelihood = self._conditional(self.decoder, z).log_prob(x)
        return (likelihood + prior - posterior.log_prob(z)).sum(-1)

    @staticmethod
    def _conditional(half: nn.Module, given: Tensor) -> torch.distributions.Normal:
        mean, log_scale = half(given).chunk(2, -1)
        return torch.distributions.Normal(mean, log_scale.clamp(-5, 3).exp())


class GAN(Model):
    """A generative adversarial network with the non-saturating loss."""

    learning_rate = 5e-4

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = network(2, 2), network(2, 1)

    def losses(self, x: Tensor) -> Iterator[tuple[Tensor, list[nn.Parameter]]]:
        judge = nn.functional.softplus
        fake = self.sample(len(x)).detach()
        yield judge(-self.critic(x)).mean() + judge(self.critic(fake)).mean(), list(self.critic.parameters())
        yield judge(-self.critic(self.sample(len(x)))).mean(), list(self.generator.parameters())

    def sample(self, n: int) -> Tensor:
        drawn: Tensor = self.generator(torch.randn(n, 2))
        return drawn


def train(model: Model, x: Tensor, seconds: float) -> int:
    """Train for so many seconds of processor time with a falling learning rate, and count the steps."""
    momentum = (0.5, 0.99) if isinstance(model, GAN) else (0.9, 0.999)
    optimiser = torch.optim.Adam(model.parameters(), lr=model.learning_rate, betas=momentum)
    began, step = time.process_time(), 0
    while (done := (time.process_time() - began) / seconds) < 1:
        optimiser.param_groups[0]["lr"] = model.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        for loss, parameters in model.losses(x[torch.randint(len(x), (BATCH,))]):
            optimiser.zero_grad()
            loss.backward(inputs=parameters)
            nn.utils.clip_grad_norm_(parameters, 5.0)
            optimiser.step()
        step += 1
    return step


def mode_shares(points: np.ndarray) -> np.ndarray:
    """Share of the points within three standard deviations of each of the eight centres."""
    centres = TARGET.build(TARGET.noise).centres
    distance = np.linalg.norm(points[:, None] - centres, axis=-1)
    near = distance.min(1) < 3 * TARGET.noise
    return np.bincount(distance.argmin(1)[near], minlength=8) / len(points)


def energy_distance(first: Tensor, second: Tensor) -> float:
    """Szekely's energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| (0 for equal distributions), without self-pairs."""
    n, m = len(first), len(second)
    within = torch.cdist(first, first).sum() / (n * (n - 1)) + torch.cdist(second, second).sum() / (m * (m - 1))
    return float(2 * torch.cdist(first, second).mean() - within)


@torch.no_grad()
def judge(model: Model, test: np.ndarray) -> dict[str, object]:
    """Say how likely the test rows are, and how close its samples come."""
    scaled = torch.as_tensor(test / SCALE).float()
    nll = {
        name: float(-value.double().mean() + 2 * math.log(SCALE))
        for name, value in model.log_likelihood(scaled).items()
    }
    samples = model.sample(TEST).double() * SCALE
    shares = mode_shares(samples.numpy())
    return {
        "NLL": nll.get("log p"),
        "ELBO NLL": nll.get("ELBO"),
        "gap": nll["log p"] + float(TARGET.log_prob(test).mean()) if nll else None,
        "modes": int((shares > 1 / 80).sum()),
        "rarest mode": float(8 * shares.min()),
        "stray": stray_share(TARGET.log_prob(samples.numpy()), TARGET.log_prob(test)),
        "energy distance": energy_distance(samples, torch.as_tensor(test)),
        "samples": [[round(value, 2) for value in point] for point in samples[:300].tolist()],
    }


def measure(make: type[Model], seed: int, seconds: float) -> dict[str, object]:
    """Train one model from one seed and judge it."""
    torch.manual_seed(seed)
    model = make()
    steps = train(model, torch.as_tensor(TARGET.sample(TRAIN, 100 + seed) / SCALE).float(), seconds)
    return {
        "model": make.__name__,
        "seed": seed,
        "seconds": seconds,
        "steps": steps,
        "weights": sum(p.numel() for p in model.parameters()),
        "likelihood": model.likelihood,
        "passes per sample": model.passes,
        "entropy": TARGET.entropy,
        **judge(model, TARGET.sample(TEST, 1000 + seed)),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    budget = float(sys.argv[1]) if sys.argv[1:] else 15.0
    rows = [measure(make, seed, budget) for make in (SplineFlow, FlowMatching, VAE, GAN) for seed in SEEDS]
    for row in rows:
        if row["seed"] != SEEDS[0]:
            del row["samples"]
    print_table([{key: value for key, value in row.items() if key != "samples"} for row in rows])
    keep("model_classes", rows)
    shutil.copyfile(RESULTS / "model_classes.json", PACKAGED)
