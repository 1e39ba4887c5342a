"""
Topology: a failure and its cure
================================

Eight separate clusters. A continuous map of one blob can't tear it apart, so the flow leaves bridges between them. From
a base of several blobs it has nothing to tear.
"""

import matplotlib.pyplot as plt
import torch

import bijecta

toy = bijecta.toy("8gaussians")
x = torch.tensor(toy.sample(4_000, 0)).float()
test = toy.sample(4_000, 1)
settings = bijecta.FitConfig(epochs=50, learning_rate=5e-3)
ticks = torch.linspace(-4.2, 4.2, 201)
grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1).reshape(-1, 2)
exact = torch.tensor(toy.log_prob(grid.numpy()))

log_probs, gaps = {"exact": exact}, {"exact": 0.0}
for title, base in {"normal base": "normal", "base of several normals": "mixture"}.items():
    torch.manual_seed(0)
    flow = bijecta.realnvp(2, layers=4, base=base)
    bijecta.fit(flow, x, config=settings)
    with torch.no_grad():
        log_probs[title] = flow.log_prob(grid)
        gaps[title] = toy.log_prob(test).mean() - float(flow.log_prob(torch.tensor(test).float()).mean())

figure, panels = plt.subplots(1, 3, figsize=(10, 3.8), layout="compressed", sharey=True)
for panel, (title, values) in zip(panels, log_probs.items(), strict=True):
    # A logarithmic scale shows the bridges.
    shown = values.clamp(min=-9).reshape(201, 201)
    picture = panel.pcolormesh(ticks, ticks, shown, vmin=-9, vmax=exact.max(), cmap="cividis", rasterized=True)
    panel.set(title=f"{title}\ngap {gaps[title]:.2f} nats", xlabel="x1", aspect="equal")
panels[0].set_ylabel("x2")
figure.colorbar(picture, ax=panels, label="log-density (nats), cut at -9")
plt.show()
