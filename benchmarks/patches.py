"""Patches of natural images: 63 numbers of 8x8 pixels, their density in nats beside published figures.

`density.py bsds300` calls this. The images of BSDS300 are cut as in the papers: a million patches from 180 training
images, others from 20 images that are held out, 250,000 from the 100 test images; noise of one level of grey is added,
the mean of the patch is taken off, and the last pixel, which follows from the others, is dropped. The patches are drawn
anew, so they are not those of the papers: a Gaussian, which needs no training, tells by how much they differ.
"""

import argparse
import csv
import importlib.util
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bijecta.bijections import AffineUnivariate, RationalQuadraticSpline, Univariate
from bijecta.distributions import Distribution
from bijecta.flows import Flow
from bijecta.flows.parts import assemble, autoregressive
from bijecta.persistence import save
from bijecta.training import FitConfig, FitResult, Progress, fit
from machine import keep, print_table

DATA = Path(__file__).parents[2] / "shared" / "data"
RUNS = Path(__file__).parents[1] / "runs"
SIZES = {"n_train": 1_000_000, "n_val": 50_000, "n_test": 250_000}
FLOW = {"affine": 4, "hidden": [384, 384], "bins": 8, "bound": 6.0}
CONFIG = FitConfig(
    epochs=10_000, batch_size=512, learning_rate=1e-3, gradient_clip=20, ema=0.999, validation_fraction=0.01, patience=0
)
SHOWN = ["MADE", "RealNVP(10)", "MAF(5)", "MAF(10)", "RQ-NSF(AR)", "RQ-NSF(C)", "UMNN-MAF", "TraDE"]


def read_patches(**sizes: int) -> dict[str, Tensor]:
    """Cut patches for training ("train"), from held-out training images ("val") and from test images ("test")."""
    spec = importlib.util.spec_from_file_location("bsds300", DATA / "bsds300" / "bsds300.py")
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    return {name: torch.from_numpy(part) for name, part in reader.load(**sizes).items()}


def patch_flow(affine: int, hidden: list[int], bins: int, bound: float) -> Flow:
    """Build affine autoregressive layers, which see the contrast of a patch, and one of splines behind them."""
    univariates: list[Univariate] = [AffineUnivariate()] * affine + [RationalQuadraticSpline(bins, bound)]
    layers = [autoregressive(univariate, 63, number, 0, hidden) for number, univariate in enumerate(univariates)]
    return assemble(63, 0, layers, "normal")


def gaussian_log_prob(train: Tensor, test: Tensor) -> Tensor:
    """Compute log-densities of test rows under the full-covariance Gaussian of the training rows."""
    train, test = train.double(), test.double()
    covariance = torch.cov(train.T)
    return torch.distributions.MultivariateNormal(train.mean(0), covariance).log_prob(test)


@torch.no_grad()
def log_probs(flow: Distribution, rows: Tensor) -> Tensor:
    return torch.cat([flow.log_prob(part).double() for part in rows.split(5000)])


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """Return the mean and two standard errors."""
    return float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))


class Curve:
    """Called after every epoch: writes down how good the weights of the moment are on images never trained on."""

    def __init__(self, held_out: Tensor) -> None:
        self.held_out, self.began = held_out, time.process_time()
        self.points: list[dict[str, float]] = []

    def __call__(self, flow: Distribution, progress: Progress) -> None:
        point = {"epoch": progress.epoch, "seconds": round(progress.seconds)}
        point |= {"CPU seconds": round(time.process_time() - self.began), "train": round(-progress.train_loss, 3)}
        point |= {"same images": round(-progress.validation_loss, 3)}
        point |= {"held-out images": round(float(log_probs(flow, self.held_out).mean()), 3)}
        self.points.append(point)
        print(point, flush=True)


def train(flow: Flow, data: dict[str, Tensor], config: FitConfig, checkpoint: Path) -> tuple[FitResult, Curve]:
    """Fit, with a curve on held-out images; goes on from the checkpoint if there is one."""
    curve = Curve(data["val"][:10_000])
    found = fit(flow, data["train"], config=config, on_epoch=lambda p: curve(flow, p), checkpoint=checkpoint)
    return found, curve


def published() -> list[dict[str, Any]]:
    """Read the figures of the papers, in nats."""
    with (DATA / "published" / "tabular_nats.csv").open() as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    return [{"model": name, "nats": float(rows[name]["BSDS300"]), "from": rows[name]["source"]} for name in SHOWN]


def main(options: argparse.Namespace) -> None:
    """Train, evaluate on all test patches, and keep the figures."""
    name = "density_bsds300" + ("_quick" if options.rows else "")
    sizes = dict.fromkeys(SIZES, options.rows) if options.rows else SIZES
    data = read_patches(**sizes)
    torch.manual_seed(0)
    flow = patch_flow(**FLOW)
    config = FitConfig(**{**CONFIG.to_json(), "max_seconds": 60 * options.minutes})
    RUNS.mkdir(exist_ok=True)
    checkpoint = RUNS / f"{name}.checkpoint"
    if not options.resume:
        checkpoint.unlink(missing_ok=True)
    began = time.process_time()
    found, curve = train(flow, data, config, checkpoint)
    seconds = round(time.process_time() - began)
    save(flow, RUNS / f"{name}.safetensors")
    nats, error = mean_and_error(log_probs(flow, data["test"]))
    gaussian, gaussian_error = mean_and_error(gaussian_log_prob(data["train"], data["test"]))
    ours = {"model": "ours", "nats": nats, "from": f"+- {error:.2f}, {seconds} CPU seconds"}
    theirs = [{"model": "full-covariance Gaussian, ours", "nats": gaussian, "from": f"+- {gaussian_error:.2f}"}]
    print_table([ours, *theirs, *published()])
    record = {"nats": nats, "2 s.e.": error, "Gaussian": gaussian, "Gaussian 2 s.e.": gaussian_error}
    record |= {"held-out images": float(log_probs(flow, data["val"]).mean())}
    record |= {"CPU seconds": seconds, "seconds": found.seconds, "epochs": len(found.history)}
    record |= {"best epoch": found.best_epoch, "parameters": sum(p.numel() for p in flow.parameters())}
    record |= {"flow": FLOW, "fit": config.to_json(), "curve": curve.points, "published": published()}
    keep(name, [record])
