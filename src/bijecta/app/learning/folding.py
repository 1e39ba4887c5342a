r"""When adding something to the identity still has an inverse: :math:`z = x - c \sin x`."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FAR = 12.0


def fold(x: Array | float, c: float) -> Array:
    """Map x to x - c sin x. Its slope, 1 - c cos x, is positive everywhere only for c < 1."""
    return np.asarray(x - c * np.sin(x), dtype=np.float64)


def preimages(z: float, c: float) -> Array:
    """Find every x with x - c sin x = z, for c from 0 to 2.

    Args:
        z: where they go.
        c: how much is added.

    Returns:
        The solutions in ascending order, correct to about 1e-6: one for c <= 1, up to three beyond.

    Example:
        >>> from bijecta.app.learning.folding import preimages
        >>> len(preimages(0.0, 0.9)), len(preimages(0.0, 1.8))
        (1, 3)
    """
    x = np.linspace(-FAR, FAR, 24_000)  # an even number: no node hits a solution such as 0
    miss = fold(x, c) - z
    here = np.flatnonzero(np.sign(miss[:-1]) != np.sign(miss[1:]))
    share = miss[here] / (miss[here] - miss[here + 1])
    return np.asarray(x[here] + share * (x[here + 1] - x[here]))


def fixed_point_errors(z: float, c: float, steps: int = 30) -> Array:
    """Search the x of a z by x <- z + c sin x, and say by how much it misses z after each step."""
    x, errors = z, []
    for _ in range(steps):
        x = z + c * np.sin(x)
        errors.append(abs(float(fold(x, c)) - z))
    return np.array(errors)
