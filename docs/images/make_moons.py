"""Draw the picture at the top of the README: `python docs/images/make_moons.py`, about 20 s on two cores."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import bijecta
from bijecta.diagnostics.drawing import BLUE, ORANGE

EXTENT = (-3.9, 3.9, -2.6, 2.9)


@torch.no_grad()
def draw(flow: bijecta.Flow, x: np.ndarray) -> plt.Figure:
    """Draw data, density, samples, and the bent grid."""
    figure, panels = plt.subplots(1, 4, figsize=(12, 2.35), layout="constrained")
    samples = flow.sample(3000, generator=torch.Generator().manual_seed(0)).numpy()
    for panel, points, colour in ((panels[0], x[:3000], BLUE), (panels[2], samples, ORANGE)):
        panel.scatter(*points.T, s=2.5, color=colour, linewidths=0, alpha=0.6)

    axes = [np.linspace(low, high, 400) for low, high in (EXTENT[:2], EXTENT[2:])]
    points = torch.as_tensor(np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)).float()
    panels[1].imshow(flow.log_prob(points).exp().reshape(400, 400), origin="lower", extent=EXTENT, cmap="cividis")

    fine, coarse = torch.linspace(-2.6, 2.6, 400), torch.linspace(-2.6, 2.6, 23)
    across, along = torch.meshgrid(coarse, fine, indexing="ij")
    for grid, colour in ((torch.stack([along, across], -1), BLUE), (torch.stack([across, along], -1), ORANGE)):
        for line in flow.to_data(grid):
            panels[3].plot(*line.T.numpy(), color=colour, linewidth=0.6)

    for panel, title in zip(
        panels, ("data", "exact density", "exact samples", "the map: a square grid, bent"), strict=True
    ):
        panel.set(title=title, xlim=EXTENT[:2], ylim=EXTENT[2:], xticks=[], yticks=[], aspect="equal")
        panel.spines[:].set_color("#bbbbbb")
    return figure


if __name__ == "__main__":
    torch.manual_seed(0)
    data = bijecta.toy("moons").sample(50_000, 0)
    trained = bijecta.nsf(features=2)
    bijecta.fit(trained, data, config=bijecta.FitConfig(epochs=20, batch_size=512))
    draw(trained, data).savefig(Path(__file__).parent / "moons.png", dpi=110, facecolor="white", bbox_inches="tight")
