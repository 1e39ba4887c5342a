"""The same models in flowjax, compiled by JAX as a whole step."""

from collections.abc import Callable
from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
import paramax
from flowjax import bijections, distributions, flows

from speed_rows import BINS, BOUND, RATE, Row


def build(row: Row) -> distributions.Transformed:
    """Build the flow; a spline with 7 inner knots has 8 bins."""
    make = flows.coupling_flow if row.kind == "coupling" else flows.masked_autoregressive_flow
    spline = bijections.RationalQuadraticSpline(knots=BINS - 1, interval=BOUND)
    return make(
        jax.random.key(0),
        base_dist=distributions.StandardNormal(row.event),
        transformer=None if row.univariate == "affine" else spline,
        flow_layers=row.layers,
        nn_width=row.hidden[0],
        nn_depth=len(row.hidden),
    )


def prepare(row: Row, work: str, size: int, x: np.ndarray) -> tuple[int, Callable[[], Any]]:
    """Build a model and say how many parameters it has; return what is to be timed too."""
    flow = build(row)
    parameters, static = equinox.partition(
        flow, equinox.is_inexact_array, is_leaf=lambda leaf: isinstance(leaf, paramax.NonTrainable)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    if work == "train":
        return count, _training_step(parameters, static, jnp.asarray(x[: row.batch]))
    return count, _evaluation(flow, work, size, jnp.asarray(x[:size]))


def _training_step(parameters: Any, static: Any, x: jax.Array) -> Callable[[], jax.Array]:
    optimiser = optax.adam(RATE)

    def loss(parameters: Any, x: jax.Array) -> jax.Array:
        return -paramax.unwrap(equinox.combine(parameters, static)).log_prob(x).mean()

    @equinox.filter_jit
    def step(parameters: Any, state: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
        value, gradient = equinox.filter_value_and_grad(loss)(parameters, x)
        updates, state = optimiser.update(gradient, state)
        return equinox.apply_updates(parameters, updates), state, value

    now = [parameters, optimiser.init(parameters)]

    def call() -> jax.Array:
        now[0], now[1], value = step(*now, x)
        return jax.block_until_ready((*now, value))[-1]

    return call


def _evaluation(flow: Any, work: str, size: int, x: jax.Array) -> Callable[[], jax.Array]:
    @equinox.filter_jit
    def log_prob(flow: Any, x: jax.Array) -> jax.Array:
        return flow.log_prob(x)

    @equinox.filter_jit
    def sample(flow: Any, key: jax.Array) -> jax.Array:
        return flow.sample(key, (size,))

    key = jax.random.key(1)
    call = (lambda: log_prob(flow, x)) if work == "log_prob" else (lambda: sample(flow, key))
    return lambda: jax.block_until_ready(call())
