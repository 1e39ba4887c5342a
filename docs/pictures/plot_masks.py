"""
The masks of MADE
=================

A masked network computes the parameters of every feature from the features before it. Three masks, one per layer, cut
connections (dark: kept); their product is strictly triangular, so that no output sees its own input or a later one
(M. Germain et al., 2015, *MADE*).
"""

import matplotlib.pyplot as plt
import torch

from bijecta.nets import MaskedMLP

net = MaskedMLP(features=6, n_params=1, hidden=(12, 12))
masks = [net.get_buffer(name).int() for name in ("mask0", "mask1", "mask_last")]
paths = masks[2] @ masks[1] @ masks[0]  # how many ways lead from an input to an output
torch.testing.assert_close(paths, paths.tril(-1))

titles = ["inputs to hidden", "hidden to hidden", "hidden to outputs", "inputs to outputs:\nnumber of paths"]
axes = [("input", "unit"), ("unit", "unit"), ("unit", "output"), ("input", "output")]
figure, panels = plt.subplots(1, 4, figsize=(10, 3.2), layout="constrained")
for panel, matrix, title, (across, down) in zip(panels, [*masks, paths], titles, axes, strict=True):
    panel.imshow(matrix > 0, cmap="Blues", vmin=0, vmax=1.2)
    panel.set_title(title, fontsize=10)
    panel.set(xlabel=across, ylabel=down, xticks=[], yticks=[])
for (row, column), count in zip(torch.cartesian_prod(*[torch.arange(6)] * 2).tolist(), paths.flatten(), strict=True):
    panels[3].text(column, row, int(count), ha="center", va="center", fontsize=8, color="w" if count else "#888888")
plt.show()
