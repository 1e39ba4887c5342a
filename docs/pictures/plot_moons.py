"""
Density of two moons
====================

The learned density of two moons beside the data, on the same axes.
"""

import matplotlib.pyplot as plt

import bijecta
from bijecta.diagnostics.plots import plot_density_2d

x = bijecta.toy("moons").sample(4_000, 0)
flow = bijecta.nsf(features=2, layers=3)
bijecta.fit(flow, x, config=bijecta.FitConfig(epochs=12))
figure = plot_density_2d(flow, x)

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
