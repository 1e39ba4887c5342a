"""Pure tensor functions: each formula once, returning ``(y, ladj)``."""

from bijecta.functional.inversion import invert_monotone
from bijecta.functional.monotone import (
    bernstein,
    gauss_legendre,
    integrated_network,
    leaky_tanh,
    sigmoidal,
    sum_of_squares,
)
from bijecta.functional.ode import Solution, Solver, solve_adaptive, solve_fixed
from bijecta.functional.polynomial import (
    cubic_spline,
    cubic_spline_params,
    linear_spline,
    linear_spline_params,
    quadratic_spline,
    quadratic_spline_params,
)
from bijecta.functional.rational_quadratic import rational_quadratic, rational_quadratic_params
from bijecta.functional.scalar import affine, bounded_affine, log_map, logit_map, soft_clip, wrap
from bijecta.functional.trace import jacobian_products, probed_norm, probed_trace, random_probes, unit_probes

__all__ = [
    "Solution",
    "Solver",
    "affine",
    "bernstein",
    "bounded_affine",
    "cubic_spline",
    "cubic_spline_params",
    "gauss_legendre",
    "integrated_network",
    "invert_monotone",
    "jacobian_products",
    "leaky_tanh",
    "linear_spline",
    "linear_spline_params",
    "log_map",
    "logit_map",
    "probed_norm",
    "probed_trace",
    "quadratic_spline",
    "quadratic_spline_params",
    "random_probes",
    "rational_quadratic",
    "rational_quadratic_params",
    "sigmoidal",
    "soft_clip",
    "solve_adaptive",
    "solve_fixed",
    "sum_of_squares",
    "unit_probes",
    "wrap",
]
