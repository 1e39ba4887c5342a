"""Glow and a transformer flow on pictures of digits: bits per dimension against seconds, and a sheet of samples.

    python benchmarks/images.py digits --minutes 5
    python benchmarks/images.py digits-transformer --minutes 5
    python benchmarks/images.py mnist --minutes 60 [--go-on]
    python benchmarks/images.py mnist --evaluate

Digits come with scikit-learn (8x8 pixels, 17 levels of grey); every class is asked for its samples. MNIST (28x28, 256
levels) is without classes, as in the papers; its last file is the test set. Writes results/images_NAME.json,
results/NAME_samples.png and runs/images_NAME.safetensors. All bits are bounds from above: dequantised images have no
exact likelihood here; with many draws, log mean exp over draws of the noise, they are tighter. `fit` ends with an
epoch, on MNIST some minutes after its time. `--go-on` begins with the weights of an earlier run, whose curve is kept;
`--evaluate` takes many draws of all test images, and draws the sheet again.
"""

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import one_hot

from bijecta.distributions import DequantisedImages
from bijecta.flows.images import bits_per_dimension, interpolate, pixel_glow, pixel_transformer, sample_at_temperature
from bijecta.nets import ConvNet
from bijecta.persistence import load, save
from bijecta.training import Batch, FitConfig, fit, nll
from machine import RESULTS, keep, print_table

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist" / "mnist.npz"
RUNS = Path(__file__).parents[1] / "runs"
RECIPES = {
    "digits": {"shape": [1, 8, 8], "grey_levels": 17, "context": 10, "steps": 6, "hidden": 32},
    "digits-transformer": {"shape": [1, 8, 8], "grey_levels": 17, "context": 10},
    "mnist": {"shape": [1, 28, 28], "grey_levels": 256, "steps": 8, "hidden": 64},
}
SETTINGS = {
    "digits": {"batch_size": 64, "learning_rate": 2e-3, "weight_decay": 1e-3},
    "digits-transformer": {"batch_size": 64, "learning_rate": 2e-3, "weight_decay": 1e-3},
    "mnist": {"batch_size": 64, "learning_rate": 2e-3, "gradient_clip": 1.0, "ema": 0.999},
}
DRAWS = 16

Data = tuple[Tensor, Tensor | None, Tensor, Tensor | None]  # training images and classes, test images and classes


def digits() -> Data:
    """Return training images and classes, then test images and classes; a fifth is held out."""
    pixels, labels = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
    classes = one_hot(torch.tensor(labels), 10).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    test, train = order[:360], order[360:]
    return images[train], classes[train], images[test], classes[test]


def mnist() -> Data:
    """Return the official training and test images; no classes."""
    file = np.load(MNIST)
    train, test = (torch.from_numpy(file[name]).float().reshape(-1, 1, 28, 28) for name in ("x_train", "x_test"))
    return train, None, test, None


def independent_pixels(train: Tensor, test: Tensor, levels: int) -> float:
    """Bits per dimension under a histogram of every pixel with one count added everywhere: what has to be beaten."""
    train, test = train.flatten(1).long(), test.flatten(1).long()
    counts = torch.ones(levels, train.shape[1]).scatter_add_(0, train, torch.ones(train.shape))
    return float(-(counts / counts[:, :1].sum()).gather(0, test).log2().mean())


class Curve:
    """The loss in bits per dimension, which writes down what it was after how many seconds."""

    def __init__(self, dimensions: int, every: float) -> None:
        self.dimensions, self.every = dimensions, every
        self.points: list[dict[str, float]] = []
        self.recent: list[float] = []
        self.rows, self.began = 0, time.monotonic()

    def __call__(self, flow: DequantisedImages, batch: Batch) -> Tensor:
        loss = nll(flow, batch) / (self.dimensions * math.log(2))
        if flow.training:
            self.note(loss.item(), batch.size)
        return loss

    def note(self, bits: float, rows: int) -> None:
        self.rows += rows
        self.recent.append(bits)
        seconds = time.monotonic() - self.began
        if seconds > self.every * (len(self.points) + 1):
            mean = round(sum(self.recent) / len(self.recent), 4)
            self.points.append({"seconds": round(seconds), "images": self.rows, "bits": mean})
            self.recent.clear()
            print(self.points[-1], flush=True)


def in_bfloat16(flow: DequantisedImages) -> list[ConvNet]:
    """Let the convolutions run in bfloat16; the maps themselves stay in float32. Only for training."""
    nets = [net for net in flow.modules() if isinstance(net, ConvNet)]
    for net in nets:
        fast = torch.autocast("cpu", torch.bfloat16)(net.forward)
        net.forward = lambda *inputs, fast=fast: fast(*inputs).float()
    return nets


@torch.no_grad()
def held_out(flow: DequantisedImages, images: Tensor, classes: Tensor | None, draws: int) -> float:
    """Return the bound on held-out images in bits per dimension, log mean exp over draws of the noise."""
    parts = zip(images.split(500), itertools.repeat(None) if classes is None else classes.split(500), strict=False)
    found = torch.cat([torch.stack([flow.log_prob(x, c).double() for _ in range(draws)]) for x, c in parts], 1)
    log_prob = found.logsumexp(0) - math.log(draws)
    return float(bits_per_dimension(log_prob, images[0].numel()).mean())


