"""
Pairs of columns of a table
===========================

Three measurements of 178 wines (scikit-learn's bundled set): data below the diagonal, as many rows drawn from a flow
above it, both on it.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_wine

from bijecta import FlowDensity
from bijecta.diagnostics.plots import plot_pairs

columns = ["alcohol", "flavanoids", "color_intensity"]
wines = load_wine(as_frame=True).data[columns]
density = FlowDensity("nsf", recipe_arguments={"layers": 3, "bins": 8}, epochs=80, random_state=0).fit(wines)
drawn = density.sample(len(wines), random_state=0)
figure = plot_pairs(wines.to_numpy(), drawn.to_numpy(), ["alcohol (% by volume)", "flavanoids", "colour intensity"])

plt.figure(figure)  # figures of bijecta belong to nobody until pyplot is told
plt.show()
