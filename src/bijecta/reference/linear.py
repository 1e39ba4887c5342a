"""Linear maps: LU-parametrised matrices, permutations, and one scale and shift per feature.

Rows are points: x has shape (*B, D), and a matrix W maps x to x W^T, that is z_i = sum_j W_ij x_j. Every forward map
goes from data to latent and comes with its ladj; `determinants.py` says where those come from.
"""

from collections.abc import Sequence

import numpy as np

from bijecta.errors import InputError, ShapeError
from bijecta.reference.arrays import Array


def _require_permutation(order: Sequence[int], n_features: int) -> None:
    if sorted(order) != list(range(n_features)):
        raise InputError(
            f"order must hold each of 0..{n_features - 1} once, got {list(order)}. Draw one with rng.permutation."
        )


def forward_substitution(lower: Array, right: Array) -> Array:
    """Solve L y = r for lower-triangular L, first row first.

    y_i = (r_i - sum_{j<i} L_ij y_j) / L_ii

    Args:
        lower: L of shape (D, D) with a diagonal free of zeros; entries above it are not read.
        right: r of shape (*B, D).

    Returns:
        y of shape (*B, D).

    Reference:
        Golub & Van Loan (2013), "Matrix Computations", section 3.1.

    Example:
        >>> forward_substitution(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([4.0, 5.0]))
        array([2., 3.])
    """
    y = np.zeros(right.shape)
    for i in range(lower.shape[-1]):
        y[..., i] = (right[..., i] - y[..., :i] @ lower[i, :i]) / lower[i, i]
    return y


def back_substitution(upper: Array, right: Array) -> Array:
    """Solve U y = r for upper-triangular U, last row first.

    y_i = (r_i - sum_{j>i} U_ij y_j) / U_ii

    Args:
        upper: U of shape (D, D) with a diagonal free of zeros; entries below it are not read.
        right: r of shape (*B, D).

    Returns:
        y of shape (*B, D).

    Reference:
        Golub & Van Loan (2013), "Matrix Computations", section 3.1.

    Example:
        >>> back_substitution(np.array([[1.0, 1.0], [0.0, 2.0]]), np.array([5.0, 4.0]))
        array([3., 2.])
    """
    # Counting rows and columns from the other end turns an upper triangle into a lower one.
    return forward_substitution(upper[::-1, ::-1], right[..., ::-1])[..., ::-1]


def lu_factors(lower: Array, upper: Array, log_diagonal: Array) -> tuple[Array, Array]:
    """Assemble the two triangular factors of an LU-parametrised matrix from free numbers.

    L = I + strict lower triangle,   U = strict upper triangle + diag(exp(log_diagonal))

    Any values are allowed, and L U is always invertible: that is why flows learn L and U instead of W.

    Args:
        lower: (D, D), of which only the part below the diagonal is read.
        upper: (D, D), of which only the part above the diagonal is read.
        log_diagonal: logarithms of the diagonal of U, of shape (D,).

    Returns:
        L and U, both of shape (D, D).

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.2.

    Example:
        >>> L, U = lu_factors(np.ones((2, 2)), np.ones((2, 2)), np.zeros(2))
        >>> L @ U
        array([[1., 1.],
               [1., 2.]])
    """
    L = np.tril(lower, -1) + np.eye(len(log_diagonal))
    U = np.triu(upper, 1) + np.diag(np.exp(log_diagonal))
    return L, U


def lu_forward(x: Array, lower: Array, upper: Array, log_diagonal: Array, bias: Array) -> tuple[Array, Array]:
    """Apply the LU-parametrised linear map.

    z = L U x + b,   ladj = sum_i log U_ii

    Args:
        x: points of shape (*B, D).
        lower: free numbers below the diagonal of L, in a (D, D) array.
        upper: free numbers above the diagonal of U, in a (D, D) array.
        log_diagonal: logarithms of the diagonal of U, of shape (D,).
        bias: b of shape (D,).

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.2.

    Example:
        >>> zero = np.zeros((2, 2))
        >>> lu_forward(np.ones(2), zero, zero, np.log([2.0, 0.5]), np.zeros(2))[0]
        array([2. , 0.5])
    """
    L, U = lu_factors(lower, upper, log_diagonal)
    return x @ U.T @ L.T + bias, np.full(x.shape[:-1], log_diagonal.sum())


def lu_inverse(z: Array, lower: Array, upper: Array, log_diagonal: Array, bias: Array) -> tuple[Array, Array]:
    """Undo `lu_forward` by two triangular solves, in D^2 operations per point.

    x = U^-1 L^-1 (z - b),   ladj = -sum_i log U_ii

    Args:
        z: points of shape (*B, D).
        lower: free numbers below the diagonal of L, in a (D, D) array.
        upper: free numbers above the diagonal of U, in a (D, D) array.
        log_diagonal: logarithms of the diagonal of U, of shape (D,).
        bias: b of shape (D,).

    Returns:
        x of shape (*B, D) and the ladj of the inverse, of shape (*B,).

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.2.

    Example:
        >>> zero = np.zeros((2, 2))
        >>> lu_inverse(np.array([2.0, 0.5]), zero, zero, np.log([2.0, 0.5]), np.zeros(2))[0]
        array([1., 1.])
    """
    L, U = lu_factors(lower, upper, log_diagonal)
    x = back_substitution(U, forward_substitution(L, z - bias))
    return x, np.full(z.shape[:-1], -log_diagonal.sum())


