"""
From noise to data, layer by layer
==================================

The same points after every layer of a RealNVP with four couplings. A coupling moves points along one axis; the last two
steps, from whitened to plain units, turn and stretch all of them at once.
"""

import matplotlib.pyplot as plt
import torch

import bijecta
from bijecta.diagnostics.plots import plot_layers

torch.manual_seed(0)
flow = bijecta.realnvp(features=2, layers=4)
bijecta.fit(flow, bijecta.toy("moons").sample(4_000, 0), config=bijecta.FitConfig(epochs=80, learning_rate=5e-3))
figure = plot_layers(flow, torch.randn(3_000, 2))

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
