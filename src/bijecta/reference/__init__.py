"""The formulas of normalizing flows in plain NumPy, float64: one function per formula, meant to be read.

    densities         log-densities of the base distributions
    determinants      the ways to know log |det J| cheaply, and estimates where there is none
    linear            LU-parametrised matrices, permutations, scale and shift
    coupling          additive and affine coupling layers
    autoregressive    masked autoregressive maps and the masks of MADE
    realnvp           a whole flow; realnvp_gradients and realnvp_training fit it, with derivatives by hand
    residual          planar, radial and Sylvester maps, and the series of residual flows; import it by name
    splines, scalar, monotone   maps of one number; import these modules by name

Tests, docs and benchmarks compare the PyTorch code with these functions; nothing else in the package imports them.
"""

from bijecta.reference.autoregressive import (
    autoregressive_forward,
    autoregressive_inverse,
    made_degrees,
    made_masks,
)
from bijecta.reference.coupling import (
    additive_coupling_forward,
    additive_coupling_inverse,
    affine_coupling_forward,
    affine_coupling_inverse,
)
from bijecta.reference.densities import (
    circular_uniform_log_prob,
    diagonal_normal_log_prob,
    gaussian_mixture_log_prob,
    log_scaled_bessel_i0,
    log_sum_exp,
    standard_normal_log_prob,
    student_t_log_prob,
    uniform_box_log_prob,
    von_mises_log_prob,
)
from bijecta.reference.determinants import (
    block_triangular_log_det,
    change_of_variables_log_prob,
    dense_log_det,
    hutchinson_trace,
    power_series_log_det,
    rank_one_log_det,
    stochastic_power_series_log_det,
    triangular_log_det,
)
from bijecta.reference.linear import (
    actnorm_forward,
    actnorm_inverse,
    actnorm_start,
    back_substitution,
    forward_substitution,
    lu_factors,
    lu_forward,
    lu_inverse,
    permutation_forward,
    permutation_inverse,
)
from bijecta.reference.realnvp import (
    RealNVP,
    start_realnvp,
)
from bijecta.reference.realnvp_gradients import (
    nll_and_gradients,
)
from bijecta.reference.realnvp_training import (
    Adam,
    train_realnvp,
)

__all__ = [
    "Adam",
    "RealNVP",
    "actnorm_forward",
    "actnorm_inverse",
    "actnorm_start",
    "additive_coupling_forward",
    "additive_coupling_inverse",
    "affine_coupling_forward",
    "affine_coupling_inverse",
    "autoregressive_forward",
    "autoregressive_inverse",
    "back_substitution",
    "block_triangular_log_det",
    "change_of_variables_log_prob",
    "circular_uniform_log_prob",
    "dense_log_det",
    "diagonal_normal_log_prob",
    "forward_substitution",
    "gaussian_mixture_log_prob",
    "hutchinson_trace",
    "log_scaled_bessel_i0",
    "log_sum_exp",
    "lu_factors",
    "lu_forward",
    "lu_inverse",
    "made_degrees",
    "made_masks",
    "nll_and_gradients",
    "permutation_forward",
    "permutation_inverse",
    "power_series_log_det",
    "rank_one_log_det",
    "standard_normal_log_prob",
    "start_realnvp",
    "stochastic_power_series_log_det",
    "student_t_log_prob",
    "train_realnvp",
    "triangular_log_det",
    "uniform_box_log_prob",
    "von_mises_log_prob",
]
