"""Log-densities of the base distributions, in nats.

Features are independent unless a formula says otherwise, so the log-density of a row is the sum over its features.
Arrays are float64; x has shape (*B, D) and a log-density has shape (*B,).
"""

import math

import numpy as np

from bijecta.errors import InputError
from bijecta.reference.arrays import Array, Broadcastable, sum_features

LOG_TWO_PI = math.log(2.0 * math.pi)


def _require_positive(value: Broadcastable, name: str) -> None:
    if not np.all(np.asarray(value) > 0.0):
        raise InputError(f"{name} must be positive everywhere, got {value}. Check how it was computed.")


def standard_normal_log_prob(x: Array) -> Array:
    """Evaluate the log-density of independent standard normal features.

    log p(x) = -1/2 sum_i (x_i^2 + log 2π)

    Args:
        x: points of shape (*B, D).

    Returns:
        Log-densities of shape (*B,), in nats.

    Reference:
        Gauss (1809), "Theoria motus corporum coelestium".

    Example:
        >>> round(float(standard_normal_log_prob(np.zeros(2))), 6)
        -1.837877
    """
    return -0.5 * sum_features(x**2 + LOG_TWO_PI)


def diagonal_normal_log_prob(x: Array, location: Broadcastable, scale: Broadcastable) -> Array:
    """Evaluate the log-density of independent normal features.

    log p(x) = -1/2 sum_i ((x_i - μ_i)^2 / σ_i^2 + log 2π) - sum_i log σ_i

    It is the standard normal after the change of variables u = (x - μ) / σ, whose ladj is -sum_i log σ_i.

    Args:
        x: points of shape (*B, D).
        location: means μ, in the units of x; broadcast against x.
        scale: standard deviations σ > 0, in the units of x; broadcast against x.

    Returns:
        Log-densities of shape (*B,), in nats.

    Raises:
        InputError: a scale is not positive.

    Reference:
        Bishop (2006), "Pattern Recognition and Machine Learning", section 2.3.

    Example:
        >>> round(float(diagonal_normal_log_prob(np.array([3.0]), 3.0, 2.0)), 6)
        -1.612086
    """
    _require_positive(scale, "scale")
    u = (x - location) / scale
    return sum_features(-0.5 * (u**2 + LOG_TWO_PI) - np.log(scale))


def uniform_box_log_prob(x: Array, low: Broadcastable, high: Broadcastable) -> Array:
    """Evaluate the log-density of the uniform distribution on the box [low, high).

    log p(x) = -sum_i log(high_i - low_i) inside the box, -inf outside

    Args:
        x: points of shape (*B, D).
        low: lower corner (included); broadcast against x.
        high: upper corner (excluded); broadcast against x.

    Returns:
        Log-densities of shape (*B,), in nats.

    Raises:
        InputError: a side of the box is not positive.

    Reference:
        Devroye (1986), "Non-Uniform Random Variate Generation", chapter 1.

    Example:
        >>> uniform_box_log_prob(np.array([[0.5, 0.5], [0.5, 4.0]]), 0.0, 4.0).round(6)  # -2 log 4
        array([-2.772589,      -inf])
    """
    side = np.subtract(high, low)
    _require_positive(side, "high - low")
    inside = (x >= low) & (x < high)  # (*B, D): one feature outside makes the sum -inf
    return sum_features(np.where(inside, -np.log(side), -np.inf))


def student_t_log_prob(x: Array, location: Broadcastable, scale: Broadcastable, df: Broadcastable) -> Array:
    """Evaluate the log-density of independent Student-t features.

    log p(x) = sum_i [log Γ((ν_i + 1)/2) - log Γ(ν_i/2) - 1/2 log(π ν_i) - log σ_i
                      - (ν_i + 1)/2 log(1 + u_i^2 / ν_i)],   u_i = (x_i - μ_i) / σ_i

    Args:
        x: points of shape (*B, D).
        location: centres μ, in the units of x; broadcast against x.
        scale: widths σ > 0, in the units of x; broadcast against x.
        df: degrees of freedom ν > 0; ν = 1 is Cauchy, ν to infinity is normal; broadcast against x.

    Returns:
        Log-densities of shape (*B,), in nats.

    Raises:
        InputError: a scale or a df is not positive.

    Reference:
        Student (1908), "The probable error of a mean".

    Example:
        >>> round(float(student_t_log_prob(np.array([0.0]), 0.0, 1.0, 1.0)), 6)  # Cauchy: -log π
        -1.14473
    """
    _require_positive(scale, "scale")
    _require_positive(df, "df")
    log_gamma = np.vectorize(math.lgamma, otypes=[np.float64])  # NumPy has no log Γ of its own
    df = np.asarray(df, dtype=np.float64)
    log_peak = log_gamma((df + 1) / 2) - log_gamma(df / 2) - 0.5 * np.log(np.pi * df) - np.log(scale)
    tail = -(df + 1) / 2 * np.log1p(((x - location) / scale) ** 2 / df)  # log1p keeps all digits near the centre
    return sum_features(log_peak + tail)


