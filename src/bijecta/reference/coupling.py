"""Coupling layers: some features pass unchanged and decide how the others are scaled and shifted.

With a = the kept features and b = the moved ones, the Jacobian is block triangular,

    d(z_a, z_b)/d(x_a, x_b) = ( I      0           )
                              ( ...    diag(exp s) )

so its log-determinant is the sum of s, however complicated the functions s and t are. Nor are they ever inverted: x_a
can be read off z, and s(x_a), t(x_a) computed again.

A mask of D booleans is True where a feature is kept. The functions take the kept features, of shape (*B, n_kept), and
return one number for every moved feature, of shape (*B, n_moved).
"""

from collections.abc import Callable

import numpy as np

from bijecta.reference.arrays import Array, Mask, sum_features

Function = Callable[[Array], Array]


def additive_coupling_forward(x: Array, keep: Mask, shift: Function) -> tuple[Array, Array]:
    """Shift some features by a function of the others; volume is preserved.

    z_a = x_a,   z_b = x_b + t(x_a),   ladj = 0

    Args:
        x: points of shape (*B, D).
        keep: mask of shape (D,), True for the features a.
        shift: t, from (*B, n_kept) to (*B, n_moved).

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Dinh, Krueger & Bengio (2015), "NICE: non-linear independent components estimation".

    Example:
        >>> keep = np.array([True, False])
        >>> additive_coupling_forward(np.array([3.0, 1.0]), keep, lambda a: a**2)[0]
        array([ 3., 10.])
    """
    z = x.copy()
    z[..., ~keep] += shift(x[..., keep])
    return z, np.zeros(x.shape[:-1])


def additive_coupling_inverse(z: Array, keep: Mask, shift: Function) -> tuple[Array, Array]:
    """Undo `additive_coupling_forward`.

    x_a = z_a,   x_b = z_b - t(z_a),   ladj = 0

    Args:
        z: points of shape (*B, D).
        keep: mask of shape (D,), True for the features a.
        shift: t, from (*B, n_kept) to (*B, n_moved).

    Returns:
        x of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Dinh, Krueger & Bengio (2015), "NICE: non-linear independent components estimation".

    Example:
        >>> keep = np.array([True, False])
        >>> additive_coupling_inverse(np.array([3.0, 10.0]), keep, lambda a: a**2)[0]
        array([3., 1.])
    """
    return additive_coupling_forward(z, keep, lambda kept: -shift(kept))


def affine_coupling_forward(x: Array, keep: Mask, log_scale: Function, shift: Function) -> tuple[Array, Array]:
    """Scale and shift some features by functions of the others.

    z_a = x_a,   z_b = x_b exp(s(x_a)) + t(x_a),   ladj = sum_j s_j(x_a)

    Args:
        x: points of shape (*B, D).
        keep: mask of shape (D,), True for the features a.
        log_scale: s, from (*B, n_kept) to (*B, n_moved).
        shift: t, from (*B, n_kept) to (*B, n_moved).

    Returns:
        z of shape (*B, D) and the ladj of shape (*B,).

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", section 3.2.

    Example:
        >>> keep = np.array([True, False])
        >>> z, ladj = affine_coupling_forward(np.array([2.0, 5.0]), keep, lambda a: np.log(a), lambda a: a + 1.0)
        >>> z.round(6), round(float(ladj), 6)  # 5 * 2 + 3, log 2
        (array([ 2., 13.]), 0.693147)
    """
    s, t = log_scale(x[..., keep]), shift(x[..., keep])  # (*B, n_moved) each
    z = x.copy()
    z[..., ~keep] = x[..., ~keep] * np.exp(s) + t
    return z, sum_features(s)


def affine_coupling_inverse(z: Array, keep: Mask, log_scale: Function, shift: Function) -> tuple[Array, Array]:
    """Undo `affine_coupling_forward`.

    x_a = z_a,   x_b = (z_b - t(z_a)) exp(-s(z_a)),   ladj = -sum_j s_j(z_a)

    Args:
        z: points of shape (*B, D).
        keep: mask of shape (D,), True for the features a.
        log_scale: s, from (*B, n_kept) to (*B, n_moved).
        shift: t, from (*B, n_kept) to (*B, n_moved).

    Returns:
        x of shape (*B, D) and the ladj of the inverse, of shape (*B,).

    Reference:
        Dinh, Sohl-Dickstein & Bengio (2017), "Density estimation using Real NVP", section 3.2.

    Example:
        >>> keep = np.array([True, False])
        >>> affine_coupling_inverse(np.array([2.0, 13.0]), keep, lambda a: np.log(a), lambda a: a + 1.0)[0].round(6)
        array([2., 5.])
    """
    s, t = log_scale(z[..., keep]), shift(z[..., keep])  # (*B, n_moved) each
    x = z.copy()
    x[..., ~keep] = (z[..., ~keep] - t) * np.exp(-s)
    return x, -sum_features(s)
