"""
Generated collision events against the truth
============================================

The angle of the muon in e+e- to muon pairs at 80 GeV, from a flow that was trained at energies between 70 and 90 GeV,
against the generator. Below: their ratio, with the statistical error of the generator as a grey band.
"""

import json

import matplotlib.pyplot as plt
import numpy as np
import torch

from bijecta import FitConfig, fit
from bijecta.hep import MuonPairs, event_flow, measure_coordinates, sample_events
from bijecta.hep.evaluation_histograms import ratio_panel
from bijecta.hep.report_figures import plot_ratio

truth = MuonPairs()
energies = np.random.default_rng(0).uniform(70, 90, size=30_000)
events = truth.sample(30_000, energy=energies, seed=0)

coordinates = measure_coordinates(events, resonance=(91.19, 2.5))
torch.manual_seed(0)
flow = event_flow(json.dumps(coordinates.to_json()), layers=2, bins=5)
rows, context = coordinates.rows(events)
fit(flow, rows, context=context, config=FitConfig(epochs=15, learning_rate=4e-3))

generated = truth.coordinates(sample_events(flow, 20_000, {"energy": 80.0}, seed=1))[:, 0]
reference = truth.coordinates(truth.sample(20_000, energy=80.0, seed=2))[:, 0]
weight = np.ones(20_000)
figure = plot_ratio(ratio_panel((generated, weight), (reference, weight)), "cosine of the angle of the μ⁻")

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
