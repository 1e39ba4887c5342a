"""Integrals over a box by a flow that learns where the integrand is large, with VEGAS as start and as rival."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bijecta.bijections import Affine, Bijection, Chain, Coupling, RationalQuadraticSpline
from bijecta.distributions import UniformBox
from bijecta.errors import InputError, ShapeError, require
from bijecta.flows import Flow
from bijecta.hep.event_flow import binary_mask
from bijecta.nets import MLP
from bijecta.training import FitConfig, fit

FloatArray = NDArray[np.float64]
Integrand = Callable[[FloatArray], ArrayLike]
Box = int | tuple[Sequence[float], Sequence[float]]

_UNIFORM, _GRID = 0.05, 0.2  # shares of draws from the cube and from the grid alone: so weights stay bounded
_EDGE = 1e-5  # how far rounding in float32 may carry a point over the end of the cube
_ROUNDS, _WARM_ROUNDS = 10, (5, 8)  # of VEGAS: all in all; before the flow may take over, at least and at most
_FALLS = 0.7  # error of VEGAS over that of two rounds before, below which its grid still learns
_EVEN = 0.3  # relative deviation of the weights of VEGAS below which no flow is trained
_PROBES = 0.01  # share of the calls that look for cuts
_PILOT = 0.05  # share of the calls that decides between the flow and VEGAS
_FEWEST_CALLS = 1000
_FEWEST_ROWS = 50  # that a training needs
_STEPS = 250  # of one training
_TINY = 1e-100  # where all weights are equal, also all zero


@dataclass(frozen=True)
class Integral:
    """The value of an integral and how it was found.

    Attributes:
        value: the estimate, in units of the integrand times those of the box.
        error: its standard deviation.
        calls: how often the integrand was evaluated, all in all.
        relative_deviation: standard deviation of the weight of one call over the value; error / value is this over
            the root of the calls that count.
        chi2: χ² of the passes around their mean per degree of freedom.
        method: "flow" or "vegas".
        points: points (n, D) of the passes that count, to be unweighted.
        weights: (n,), integrand over density at these points; for "vegas" times the share of the strata.
    """

    value: float
    error: float
    calls: int
    relative_deviation: float
    chi2: float
    method: str
    points: FloatArray = field(repr=False)
    weights: FloatArray = field(repr=False)


def integrate(
    f: Integrand, box: Box, calls: int, *, signed: bool = False, seed: int = 0, warm_start: str | None = "vegas"
) -> Integral:
    r"""Integrate a function over a box by importance sampling with a trained flow.

    .. math:: I = \int f(x)\,dx = \mathbb{E}_{x \sim q}\left[\frac{f(x)}{q(x)}\right], \qquad
        q = 0.75\, q_{flow} + 0.2\, q_{grid} + 0.05

    The flow lives on the unit cube, with splines that end where the cube ends. It learns |f| by weighted maximum
    likelihood from every evaluation so far; passes that count are drawn afterwards, so that the training does not bias
    value and error, and each pass has a weight that was known before it was drawn. With a warm start the cube is that
    of an adapted VEGAS grid. VEGAS goes on while its error falls, and where its weights hardly vary, and no flow is
    trained. Else a pilot pass, which does not count, measures the flow, and VEGAS goes on where it promises the smaller
    error with all calls.

    Args:
        f: takes points (n, D), float64 in the coordinates of the box; returns (n,) values.
        box: number D of dimensions for the unit cube, or (low, high), the corners of the box.
        calls: evaluations of f, at least 1000.
        signed: whether f may be negative; its weights then keep their signs.
        seed: the same seed gives the same integral.
        warm_start: "vegas" (needs the package vegas) or None, which starts from uniform draws.

    Returns:
        Value, error and how they were found.

    Raises:
        InputError: an empty box, too few calls, f not finite, or negative without ``signed``.
        ShapeError: f returned values of another shape.
        MissingDependencyError: the package vegas is not installed.

    Reference:
        Lepage (1978), "A new algorithm for adaptive multidimensional integration"; Müller et al. (2019), "Neural
        importance sampling"; Gao, Isaacson, Krause (2020), "i-flow: high-dimensional integration and sampling with
        normalizing flows".

    Example:
        >>> result = integrate(lambda x: 3.0 * x[:, 0] ** 2, 1, 2000, warm_start=None)
        >>> abs(result.value - 1.0) < 5.0 * result.error
        True
    """
    if warm_start not in ("vegas", None):
        raise InputError(f'integrate expects warm_start "vegas" or None; got {warm_start!r}.')
    if calls < _FEWEST_CALLS:
        raise InputError(f"integrate needs at least {_FEWEST_CALLS} calls to learn from; got {calls}.")
    counted = _Counted(f, *_corners(box), signed)
    random = np.random.default_rng(seed)
    rival = None if warm_start is None else _Vegas(counted, calls, random)
    search = _FlowSearch(counted, random, seed, rival)
    search.begin(calls)
    if rival is not None and (rival.is_even() or rival.falls()):
        return rival.finish()
    search.learn()
    pilot = search.draw(int(calls * _PILOT))
    left = calls - counted.calls
    if rival is not None and rival.expected_variance() <= pilot.deviation**2 / left:
        return rival.finish()
    search.learn()
    first = search.draw(int(0.3 * left))
    search.learn()
    second = search.draw(calls - counted.calls)
    return _combine([first, second], [pilot.deviation, first.deviation], counted, "flow")


@dataclass(frozen=True)
class _Pass:
    """Draws of one proposal: points of the unit cube, and their weights, whose mean is the integral."""

    points: FloatArray
    weights: FloatArray
    value: float
    error: float

    @property
    def deviation(self) -> float:
        """Standard deviation of the weight of one draw."""
        return self.error * math.sqrt(len(self.weights))


class _Counted:
    """The integrand on the unit cube times the volume of its box, checked and counted."""

    def __init__(self, f: Integrand, low: FloatArray, high: FloatArray, signed: bool) -> None:  # noqa: FBT001
        self.f, self.low, self.high, self.signed, self.calls = f, low, high, signed, 0
        self.volume = float(np.prod(high - low))

    def __call__(self, unit: FloatArray) -> FloatArray:
        self.calls += len(unit)
        points = self.in_box(unit)
        values = np.asarray(self.f(points), dtype=np.float64)
        if values.shape != (len(points),):
            raise ShapeError(f"The integrand has to return {(len(points),)} values; it returned {values.shape}.")
        wrong = ~np.isfinite(values) if self.signed else ~np.isfinite(values) | (values < 0.0)
        if wrong.any():
            at = int(wrong.argmax())
            hint = "" if self.signed else ", not negative unless signed=True"
            raise InputError(
                f"The integrand has to be finite{hint}; it is {values[at]:g} at {points[at].tolist()}. "
                "Return 0 where it is cut off."
            )
        return values * self.volume

    def in_box(self, unit: FloatArray) -> FloatArray:
        return self.low + (self.high - self.low) * unit


def _corners(box: Box) -> tuple[FloatArray, FloatArray]:
    low, high = (np.zeros(box), np.ones(box)) if isinstance(box, int) else (np.asarray(e, np.float64) for e in box)
    if (
        low.shape != high.shape
        or low.ndim != 1
        or not len(low)
        or not bool(((low < high) & np.isfinite(high - low)).all())
    ):
        raise InputError(f"integrate expects a number of dimensions or finite corners low < high; got {box}.")
    return low, high


class _Vegas:
    """VEGAS on the unit cube, round by round, remembering what it drew."""

    def __init__(self, f: _Counted, calls: int, random: np.random.Generator) -> None:
        vegas = require("vegas", extra="hep", purpose="A warm start with VEGAS")
        self.f, self.calls, self.rounds = f, calls, list[_Pass]()
        self.drawn = list[tuple[FloatArray, FloatArray]]()
        # A grid that follows a cut at full speed (0.5) squeezes thin corners out before it has seen them.
        cut = bool((f(random.random((int(calls * _PROBES), len(f.low)))) == 0.0).any())
        self.integrator: Any = vegas.Integrator(
            [[0.0, 1.0]] * len(f.low),
            neval=int(calls * (1.0 - _PILOT - _PROBES)) // _ROUNDS,
            nitn=1,
            alpha=0.2 if cut else 0.5,
            ran_array_generator=random.random,
        )
        self.integrand = vegas.lbatchintegrand(self._remember)

    def round(self) -> None:
        """Draw and adapt once."""
        self.drawn.clear()
        grid = _Grid(self)
        estimate = self.integrator(self.integrand).itn_results[0]
        points, values = (np.concatenate(column) for column in zip(*self.drawn, strict=True))
        weights = values * self._share(grid, points) * len(points)
        self.rounds.append(_Pass(points, weights, float(estimate.mean), float(estimate.sdev)))

    def is_learning(self) -> bool:
        """Say whether the grid should be given another round before it is judged."""
        fewest, most = _WARM_ROUNDS
        return len(self.rounds) < fewest or (len(self.rounds) < most and self.falls())

    def falls(self) -> bool:
        """Say whether the error fell in the last two rounds: one alone may be luck."""
        before, _, last = self._relative()[-3:]
        return bool(last < _FALLS * before)

    def expected_variance(self) -> float:
        """Square of the error that all rounds may reach, if those to come gain what the last two did."""
        relative = self._relative()
        last = relative[-2:].min()
        gain = min(1.0, math.sqrt(last / max(relative[-3], _TINY)))
        coming = last * gain ** np.arange(1, _ROUNDS - len(self.rounds) + 1)
        precision = np.sum(np.maximum(np.append(relative[1:], coming), _TINY) ** -2.0)
        return float(np.abs(self.rounds[-1].weights).mean() ** 2 / precision)

    def _relative(self) -> FloatArray:
        """Return error over size for each round: one that missed a peak has little of both."""
        sizes = [float(np.abs(one.weights).mean()) for one in self.rounds]
        return np.array([one.error / max(size, _TINY) for one, size in zip(self.rounds, sizes, strict=True)])

    def is_even(self) -> bool:
        """Say whether weights vary so little that defending a flow would cost more than it brings."""
        last = self.rounds[-1]
        return last.deviation <= _EVEN * abs(last.value)

    def finish(self) -> Integral:
        """Go through the rounds that are left, one more if strata left calls over; the first only weighs the second."""
        while len(self.rounds) < _ROUNDS or self.f.calls + len(self.rounds[-1].weights) <= self.calls:
            self.round()
        return _combine(self.rounds[1:], [one.deviation for one in self.rounds[:-1]], self.f, "vegas")

    def _remember(self, points: FloatArray) -> FloatArray:
        values = self.f(points)
        self.drawn.append((points.copy(), values))
        return values

    def _share(self, grid: "_Grid", points: FloatArray) -> FloatArray:
        """Volume that each point stands for: that of its stratum over the number of points in it."""
        y, jacobian = grid.from_cube(points)
        strata = np.asarray(self.integrator.nstrat)
        cells = np.minimum((y * strata).astype(np.int64), strata - 1)
        cell = cells @ np.append(1, np.cumprod(strata[:-1]))
        _, place, count = np.unique(cell, return_inverse=True, return_counts=True)
        return jacobian / (float(np.prod(strata)) * count[place])


class _Grid:
    """The map of VEGAS from its own cube, where the integrand is flatter, to the unit cube; the identity without."""

    def __init__(self, rival: _Vegas | None = None) -> None:
        self.map = None if rival is None else type(rival.integrator.map)(rival.integrator.map)

    def to_cube(self, y: FloatArray) -> FloatArray:
        if self.map is None:
            return y
        unit, jacobian = np.empty_like(y), np.empty(len(y))
        self.map.map(y, unit, jacobian)
        return unit

    def from_cube(self, unit: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return points of the grid's cube, and the volume of the unit cube per volume of the grid's there."""
        y, jacobian = unit.copy(), np.ones(len(unit))
        if self.map is not None:
            self.map.invmap(np.ascontiguousarray(unit), y, jacobian)
        return y, jacobian