def log_sum_exp(values: Array, axis: int = -1) -> Array:
    """Add numbers that are given by their logarithms.

    log sum_k exp(v_k) = m + log sum_k exp(v_k - m),   m = max_k v_k

    No exponential exceeds 1, and one of them equals 1: neither overflow nor log 0.

    Args:
        values: logarithms v; -inf stands for zero.
        axis: the axis to sum over.

    Returns:
        The logarithm of the sum, without that axis; -inf where everything is zero.

    Reference:
        Blanchard, Higham & Higham (2021), "Accurately computing the log-sum-exp and softmax functions".

    Example:
        >>> round(float(log_sum_exp(np.array([1000.0, 1000.0])) - 1000.0), 6)  # log 2
        0.693147
    """
    total: Array = np.logaddexp.reduce(values, axis=axis)  # the identity above, two terms at a time
    return total


def gaussian_mixture_log_prob(x: Array, log_weights: Array, locations: Array, scales: Array) -> Array:
    """Evaluate the log-density of a mixture of K diagonal normal distributions.

    log p(x) = log sum_k exp(log π_k + log N(x; μ_k, σ_k)),   π = softmax(log_weights)

    Args:
        x: points of shape (*B, D).
        log_weights: logarithms of the weights, up to a common constant, of shape (K,).
        locations: means of shape (K, D), in the units of x.
        scales: standard deviations > 0 of shape (K, D), in the units of x.

    Returns:
        Log-densities of shape (*B,), in nats.

    Raises:
        InputError: a scale is not positive.

    Reference:
        McLachlan & Peel (2000), "Finite Mixture Models".

    Example:
        >>> x, twice = np.ones(3), np.ones((2, 3))  # the same component twice
        >>> mixture = gaussian_mixture_log_prob(x, np.zeros(2), 0.0 * twice, twice)
        >>> bool(np.isclose(mixture, standard_normal_log_prob(x)))
        True
    """
    log_weights = log_weights - log_sum_exp(log_weights)  # (K,)
    components = diagonal_normal_log_prob(x[..., None, :], locations, scales)  # (*B, K)
    return log_sum_exp(log_weights + components)


def circular_uniform_log_prob(angle: Array) -> Array:
    """Evaluate the log-density of independent angles, uniform on [-π, π).

    log p(θ) = -D log 2π inside, -inf outside

    Args:
        angle: angles of shape (*B, D), in radians.

    Returns:
        Log-densities of shape (*B,), in nats.

    Reference:
        Mardia & Jupp (2000), "Directional Statistics", section 3.5.

    Example:
        >>> round(float(circular_uniform_log_prob(np.zeros(1))), 6)
        -1.837877
    """
    return uniform_box_log_prob(angle, -np.pi, np.pi)


def log_scaled_bessel_i0(concentration: Broadcastable) -> Array:
    """Evaluate log(exp(-κ) I0(κ)), with I0 the modified Bessel function of order zero.

    exp(-κ) I0(κ) ~ (2πκ)^(-1/2) (1 + c_1 + c_2 + ...),   c_k / c_(k-1) = (2k - 1)^2 / (8 k κ)

    I0 itself overflows beyond κ = 713, so the series takes over at κ = 50. There c_12 = 1e-17 is already below the
    rounding of float64, long before the terms of this divergent series start to grow again (near c_2κ).

    Args:
        concentration: κ >= 0, of any shape.

    Returns:
        An array of the same shape.

    Reference:
        Abramowitz & Stegun (1964), "Handbook of Mathematical Functions", equation 9.7.1.

    Example:
        >>> round(float(log_scaled_bessel_i0(0.0)), 6)
        0.0
        >>> bool(np.isfinite(log_scaled_bessel_i0(1e6)))
        True
    """
    small = np.minimum(concentration, 50.0)  # each branch of np.where must be finite on its own
    large = np.maximum(concentration, 50.0)
    term, series = np.ones_like(large), np.ones_like(large)
    for k in range(1, 13):
        term = term * (2 * k - 1) ** 2 / (8 * k * large)
        series = series + term
    asymptotic = np.log(series) - 0.5 * np.log(2 * np.pi * large)
    return np.where(np.asarray(concentration) < 50.0, np.log(np.i0(small)) - small, asymptotic)


def von_mises_log_prob(angle: Array, location: Broadcastable, concentration: Broadcastable) -> Array:
    """Evaluate the log-density of independent von Mises angles.

    log p(θ) = sum_i [κ_i cos(θ_i - μ_i) - log(2π I0(κ_i))]
             = sum_i [-2 κ_i sin^2((θ_i - μ_i)/2) - log 2π - log(exp(-κ_i) I0(κ_i))]

    The second line subtracts no large numbers, so it stays exact for large κ. The formula repeats every 2π; it is a
    density on any one turn.

    Args:
        angle: angles of shape (*B, D), in radians.
        location: mean directions μ, in radians; broadcast against angle.
        concentration: κ >= 0; κ = 0 is uniform, 1/κ is about the variance when κ is large; broadcast against angle.

    Returns:
        Log-densities of shape (*B,), in nats.

    Raises:
        InputError: a concentration is negative.

    Reference:
        Mardia & Jupp (2000), "Directional Statistics", section 3.5.

    Example:
        >>> round(float(von_mises_log_prob(np.zeros(1), 0.0, 0.0)), 6)  # no concentration: uniform
        -1.837877
    """
    if not np.all(np.asarray(concentration) >= 0.0):
        raise InputError(f"concentration must be zero or positive, got {concentration}. Turn location by π instead.")
    half_sine = np.sin((angle - location) / 2)
    exponent = -2.0 * np.asarray(concentration) * half_sine**2
    return sum_features(exponent - LOG_TWO_PI - log_scaled_bessel_i0(concentration))
