"""Maps that add a correction to the identity: planar, radial, Sylvester, and the sums behind residual flows.

Rows are points: x has shape (*B, D). Parameters belong to one map, they have no batch.
"""

from collections.abc import Callable

import numpy as np

from bijecta.reference.arrays import Array, sum_features


def planar(x: Array, w: Array, v: Array, b: float) -> tuple[Array, Array]:
    """Stretch space along one direction.

    y = x + v tanh(w.x + b),   log |det| = log |1 + w.v sech^2(w.x + b)|

    The determinant is that of the identity plus the rank-one matrix v (w sech^2)^T.

    Args:
        x: points of shape (*B, D).
        w: normal of the planes, of shape (D,).
        v: direction of the stretching, of shape (D,), with w.v > -1.
        b: offset.

    Returns:
        y of shape (*B, D) and log-determinants of shape (*B,).

    Reference:
        Rezende & Mohamed (2015), "Variational inference with normalizing flows".

    Example:
        >>> y, ladj = planar(np.zeros((1, 2)), np.ones(2), np.ones(2), 0.0)
        >>> y, ladj.round(6)  # log(1 + 2)
        (array([[0., 0.]]), array([1.098612]))
    """
    a = x @ w + b
    return x + np.tanh(a)[..., None] * v, np.log(np.abs(1.0 + (w @ v) / np.cosh(a) ** 2))


def radial(x: Array, center: Array, radius: float, beta: float) -> tuple[Array, Array]:
    """Blow space up around a center, or contract it.

    y = x + beta h (x - x_0),   h = 1 / (a + r),   r = |x - x_0|
    det = (1 + beta h)^(D - 1) (1 + beta h - beta r h^2)

    Args:
        x: points of shape (*B, D).
        center: x_0 of shape (D,).
        radius: a > 0.
        beta: strength, above -a.

    Returns:
        y of shape (*B, D) and log-determinants of shape (*B,).

    Reference:
        Rezende & Mohamed (2015), "Variational inference with normalizing flows".

    Example:
        >>> radial(np.ones((1, 1)), np.zeros(1), 1.0, 2.0)[0]
        array([[2.]])
    """
    arm = x - center
    r = np.sqrt(sum_features(arm**2))
    h = 1.0 / (radius + r)
    det = (1.0 + beta * h) ** (x.shape[-1] - 1) * (1.0 + beta * h - beta * r * h**2)
    return x + beta * h[..., None] * arm, np.log(det)


def sylvester(x: Array, q: Array, outer: Array, inner: Array, b: Array) -> tuple[Array, Array]:
    """Stretch space along several directions at once.

    y = x + Q R tanh(S Q^T x + b),   det = det(I + diag(sech^2) S R)

    The determinant is one of M x M by Sylvester's identity det(I + A B) = det(I + B A).

    Args:
        x: points of shape (*B, D).
        q: Q of shape (D, M), with orthonormal columns.
        outer: R of shape (M, M).
        inner: S of shape (M, M).
        b: offsets of shape (M,).

    Returns:
        y of shape (*B, D) and log-determinants of shape (*B,).

    Reference:
        van den Berg et al. (2018), "Sylvester normalizing flows for variational inference".

    Example:
        >>> one = np.eye(1)
        >>> sylvester(np.zeros((1, 1)), one, one, one, np.zeros(1))[1].round(6)  # log(1 + 1)
        array([0.693147])
    """
    v = x @ q @ inner.T + b
    slopes = 1.0 / np.cosh(v) ** 2
    det = np.linalg.det(np.eye(len(b)) + slopes[..., None] * (inner @ outer))
    return x + np.tanh(v) @ outer.T @ q.T, np.log(np.abs(det))


def residual_inverse(contraction: Callable[[Array], Array], z: Array, n_steps: int) -> Array:
    """Invert x + g(x) of a contraction g by its fixed-point iteration.

    x_0 = z,   x_(n+1) = z - g(x_n);   with Lipschitz constant k the error falls as k^n

    Args:
        contraction: the map g, from (*B, D) to (*B, D).
        z: values of shape (*B, D).
        n_steps: number n of steps.

    Returns:
        x of shape (*B, D).

    Reference:
        Behrmann et al. (2019), "Invertible residual networks", algorithm 1.

    Example:
        >>> residual_inverse(lambda x: 0.5 * x, np.array([3.0]), 60).round(6)
        array([2.])
    """
    x = z
    for _ in range(n_steps):
        x = z - contraction(x)
    return x


def roulette_sum(terms: Array, n_exact: int, keep: float, generator: np.random.Generator) -> float:
    """Estimate the sum of a long series from its beginning, without bias.

    S = sum_{k<=m} t_k + sum_{k>m} 1[n >= k] / P(n >= k) t_k,   P(n >= m + j) = keep^j

    Args:
        terms: t_k of shape (K,), as many as could ever be asked for.
        n_exact: number m of terms that are always taken.
        keep: probability to go on after each further term.
        generator: source of randomness.

    Returns:
        One estimate of the sum.

    Reference:
        Chen et al. (2019), "Residual flows for invertible generative modeling", theorem 1.

    Example:
        >>> roulette_sum(np.array([1.0, 0.0, 0.0]), 1, 0.5, np.random.default_rng(0))
        1.0
    """
    total, weight = float(terms[:n_exact].sum()), 1.0
    for term in terms[n_exact:]:
        if generator.random() >= keep:
            break
        weight /= keep
        total += weight * float(term)
    return total
