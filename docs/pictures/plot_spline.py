"""
A rational-quadratic spline and its slope
=========================================

Five bins between six knots, a quotient of two quadratics in each (C. Durkan et al., 2019, *Neural Spline Flows*). Value
and slope are continuous, the slope is positive, and outside of [-3, 3] the map is the identity. The logarithm of the
slope is the ladj.
"""

import matplotlib.pyplot as plt
import torch

from bijecta.functional import rational_quadratic, rational_quadratic_params
from bijecta.functional.kernels.spline import MIN_BIN
from bijecta.functional.knots import unit_knots

torch.manual_seed(1)
params = 0.7 * torch.randn(rational_quadratic_params(5))
x = torch.linspace(-4, 4, 801)
y, ladj = rational_quadratic(x, params, bound=3.0)

knots = 3 * unit_knots(params[:5], MIN_BIN)  # the first five parameters are the widths of the bins
at_knots, slope = rational_quadratic(knots, params, bound=3.0)

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained")
left.plot(x, x, color="#999999", linewidth=0.8, linestyle="--", label="identity")
left.plot(x, y, color="#0072B2", label="spline")
left.plot(knots, at_knots, "o", color="#D55E00", markersize=4, label="knots")
left.set(xlabel="x", ylabel="y", aspect="equal")
left.legend(frameon=False)
right.plot(x, ladj.exp(), color="#0072B2")
right.plot(knots, slope.exp(), "o", color="#D55E00", markersize=4)
right.set(xlabel="x", ylabel="slope dy/dx", ylim=(0, None))
plt.show()
