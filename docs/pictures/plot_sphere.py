"""
A density on the sphere
=======================

Directions around a great circle and one spot beside it, learned by a flow on the sphere, in the equal-area projection
of Mollweide. The density is per unit area (steradian); that it integrates to one is checked in the code.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from bijecta import FitConfig, fit
from bijecta.flows import sphere

draw = np.random.default_rng(0)
angle = draw.uniform(-np.pi, np.pi, 3_000)
belt = np.stack([np.cos(angle), np.sin(angle) * 0.6, np.sin(angle) * 0.8], 1) + 0.1 * draw.normal(size=(3_000, 3))
spot = np.array([0.3, -0.6, 0.74]) + 0.15 * draw.normal(size=(1_500, 3))
x = np.concatenate([belt, spot])
x /= np.linalg.norm(x, axis=1, keepdims=True)

torch.manual_seed(0)
flow = sphere(layers=4)
fit(flow, x, config=FitConfig(epochs=25, learning_rate=4e-3))

longitude, latitude = np.meshgrid(np.linspace(-np.pi, np.pi, 241), np.linspace(-np.pi / 2, np.pi / 2, 121))
ball = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)
with torch.no_grad():
    density = flow.log_prob(torch.tensor(np.stack(ball, -1)).float()).exp().numpy()
cell = (2 * np.pi / 240) * (np.pi / 120) * np.cos(latitude)
np.testing.assert_allclose((density * cell)[:, :-1].sum(), 1, atol=0.02)

figure = plt.figure(figsize=(8, 4.4), layout="constrained")
panel = figure.add_subplot(projection="mollweide")
picture = panel.pcolormesh(longitude, latitude, density, cmap="cividis", rasterized=True, shading="gouraud")
dots = np.arctan2(x[::10, 1], x[::10, 0]), np.arcsin(x[::10, 2])
panel.scatter(*dots, s=3, color="#E69F00", linewidths=0, label="every tenth data point")
panel.grid(visible=True, color="white", alpha=0.25)
panel.tick_params(axis="x", colors="white", labelsize=7)
panel.legend(loc="upper right", bbox_to_anchor=(1.0, 1.12), frameon=False, fontsize=8)
figure.colorbar(picture, ax=panel, label="density (per steradian)", shrink=0.7)
plt.show()
