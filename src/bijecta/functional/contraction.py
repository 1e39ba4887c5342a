"""Contractions g, |g(x) - g(y)| <= k |x - y| with k < 1: bounds, and the map x + g(x) with its determinant."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from bijecta.errors import NotConvergedError

SQUARINGS = 9  # a multiple of 3; the bound exceeds the norm by rank ** (1 / 2048) at most, 0.2 % for rank 64
RIDGE = 1e-20  # added to squared norms: it raises bounds below 1e-5, which limit nothing
MAX_STEPS = 2000  # 0.97 ** 2000 is 1e-27: whoever is not there by then has no contraction
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}  # of the inverse, relative to the size of the numbers


class Derivative(Protocol):
    """A Jacobian at every row of a batch, known by its products with vectors and, for few features, as a matrix."""

    def apply(self, v: Tensor) -> Tensor:
        """Multiply by the matrix."""

    def apply_transposed(self, v: Tensor) -> Tensor:
        """Multiply by the transposed matrix."""

    def dense(self) -> Tensor:
        """Return the matrix."""


Linearise = Callable[[Tensor], tuple[Tensor, Derivative]]


def concatenated_lipswish(a: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    r"""Activate by a smooth function and its mirror image, which together never lengthen a change.

    ``[phi(a), phi(-a)] / 1.004`` with ``phi(a) = a sigmoid(beta a) / 1.1``. For every beta the largest slope of
    ``a sigmoid(beta a)`` is 1.0998, and the largest length of the two slopes together is 1.1044 < 1.1 * 1.004.

    Args:
        a: numbers of shape (..., H).
        beta: sharpness, positive, broadcastable against a.

    Returns:
        The values and their derivatives with respect to a, both of shape (..., 2 H).

    Reference:
        Chen et al., "Residual flows for invertible generative modeling" (2019); Perugachi-Diaz et al., "Invertible
        DenseNets with concatenated LipSwish" (2021).

    Example:
        >>> concatenated_lipswish(torch.tensor([1e30]), torch.tensor(1.0))[1]
        tensor([0.9055, 0.0000])
    """
    t = beta * a
    # The mirror's gate 1 - sigmoid(t) as a sigmoid of its own underflows before t overflows: their product is 0.
    gate, mirrored = torch.sigmoid(t), torch.sigmoid(-t)
    values = torch.cat([a * gate, -a * mirrored], -1)
    slopes = torch.cat([gate * (1 + t * mirrored), mirrored * (t * gate - 1)], -1)
    return values / (1.1 * 1.004), slopes / (1.1 * 1.004)


def log_spectral_bound(matrix: Tensor) -> Tensor:
    """Bound the logarithm of the largest singular value from above.

    ``|W| <= ||(W W^T)^(2^t)||_F ^ (2^-t / 2)``, which exceeds |W| by less than a factor ``rank^(2^-(t + 2))``. Squaring
    t times takes no state and no random start, in contrast to power iteration, whose estimates are lower bounds; and
    it has derivatives of every order.

    Args:
        matrix: W of shape (rows, columns).

    Returns:
        The logarithm of the bound, a scalar.

    Reference:
        Delattre et al., "Efficient bound of Lipschitz constant for convolutional layers by Gram iteration" (2023).

    Example:
        >>> log_spectral_bound(torch.diag(torch.tensor([2.0, 1.0]))).exp()
        tensor(2.)
    """
    gram = matrix @ matrix.mT if matrix.shape[0] <= matrix.shape[1] else matrix.mT @ matrix
    gram, log_norm = _normalised(gram)
    total = log_norm / 2
    for squarings in range(3, SQUARINGS + 1, 3):
        # Three squarings of a matrix of norm 1 and rank r leave a norm of r^-4 at least: no need to divide each time.
        for _ in range(3):
            gram = gram @ gram
        gram, log_norm = _normalised(gram)
        total = total + log_norm / 2 ** (squarings + 1)
    return total


def _normalised(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Divide by the Frobenius norm and return its logarithm too; a ridge keeps a zero matrix differentiable."""
    norm = (matrix.square().sum() + RIDGE).sqrt()
    return matrix / norm, norm.log()


