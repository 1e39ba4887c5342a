"""
Is a posterior calibrated?
==========================

Coverage of credible regions: of those of level 0.5, half should contain the truth. One flow is trained well; the other
two are the same, with samples made too narrow and too wide.
"""

import matplotlib.pyplot as plt
import torch

import bijecta
from bijecta.diagnostics import tarp
from bijecta.diagnostics.plots_calibration import plot_coverage


def simulate(count, seed):
    """Draw a position in the plane and a noisy, bent measurement of it."""
    draw = torch.Generator().manual_seed(seed)
    theta = torch.randn(count, 2, generator=draw)
    seen = torch.stack([theta.norm(dim=1), theta[:, 0] + theta[:, 1] ** 2], 1)
    return theta, seen + 0.3 * torch.randn(count, 2, generator=draw)


theta, seen = simulate(8_000, 0)
torch.manual_seed(0)
flow = bijecta.nsf(2, context=2, layers=4)
bijecta.fit(flow, theta, context=seen, config=bijecta.FitConfig(epochs=8, learning_rate=4e-3))

truths, given = simulate(1_000, 1)
with torch.no_grad():
    samples = flow.sample(200, given)
centre = samples.mean(0)
figure = plot_coverage(
    {
        "the flow": tarp(samples, truths),
        "half as wide": tarp(centre + (samples - centre) / 2, truths),
        "twice as wide": tarp(centre + (samples - centre) * 2, truths),
    }
)

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
