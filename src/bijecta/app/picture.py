"""One moment of a flow as arrays: density, warped grid, samples, and the latent of the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bijecta.app.datasets import Dataset
from bijecta.app.layers import Layers, layers_of
from bijecta.app.messages import Array, Message
from bijecta.flows import Flow

PIXELS = 64
NODES = 33
POINTS = 300


@dataclass(frozen=True)
class Scene:
    """What stays the same in all pictures of a run.

    Attributes:
        data: of the run.
        layers: of the flow.
        pixels: centres of the pixels, of shape (PIXELS², 2), top row first.
        latents: latents to follow to the data, of shape (POINTS, 2).
        points: rows to follow to the latent, of shape (POINTS, 2).
        true_density: of shape (PIXELS, PIXELS); None where it is unknown.
        scale: the density that is drawn brightest; None: that of each picture.
    """

    data: Dataset
    layers: Layers
    pixels: Tensor
    latents: Tensor
    points: Tensor
    true_density: Array | None
    scale: float | None


def make_scene(flow: Flow, data: Dataset, seed: int) -> Scene:
    """Prepare what all pictures of a run share."""
    pixels = _pixel_centres(data.low, data.high)
    truth = None if data.truth is None else np.exp(data.truth.log_prob(pixels)).reshape(PIXELS, PIXELS)
    generator = torch.Generator().manual_seed(seed)
    return Scene(
        data,
        layers_of(flow.bijection),
        torch.as_tensor(pixels, dtype=torch.float32),
        flow.base.sample((POINTS,), generator=generator),
        torch.as_tensor(data.rows[:POINTS], dtype=torch.float32),
        truth,
        None if truth is None else float(np.quantile(truth, 0.999)),
    )


def scene_message(scene: Scene, facts: dict[str, Any]) -> Message:
    """Say once what all pictures share."""
    header = {
        "kind": "scene",
        "box": [*map(float, scene.data.low), *map(float, scene.data.high)],
        "layers": list(scene.layers.names),
        "entropy": None if scene.data.truth is None else scene.data.truth.entropy,
        "nodes": NODES,
        **facts,
    }
    arrays = {"data": scene.points.numpy()}
    if scene.true_density is not None:
        arrays["truth"] = shades(scene.true_density, scene.scale or 1.0)
    return Message(header, arrays)


@torch.no_grad()
def take_picture(flow: Flow, scene: Scene) -> tuple[dict[str, Any], dict[str, Array]]:
    """Draw a flow as it is now.

    Args:
        flow: the flow, in eval mode.
        scene: what all pictures of the run share.

    Returns:
        Facts for the header of a frame, and the arrays: "density" (PIXELS, PIXELS) in 256 shades; "grid" (L+1, nodes,
        2) with "grid_logp" (L+1, nodes), a lattice of the latent followed to the data and the log-density on it;
        "grid_ladj" (L, nodes) of each layer; "samples" and "latent" (L+1, points, 2).
    """
    density = flow.log_prob(scene.pixels).exp().reshape(PIXELS, PIXELS).numpy()
    lattice, reach = _lattice(flow)
    path, ladj = scene.layers.to_data(torch.cat([lattice, scene.latents.to(lattice)]))
    grid, samples = path[:, : len(lattice)], path[:, len(lattice) :]
    ladj = ladj[:, : len(lattice)]
    latent, _ = scene.layers.to_latent(scene.points)
    scale = scene.scale or float(np.quantile(density[np.isfinite(density)], 0.999))
    arrays = {
        "density": shades(density, scale),
        "grid": grid,
        "grid_logp": flow.base.log_prob(lattice) - ladj,
        "grid_ladj": ladj.diff(dim=0),
        "samples": samples,
        "latent": latent,
    }
    facts = {"reach": reach, "scale": scale, "round_trip": _round_trip(scene, latent)}
    return facts, {name: np.asarray(array) for name, array in arrays.items()}


def shades(density: Array, scale: float) -> Array:
    """Turn a density into 256 shades of its square root, which shows thin bridges that the density itself hides."""
    return (np.sqrt(np.nan_to_num(density, posinf=0.0) / scale).clip(0, 1) * 255).astype(np.uint8)


def _round_trip(scene: Scene, latent: Tensor) -> float:
    back, _ = scene.layers.to_data(latent[0])
    return float((back[-1] - scene.points).abs().max())


def _pixel_centres(low: Array, high: Array) -> Array:
    ticks = (np.arange(PIXELS) + 0.5) / PIXELS
    x, y = np.meshgrid(low[0] + ticks * (high[0] - low[0]), high[1] - ticks * (high[1] - low[1]))
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def _lattice(flow: Flow) -> tuple[Tensor, float]:
    """Lay a square lattice over nearly all of the base, which may be wide or learned."""
    drawn = flow.base.sample((2000,), generator=torch.Generator().manual_seed(0))
    reach = min(8.0, 1.15 * float(drawn.abs().quantile(0.995)))
    ticks = torch.linspace(-reach, reach, NODES)
    x, y = torch.meshgrid(ticks, ticks.flip(0), indexing="xy")
    return torch.stack([x, y], -1).reshape(-1, 2), reach