def exact_ladj(derivative: Derivative) -> Tensor:
    """Evaluate the ladj of x + g(x) by elimination.

    ``log det(I + J)``, with J made of D products; its determinant is positive, for J is a contraction.

    Args:
        derivative: J at every row.

    Returns:
        The ladj, of the shape of the batch.

    Reference:
        Behrmann et al., "Invertible residual networks" (2019).

    Example:
        >>> from bijecta.nets.lipschitz import LipschitzMLP
        >>> exact_ladj(LipschitzMLP(3).linearise(torch.ones(5, 3))[1])
        tensor([0., 0., 0., 0., 0.], grad_fn=<...>)
    """
    return torch.linalg.slogdet(_shifted(derivative)).logabsdet


def _shifted(derivative: Derivative) -> Tensor:
    matrix = derivative.dense()
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def roulette_weights(like: Tensor, exact: int, keep: float) -> Tensor:
    """Draw for every row how many terms of a series to evaluate, and what each weighs so that no term is lost.

    ``w_k = 1`` for the first terms; then ``w_k = 1[n >= k] / P(n >= k)`` with ``P(n >= exact + j) = keep^j``, hence
    ``E[w_k] = 1`` for every k. The noise is torch's global one.

    Args:
        like: a tensor with the shape of the batch.
        exact: how many terms every row has.
        keep: probability to go on after each further term, within (0, 1).

    Returns:
        Weights of shape (terms, batch); the number of terms is that of the row with the most.

    Reference:
        Chen et al., "Residual flows for invertible generative modeling" (2019), theorem 1.

    Example:
        >>> roulette_weights(torch.zeros(5), exact=3, keep=0.5)[:3].mean()
        tensor(1.)
    """
    further = (torch.rand_like(like).clamp_min(1e-30).log() / math.log(keep)).floor()
    # The loop is as long as the longest draw: the one place where a random number has to reach Python.
    longest = int(further.amax()) if further.numel() else 0
    steps = torch.arange(1, longest + 1, dtype=like.dtype, device=like.device).reshape(-1, *[1] * like.ndim)
    roulette = torch.where(further >= steps, keep**-steps, 0.0)
    return torch.cat([torch.ones(exact, *like.shape, dtype=like.dtype, device=like.device), roulette])


def estimated_ladj(derivative: Derivative, noise: Tensor, weights: Tensor) -> Tensor:
    r"""Estimate the ladj of x + g(x), and its gradient, without bias from products with J.

    ``log det(I + J) = sum_k (-1)^(k+1) E[e^T J^k e] / k``, and for the gradient
    ``d log det(I + J) = E[(sum_k (-1)^k (J^T)^k e)^T dJ e]``: the sum needs no graph, so memory does not grow with the
    terms. The number returned is the first series, its gradient the second; every row keeps its own weight in both.
    Second derivatives are not available.

    Args:
        derivative: J at every row.
        noise: e of shape (..., D) with ``E[e e^T] = I``.
        weights: of the terms k = 1, 2, ..., as `roulette_weights` draws them, (terms, ...).

    Returns:
        One estimate per row.

    Reference:
        Chen et al., "Residual flows for invertible generative modeling" (2019), theorems 1 and 2.

    Example:
        >>> from bijecta.nets.lipschitz import LipschitzMLP
        >>> _, derivative = LipschitzMLP(3).linearise(torch.ones(5, 3))
        >>> estimated_ladj(derivative, torch.ones(5, 3), torch.ones(4, 5)).shape
        torch.Size([5])
    """
    with torch.no_grad():
        power, neumann, value = noise, noise, torch.zeros_like(noise[..., 0])
        for k, weight in enumerate(weights, start=1):
            power = -derivative.apply_transposed(power)
            value = value - weight * (power * noise).sum(-1) / k
            neumann = neumann + weight[..., None] * power
    surrogate = (neumann * derivative.apply(noise)).sum(-1)
    return value + (surrogate - surrogate.detach())


