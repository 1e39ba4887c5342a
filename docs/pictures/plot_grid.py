"""
The grid that a flow bends
==========================

A square grid in latent space, and where the inverse of a trained flow puts it. Lines crowd where the density is high;
they never cross, for the map is invertible.
"""

import matplotlib.pyplot as plt
import torch

import bijecta
from bijecta.diagnostics.plots import plot_grid_warp

torch.manual_seed(0)
flow = bijecta.nsf(features=2, layers=4)
bijecta.fit(flow, bijecta.toy("moons").sample(4_000, 0), config=bijecta.FitConfig(epochs=25))
figure = plot_grid_warp(flow)

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
