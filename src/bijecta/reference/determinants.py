"""Log-determinants: the ways to know log |det J| without paying D^3 for it.

    structure of the Jacobian       log |det J|                               cost
    dense                           slogdet (LU decomposition)                D^3
    triangular                      sum of log |diagonal|                     D
    block triangular                sum over the diagonal blocks              sum of (block size)^3
    L U with L, U triangular        sum of log |diagonal of U|                D
    permutation                     0                                         0
    A + u v^T (rank one)            matrix-determinant lemma                  D^2, with A already solved
    I + J, J a contraction          power series of traces                    one product with J per term
    ... and traces too expensive    Hutchinson's random probes                one product with J per probe

Rows are points: x has shape (*B, D), and a matrix W maps x to x W^T, that is z_i = sum_j W_ij x_j.
"""

from collections.abc import Callable, Sequence

import numpy as np

from bijecta.reference.arrays import Array, sum_features

LogProb = Callable[[Array], Array]


def dense_log_det(matrix: Array) -> Array:
    """Evaluate log |det W| of any square matrix: the truth that every shortcut is checked against.

    log |det W| = sum_i log |U_ii|,   P W = L U

    Args:
        matrix: W of shape (..., D, D).

    Returns:
        Log-determinants of shape (...); -inf for a singular matrix.

    Reference:
        Golub & Van Loan (2013), "Matrix Computations", section 3.2.

    Example:
        >>> round(float(dense_log_det(np.diag([1.0, 2.0, -4.0]))), 6)  # log 8
        2.079442
    """
    log_det: Array = np.linalg.slogdet(matrix).logabsdet
    return log_det


def change_of_variables_log_prob(x: Array, matrix: Array, bias: Array, base_log_prob: LogProb) -> Array:
    """Evaluate the density of x when z = W x + b has a known density.

    log p(x) = log p_base(W x + b) + log |det W|

    Args:
        x: points of shape (*B, D).
        matrix: invertible W of shape (D, D).
        bias: b of shape (D,).
        base_log_prob: log-density of z, from (*B, D) to (*B,).

    Returns:
        Log-densities of shape (*B,), in nats.

    Reference:
        Rudin (1987), "Real and Complex Analysis", theorem 7.26.

    Example:
        >>> from bijecta.reference.densities import standard_normal_log_prob
        >>> x, half = np.ones((1, 2)), 0.5 * np.eye(2)  # z = x / 2, hence x is normal with standard deviation 2
        >>> change_of_variables_log_prob(x, half, np.zeros(2), standard_normal_log_prob).round(6)
        array([-3.474171])
    """
    return base_log_prob(x @ matrix.T + bias) + dense_log_det(matrix)


def triangular_log_det(matrix: Array) -> Array:
    """Evaluate log |det T| of a triangular matrix.

    log |det T| = sum_i log |T_ii|

    Only the permutation that leaves every column in place avoids the zeros of T, so one product remains of D!.

    Args:
        matrix: lower or upper triangular T of shape (..., D, D); other entries are not read.

    Returns:
        Log-determinants of shape (...).

    Reference:
        Golub & Van Loan (2013), "Matrix Computations", section 3.1.

    Example:
        >>> round(float(triangular_log_det(np.array([[2.0, 0.0], [7.0, 0.5]]))), 6)
        0.0
    """
    return sum_features(np.log(np.abs(np.diagonal(matrix, axis1=-2, axis2=-1))))


def block_triangular_log_det(diagonal_blocks: Sequence[Array]) -> Array:
    """Evaluate log |det T| of a block-triangular matrix from its diagonal blocks.

    log |det T| = sum_k log |det T_kk|

    A coupling layer is the case of two blocks, of which the first is the identity.

    Args:
        diagonal_blocks: square matrices T_kk, each of shape (..., D_k, D_k).

    Returns:
        Log-determinants of shape (...).

    Reference:
        Silvester (2000), "Determinants of block matrices".

    Example:
        >>> round(float(block_triangular_log_det([np.eye(3), 2.0 * np.eye(1)])), 6)  # log 2
        0.693147
    """
    return sum_features(np.stack([dense_log_det(block) for block in diagonal_blocks], axis=-1))


