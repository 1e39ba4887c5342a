"""
The velocity field of a continuous flow
=======================================

A continuous flow follows a velocity field from data (time 0) to noise (time 1). Trained by flow matching, which solves
no equation. Read backwards, as here, it draws moons out of noise: arrows say where points go next.
"""

import matplotlib.pyplot as plt
import torch

import bijecta

torch.manual_seed(0)
flow = bijecta.cnf(2, solver="rk4", steps=24)
settings = bijecta.FitConfig(epochs=150, learning_rate=5e-3)
bijecta.fit(flow, bijecta.toy("moons").sample(5_000, 0), loss=bijecta.flow_matching, config=settings)

velocity = next(layer.velocity for layer in flow.bijection if hasattr(layer, "velocity"))


def field(z, time):
    """Evaluate the velocity of all points at one time."""
    return velocity(z, torch.full((len(z), 1), time))


ticks = torch.linspace(-2.6, 2.6, 17)
grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(-1, 2)
points, steps = torch.randn(1_500, 2), 39

figure, panels = plt.subplots(1, 4, figsize=(11, 3.4), layout="compressed", sharey=True)
with torch.no_grad():
    for number in range(steps + 1):
        time = 1 - number / steps
        if number % 13 == 0:
            panel, arrows = panels[number // 13], -field(grid, time)
            panel.scatter(*points.T, s=3, color="#0072B2", alpha=0.4, linewidths=0)
            panel.quiver(*grid.T, *arrows.T, color="#D55E00", scale=45, width=0.006)
            panel.set(title=f"time {time:.2f}", aspect="equal", xlim=(-2.8, 2.8), ylim=(-2.8, 2.8))
            panel.set(xlabel="first column (whitened)")
        middle = points - field(points, time) / (2 * steps)  # the midpoint rule, backwards
        points = points - field(middle, time - 0.5 / steps) / steps
panels[0].set_ylabel("second column (whitened)")
plt.show()
