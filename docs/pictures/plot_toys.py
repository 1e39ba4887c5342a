"""
Eight toys and what a flow learns of them
=========================================

Top: the exact density of a toy. Below it: the density of a small spline flow after a few seconds. Where the truth is in
several pieces, the flow leaves thin bridges, for a continuous map tears nothing apart.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import bijecta

names = ["moons", "circles", "2spirals", "checkerboard", "8gaussians", "pinwheel", "swissroll", "heart"]
settings = bijecta.FitConfig(epochs=14, batch_size=256, learning_rate=5e-3, ema=0.98)
ticks = np.linspace(-4.2, 4.2, 121)
grid = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)

figure, panels = plt.subplots(2, 8, figsize=(11, 3.1), layout="compressed")
for column, name in enumerate(names):
    toy = bijecta.toy(name)
    torch.manual_seed(0)
    flow = bijecta.nsf(2, layers=3, bins=8)
    bijecta.fit(flow, toy.sample(4_000, 0), config=settings)
    with torch.no_grad():
        learned = flow.log_prob(torch.tensor(grid).float()).exp().numpy()
    exact = np.exp(toy.log_prob(grid))
    for panel, density in zip(panels[:, column], (exact, learned), strict=True):
        panel.pcolormesh(ticks, ticks, density.reshape(121, 121), vmax=exact.max(), cmap="cividis", rasterized=True)
        panel.set(aspect="equal", xticks=[], yticks=[])
    panels[0, column].set_title(name, fontsize=10)
panels[0, 0].set_ylabel("exact")
panels[1, 0].set_ylabel("learned")
plt.show()