def sheet(flow: DequantisedImages, test: Tensor, name: str) -> None:
    """Draw data, samples at two temperatures and walks through the latent, ten in a row."""
    generator = torch.Generator().manual_seed(0)
    classes = torch.eye(10) if flow.context else None
    rows = [("test images", test[:20])]
    for temperature in (0.7, 1.0):
        shape = 4 if flow.context else (4, 10)
        samples = sample_at_temperature(flow, shape, classes, temperature=temperature, generator=generator)
        rows.append((f"samples, temperature {temperature:g}", samples.flatten(0, 1)))
    if not flow.context:
        walks = interpolate(flow, (test[:2], test[2:4]), 10)
        rows.append(("walks between two test images", walks.transpose(0, 1).flatten(0, 1)))
    heights = [len(images) for _, images in rows]
    figure, axes = plt.subplots(len(rows), figsize=(6, 1.2 + 0.062 * sum(heights)), height_ratios=heights)
    for axis, (title, images) in zip(axes, rows, strict=True):
        tiles = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1), value=flow.levels / 2)
        lines = [torch.cat(list(line), 1) for line in tiles.split(10)]
        axis.imshow(torch.cat(lines).numpy(), cmap="gray", vmin=0, vmax=flow.levels - 1)
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(RESULTS / f"{name}_samples.png", dpi=110)


def train(data: Data, options: argparse.Namespace, name: str) -> None:
    """Fit a flow, write it down with its curve and its bounds, and draw the sheet."""
    images, classes, test, test_classes = data
    make = pixel_transformer if options.name == "digits-transformer" else pixel_glow
    saved, record_file = RUNS / f"images_{name}.safetensors", RESULTS / f"images_{name}.json"
    flow = load(saved) if options.go_on else make(**RECIPES[options.name])
    before = json.loads(record_file.read_text())["rows"][0] if options.go_on else {}
    curve = Curve(images[0].numel(), every=2 * options.minutes)
    checkpoint = RUNS / f"images_{name}.checkpoint"
    if not options.resume:
        checkpoint.unlink(missing_ok=True)
    nets = in_bfloat16(flow) if options.bfloat16 else []
    settings = SETTINGS[options.name] | ({"learning_rate": options.rate} if options.rate else {})
    config = FitConfig(epochs=10_000, max_seconds=60 * options.minutes, patience=0, **settings)
    began = time.process_time()
    result = fit(flow, images, context=classes, config=config, loss=curve, checkpoint=checkpoint)
    for net in nets:
        del net.forward
    spent = time.process_time() - began
    save(flow, saved)
    some = None if test_classes is None else test_classes[:1000]
    levels = RECIPES[options.name]["grey_levels"]
    row = {"data": options.name, "test bits": held_out(flow, test, test_classes, 1)}
    row |= {f"{DRAWS} draws, at most 1000 images": held_out(flow, test[:1000], some, DRAWS)}
    row |= {"independent pixels": independent_pixels(images, test, levels), "seconds": result.seconds}
    row |= {"CPU seconds": spent}
    row |= {"epochs": len(result.history), "parameters": sum(p.numel() for p in flow.parameters())}
    print_table([row])
    history = result.history[:: max(1, len(result.history) // 30)]
    validation = [{"seconds": round(p.seconds), "bits": round(p.validation_loss, 4)} for p in history]
    record = {"recipe": flow.recipe, "fit": config.to_json(), "train": curve.points, "validation": validation}
    keep(f"images_{name}", [{**row, **record, **({"before": before} if before else {})}])
    sheet(flow, test, name)


def evaluate(data: Data, name: str) -> None:
    """Add the bound with many draws of all test images to what the training has left, and draw the sheet."""
    (_, _, test, classes), flow = data, load(RUNS / f"images_{name}.safetensors")
    record = json.loads((RESULTS / f"images_{name}.json").read_text())
    trained = {**record["rows"][0], "trained by": record["rows"][0].get("trained by", record["command"])}
    keep(f"images_{name}", [{**trained, f"{DRAWS} draws": held_out(flow, test, classes, DRAWS)}])
    sheet(flow, test, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(RECIPES))
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bfloat16", action="store_true", help="for processors that multiply it faster")
    parser.add_argument("--resume", action="store_true", help="go on from runs/images_NAME.checkpoint")
    parser.add_argument("--go-on", action="store_true", help="begin with runs/images_NAME.safetensors")
    parser.add_argument("--evaluate", action="store_true", help="of runs/images_NAME.safetensors, without training")
    parser.add_argument("--rate", type=float, help="learning rate")
    parser.add_argument("--rows", type=int, help="so many images only: does everything work?")
    options = parser.parse_args()
    name = f"{options.name}_quick" if options.rows else options.name
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    RUNS.mkdir(exist_ok=True)
    parts = (mnist if options.name == "mnist" else digits)()
    images, classes, test, test_classes = (None if part is None else part[: options.rows] for part in parts)
    data = images, classes, test, test_classes
    if options.evaluate:
        evaluate(data, name)
    else:
        train(data, options, name)


if __name__ == "__main__":
    main()