class _FlowSearch:
    """A flow on the unit cube of a grid, and all evaluations that it learns from."""

    def __init__(self, f: _Counted, random: np.random.Generator, seed: int, rival: _Vegas | None) -> None:
        self.f, self.random, self.seed, self.rival, self.grid = f, random, seed, rival, _Grid()
        self.generator = torch.Generator().manual_seed(seed)
        self.flow = _cube_flow(len(f.low), seed)
        self.known = list[tuple[FloatArray, FloatArray]]()  # points of the grid's cube, and |weights|

    def begin(self, calls: int) -> None:
        """Look at the integrand for the first time: with VEGAS, or everywhere alike."""
        if self.rival is None:
            points = self.random.random((calls // 5, len(self.f.low)))
            self.known.append((points, np.abs(self.f(points))))
        else:
            while self.rival.is_learning():
                self.rival.round()
            self.grid = _Grid(self.rival)
            self.known += [(self.grid.from_cube(one.points)[0], np.abs(one.weights)) for one in self.rival.rounds]

    def learn(self) -> None:
        """Train the flow on every evaluation so far, each with its weight."""
        points, weights = (np.concatenate(column) for column in zip(*self.known, strict=True))
        useful = weights > 0.0
        if useful.sum() < _FEWEST_ROWS:
            return
        batch = min(500, int(useful.sum()) // 2)
        epochs = max(2, _STEPS * batch // int(useful.sum()))
        config = FitConfig(epochs=epochs, batch_size=batch, learning_rate=3e-3, ema=0.98, seed=self.seed)
        x, w = torch.from_numpy(points[useful]).float(), torch.from_numpy(weights[useful] / weights.mean()).float()
        fit(self.flow, x, weight=w, config=config)

    @torch.no_grad()
    def draw(self, n: int) -> _Pass:
        """Draw a pass from the flow as it is now, and remember it for the next training."""
        kind = self.random.random(n)
        y = self.flow.sample(n, generator=self.generator).double().numpy()
        defence = kind < _UNIFORM + _GRID
        y[defence] = self.random.random((int(defence.sum()), len(self.f.low)))
        inside = ((y >= 0.0) & (y <= 1.0)).all(-1)  # outside there is nothing to integrate: weight zero
        unit, weights = np.zeros_like(y), np.zeros(n)
        unit[inside] = self.grid.to_cube(y[inside])
        unit[kind < _UNIFORM] = y[kind < _UNIFORM]
        grid_points, jacobian = self.grid.from_cube(unit[inside])
        density = self.flow.log_prob(torch.from_numpy(grid_points).float()).double().exp().numpy()
        density = ((1.0 - _UNIFORM - _GRID) * density + _GRID) / jacobian + _UNIFORM
        weights[inside] = self.f(unit[inside]) / density
        self.f.calls += int((~inside).sum())
        self.known.append((grid_points, np.abs(weights[inside])))
        return _Pass(unit, weights, float(weights.mean()), float(weights.std(ddof=1)) / math.sqrt(n))


def _cube_flow(features: int, seed: int, bins: int = 10) -> Flow:
    """Build a flow of the unit cube: couplings that split the columns by the binary digits of their numbers."""
    layers: list[Bijection] = [Affine(torch.full((features,), 0.5), torch.full((features,), 0.5))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in range(min(8, 2 * max(1, (features - 1).bit_length()))):
            mask = binary_mask(features, layer)
            spline = RationalQuadraticSpline(bins, 1.0)
            net = MLP(features - sum(mask), sum(mask) * spline.n_params, hidden=(48, 48))
            layers.append(Coupling(spline, mask, net))
    edge = torch.full((features,), 1.0 + _EDGE)
    return Flow(Chain(layers), UniformBox(-edge, edge), event_shape=(features,))


def _combine(passes: Sequence[_Pass], deviations: Sequence[float], f: _Counted, method: str) -> Integral:
    """Average passes with weights calls / deviation²."""
    calls = np.array([len(one.weights) for one in passes])
    share = calls / np.maximum(np.square(deviations), _TINY)
    share = share / share.sum()
    values, errors = np.array([one.value for one in passes]), np.array([one.error for one in passes])
    value, error = float(share @ values), float(np.sqrt(share**2 @ errors**2))
    chi2 = float(np.sum((values - value) ** 2 / np.maximum(errors**2, _TINY))) / max(1, len(passes) - 1)
    points, weights = np.concatenate([f.in_box(one.points) for one in passes]), [one.weights for one in passes]
    relative = error * math.sqrt(calls.sum()) / abs(value) if value else math.nan
    return Integral(value, error, f.calls, relative, chi2, method, points, np.concatenate(weights))