def permutation_forward(x: Array, order: Sequence[int]) -> tuple[Array, Array]:
    """Reorder the features.

    z_i = x_order(i),   ladj = 0, because |det| of a permutation matrix is 1

    Args:
        x: points of shape (*B, D).
        order: every one of 0..D-1 once.

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Raises:
        InputError: order is not a permutation of 0..D-1.

    Reference:
        Dinh, Krueger & Bengio (2015), "NICE: non-linear independent components estimation".

    Example:
        >>> permutation_forward(np.array([10.0, 20.0, 30.0]), [2, 0, 1])[0]
        array([30., 10., 20.])
    """
    _require_permutation(order, x.shape[-1])
    return x[..., list(order)], np.zeros(x.shape[:-1])


def permutation_inverse(z: Array, order: Sequence[int]) -> tuple[Array, Array]:
    """Undo `permutation_forward`.

    x_order(i) = z_i; the inverse permutation is the one that sorts `order`

    Args:
        z: points of shape (*B, D).
        order: every one of 0..D-1 once, as given to `permutation_forward`.

    Returns:
        x of shape (*B, D) and the ladj of shape (*B,).

    Raises:
        InputError: order is not a permutation of 0..D-1.

    Reference:
        Knuth (1998), "The Art of Computer Programming", volume 3, section 5.1.

    Example:
        >>> permutation_inverse(np.array([30.0, 10.0, 20.0]), [2, 0, 1])[0]
        array([10., 20., 30.])
    """
    _require_permutation(order, z.shape[-1])
    return permutation_forward(z, np.argsort(order).tolist())


def actnorm_start(x: Array) -> tuple[Array, Array]:
    """Choose the log-scale and shift that standardise a first batch.

    log_scale = -log std(x),   shift = -mean(x) / std(x)

    Args:
        x: a batch of shape (N, D).

    Returns:
        log_scale and shift, both of shape (D,).

    Raises:
        ShapeError: x is not a table with at least one row.
        InputError: a value is NaN or infinite, or a feature has the same value in every row.

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.

    Example:
        >>> x = np.array([[1.0], [3.0]])
        >>> actnorm_forward(x, *actnorm_start(x))[0].ravel()
        array([-1.,  1.])
    """
    if x.ndim != 2 or len(x) == 0:
        raise ShapeError(f"Expected a batch of shape (N, D) with N > 0, got {x.shape}. Put one point in each row.")
    if not np.all(np.isfinite(x)):
        raise InputError("Expected finite numbers, got NaN or infinity. Leave those rows out, or fill them in.")
    deviation = x.std(axis=0)
    if not np.all(deviation > 0.0):
        raise InputError(f"Columns {np.flatnonzero(deviation <= 0.0).tolist()} are constant. Leave them out.")
    return -np.log(deviation), -x.mean(axis=0) / deviation


def actnorm_forward(x: Array, log_scale: Array, shift: Array) -> tuple[Array, Array]:
    """Scale and shift every feature by its own numbers.

    z_i = exp(s_i) x_i + t_i,   ladj = sum_i s_i

    Args:
        x: points of shape (*B, D).
        log_scale: s of shape (D,).
        shift: t of shape (D,), in the units of z.

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.

    Example:
        >>> z, ladj = actnorm_forward(np.ones(2), np.log([2.0, 3.0]), np.array([0.0, 1.0]))
        >>> z.round(6), round(float(ladj), 6)
        (array([2., 4.]), 1.791759)
    """
    return x * np.exp(log_scale) + shift, np.full(x.shape[:-1], log_scale.sum())


def actnorm_inverse(z: Array, log_scale: Array, shift: Array) -> tuple[Array, Array]:
    """Undo `actnorm_forward`.

    x_i = (z_i - t_i) exp(-s_i),   ladj = -sum_i s_i

    Args:
        z: points of shape (*B, D).
        log_scale: s of shape (D,).
        shift: t of shape (D,), in the units of z.

    Returns:
        x of shape (*B, D) and the ladj of the inverse, of shape (*B,).

    Reference:
        Kingma & Dhariwal (2018), "Glow: generative flow with invertible 1x1 convolutions", section 3.1.

    Example:
        >>> actnorm_inverse(np.array([2.0, 4.0]), np.log([2.0, 3.0]), np.array([0.0, 1.0]))[0].round(6)
        array([1., 1.])
    """
    return (z - shift) * np.exp(-log_scale), np.full(z.shape[:-1], -log_scale.sum())