def rank_one_log_det(matrix: Array, u: Array, v: Array) -> Array:
    """Evaluate log |det(A + u v^T)| by the matrix-determinant lemma.

    det(A + u v^T) = det(A) (1 + v^T A^-1 u)

    A planar flow is the case A = I, which costs D operations only.

    Args:
        matrix: invertible A of shape (D, D).
        u: column vectors of shape (*B, D).
        v: column vectors of shape (*B, D).

    Returns:
        Log-determinants of shape (*B,).

    Reference:
        Harville (1997), "Matrix Algebra from a Statistician's Perspective", theorem 18.1.1.

    Example:
        >>> ones = np.ones(3)
        >>> round(float(rank_one_log_det(np.eye(3), ones, ones)), 6)  # log(1 + 3)
        1.386294
    """
    solved = np.linalg.solve(matrix, u[..., None])[..., 0]  # A^-1 u: (*B, D)
    return dense_log_det(matrix) + np.log(np.abs(1.0 + sum_features(v * solved)))


def hutchinson_trace(
    apply: Callable[[Array], Array], n_features: int, n_probes: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Estimate the trace of a matrix that can only be applied to vectors.

    tr(A) = E[v^T A v] for random v with E[v v^T] = I

    The probes have entries +1 and -1 (Rademacher): a diagonal matrix is then hit exactly by every single probe, and
    for a symmetric one the variance, 2 sum_{i != j} A_ij^2, is the smallest that independent entries can reach.

    Args:
        apply: the map v to A v on rows, from (S, D) to (S, D).
        n_features: D.
        n_probes: number S of random vectors, at least 2.
        generator: source of randomness.

    Returns:
        The estimate and its standard error.

    Reference:
        Hutchinson (1989), "A stochastic estimator of the trace of the influence matrix for Laplacian
        smoothing splines".

    Example:
        >>> hutchinson_trace(lambda v: v * np.array([1.0, 2.0]), 2, 10, np.random.default_rng(0))
        (3.0, 0.0)
    """
    probes = generator.choice([-1.0, 1.0], size=(n_probes, n_features))  # (S, D)
    samples = sum_features(probes * apply(probes))  # (S,)
    return float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(n_probes))


def power_series_log_det(matrix: Array, n_terms: int) -> float:
    """Evaluate log det(I + J) of a contraction J by its power series, truncated.

    log det(I + J) = tr log(I + J) = sum_{k>=1} (-1)^(k+1) tr(J^k) / k,   where the spectral norm |J| < 1

    What is left out is at most D |J|^(n+1) / ((n + 1) (1 - |J|)). The determinant is positive for every contraction.

    Args:
        matrix: J of shape (D, D).
        n_terms: number n of terms.

    Returns:
        The truncated series.

    Reference:
        Behrmann et al. (2019), "Invertible residual networks".

    Example:
        >>> round(power_series_log_det(np.array([[0.5]]), 50), 6)  # log 1.5
        0.405465
    """
    power, series = np.eye(len(matrix)), 0.0
    for k in range(1, n_terms + 1):
        power = power @ matrix
        series += (-1) ** (k + 1) * float(np.trace(power)) / k
    return series


def stochastic_power_series_log_det(
    apply: Callable[[Array], Array], n_features: int, n_terms: int, n_probes: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Estimate log det(I + J) when J can only be applied to vectors: power series and random probes together.

    log det(I + J) ~ mean over probes v of sum_{k=1}^n (-1)^(k+1) v^T J^k v / k

    Args:
        apply: the map v to J v on rows, from (S, D) to (S, D); |J| < 1.
        n_features: D.
        n_terms: number n of terms; the truncation error is that of `power_series_log_det`.
        n_probes: number S of random vectors, at least 2.
        generator: source of randomness.

    Returns:
        The estimate and its standard error (of the probes; the truncation adds its own bias).

    Reference:
        Chen et al. (2019), "Residual flows for invertible generative modeling".

    Example:
        >>> half = lambda v: 0.5 * v
        >>> round(stochastic_power_series_log_det(half, 1, 50, 2, np.random.default_rng(0))[0], 6)  # log 1.5
        0.405465
    """

    def apply_series(probes: Array) -> Array:
        power, series = probes, np.zeros_like(probes)
        for k in range(1, n_terms + 1):
            power = apply(power)  # J^k v: (S, D)
            series = series + (-1) ** (k + 1) * power / k
        return series

    return hutchinson_trace(apply_series, n_features, n_probes, generator)
