"""
A density on the torus
======================

Two angles that depend on each other, with probability across the cut at 180 degrees. A flow of angles has no seam
there: what leaves on the right comes in on the left.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import bijecta

draw = np.random.default_rng(0)
first = draw.vonmises(np.pi, 1.5, size=5_000)
second = draw.vonmises(2 * first, 3.0)
x = torch.tensor(np.stack([first, second], 1)).float()

torch.manual_seed(0)
flow = bijecta.circular_nsf(2, layers=4, bins=5)
bijecta.fit(flow, x, config=bijecta.FitConfig(epochs=20, learning_rate=4e-3))

ticks = torch.linspace(-torch.pi, torch.pi, 181)
grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(-1, 2)
with torch.no_grad():
    density = flow.log_prob(grid).exp().reshape(181, 181)
torch.testing.assert_close(density[:, 0], density[:, -1], rtol=1e-2, atol=1e-4)  # no seam

degrees = torch.rad2deg(ticks)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="compressed", sharey=True)
left.scatter(*torch.rad2deg(x).T, s=2, color="#0072B2", alpha=0.4, linewidths=0)
left.set(title="data", ylabel="second angle (degrees)")
picture = right.pcolormesh(degrees, degrees, density, cmap="cividis", rasterized=True)
right.set(title="density of the flow")
for panel in (left, right):
    turns = [-180, -90, 0, 90, 180]
    panel.set(xlabel="first angle (degrees)", aspect="equal", xlim=(-180, 180), ylim=(-180, 180))
    panel.set(xticks=turns, yticks=turns)
figure.colorbar(picture, ax=right, label="density (per square radian)")
plt.show()