def invert_shifted(linearise: Linearise, z: Tensor, *, newton: bool) -> Tensor:
    """Solve ``x + g(x) = z`` for x.

    ``x <- z - g(x)`` shrinks the error by the factor k at least. With `newton` a step
    ``x <- x - (I + J)^-1 (x + g(x) - z)`` is taken instead in every row where it leaves a smaller residual: few steps
    instead of hundreds, and as safe.

    Args:
        linearise: returns g(x) and its derivative.
        z: right-hand sides of shape (..., D).
        newton: whether to make the matrix J, for small D.

    Returns:
        x, without a graph, of z's shape; NaN in rows where z is not finite.

    Raises:
        NotConvergedError: a residual is not below its tolerance after all steps.

    Reference:
        Behrmann et al., "Invertible residual networks" (2019), algorithm 1 (the fixed-point iteration).

    Example:
        >>> from bijecta.nets.lipschitz import LipschitzMLP
        >>> invert_shifted(LipschitzMLP(3).linearise, torch.ones(3), newton=True)
        tensor([1., 1., 1.])
    """
    tolerance = TOLERANCE.get(z.dtype, 16 * torch.finfo(z.dtype).eps)
    with torch.no_grad():
        x, value, derivative = z, *linearise(z)
        solvable = torch.isfinite(value).all(-1)  # what is NaN from the start stays NaN, and stops no other row
        for _ in range(MAX_STEPS):
            residual = x + value - z
            error = residual.abs().amax(-1) / (1 + torch.maximum(x.abs(), z.abs()).amax(-1))
            if not bool((solvable & ~(error <= tolerance)).any()):
                return x
            fixed_point = x - residual
            x = _better(linearise, z, residual, fixed_point, derivative) if newton else fixed_point
            value, derivative = linearise(x)
    largest = float(torch.where(solvable, error, 0).amax())
    raise NotConvergedError(
        f"The inverse of x + g(x) expected a relative residual of {tolerance:g}, got {largest:.2g} after "
        f"{MAX_STEPS} steps. Check that g is a contraction in every row."
    )


def _better(linearise: Linearise, z: Tensor, residual: Tensor, fixed_point: Tensor, derivative: Derivative) -> Tensor:
    """Take Newton's step from ``fixed_point + residual`` where it shrinks the residual, else the fixed-point step."""
    guess = fixed_point + residual - _solve(_shifted(derivative), residual)
    left = (guess + linearise(guess)[0] - z).abs().amax(-1, keepdim=True)
    return torch.where(left < 0.5 * residual.abs().amax(-1, keepdim=True), guess, fixed_point)


def attach_derivatives(linearise: Linearise, x: Tensor, z: Tensor) -> Tensor:
    """Give a solution of ``x + g(x) = z`` the derivatives that the implicit function theorem says it has.

    Two steps ``x <- x - A (x + g(x) - z)`` with a constant ``A = (I + J)^-1``: they do not move a solution, and each
    adds an order to the derivatives that are right, so that first and second ones are.

    Args:
        linearise: returns g(x) and its derivative.
        x: solutions of shape (..., D), without a graph.
        z: right-hand sides of shape (..., D).

    Returns:
        x, as a function of z and of all that g depends on.

    Reference:
        Krantz & Parks (2002), "The implicit function theorem", section 3.3.

    Example:
        >>> from bijecta.nets.lipschitz import LipschitzMLP
        >>> z = torch.ones(3, requires_grad=True)
        >>> attach_derivatives(LipschitzMLP(3).linearise, torch.ones(3), z).sum().backward()
        >>> z.grad
        tensor([1., 1., 1.])
    """
    with torch.no_grad():
        matrix = _shifted(linearise(x)[1])
    for _ in range(2):
        x = x - _solve(matrix, x + linearise(x)[0] - z)
    return x


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    return torch.linalg.solve(matrix, right[..., None])[..., 0]
