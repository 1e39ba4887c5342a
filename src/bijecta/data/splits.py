"""Split the rows of a table into a training and a validation part."""

import numpy as np
from numpy.typing import NDArray

from bijecta.errors import InputError


def split_rows(n: int, fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split row numbers at random, the same way every time.

    A random permutation of 0..n-1 is cut after the first ``round(fraction * n)`` rows, which become the validation
    part; each part gets at least one row.

    Args:
        n: number of rows, at least 2.
        fraction: share of the validation part, strictly between 0 and 1.
        seed: non-negative integer that fixes the permutation.

    Returns:
        Row numbers of the training part and of the validation part, two int64 arrays that together hold every row
        once.

    Raises:
        InputError: fewer than 2 rows, a fraction outside (0, 1), or a negative seed.

    Reference:
        Stone (1974), "Cross-validatory choice and assessment of statistical predictions".

    Example:
        >>> training, validation = split_rows(10, 0.2, seed=0)
        >>> len(training), len(validation)
        (8, 2)
    """
    if n < 2:
        raise InputError(f"A split needs at least 2 rows, one for each part; got {n}. Bring more data.")
    if not 0.0 < fraction < 1.0:
        raise InputError(f"The validation fraction must lie strictly between 0 and 1; got {fraction}. Try 0.1.")
    if seed < 0:
        raise InputError(f"The seed must be a non-negative integer; got {seed}. Try seed=0.")
    order = np.random.default_rng(seed).permutation(n).astype(np.int64)
    n_validation = min(max(round(fraction * n), 1), n - 1)
    return order[n_validation:], order[:n_validation]
