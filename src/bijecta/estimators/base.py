"""What all estimators share: settings, building and fitting a flow, evaluating it in chunks, pickling."""

from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from torch import Tensor

from bijecta.data import Schema, split_rows
from bijecta.data.table import FloatArray
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.estimators.inputs import SchemaLike, start_rows
from bijecta.flows import build, choose_recipe, table
from bijecta.training import FitConfig, FitResult, fit

CHUNK = 8192  # rows at once: bounds the memory, and is large enough to cost no time


class FlowEstimator(BaseEstimator, ABC):  # type: ignore[misc] # scikit-learn has no types
    """The base of the estimators: settings, and a flow in float64.

    Attributes:
        flow_: the fitted Distribution.
        fit_result_: the history of the fit.
    """

    flow_: Distribution
    fit_result_: FitResult

    def __init__(
        self,
        recipe: str = "nsf",
        *,
        recipe_arguments: Mapping[str, Any] | None = None,
        epochs: int = 100,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        patience: int = 20,
        max_seconds: float | None = None,
        schema: SchemaLike = None,
        device: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.recipe = recipe
        self.recipe_arguments = recipe_arguments
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.max_seconds = max_seconds
        self.schema = schema
        self.device = device
        self.random_state = random_state

    def _fit_flow(
        self, schema: Schema, x: FloatArray, *, context: FloatArray | None = None, weight: FloatArray | None = None
    ) -> None:
        """Build a flow of the schema's columns and fit it: sets ``flow_`` and ``fit_result_``."""
        config, contexts = self._config(), 0 if context is None else context.shape[1]
        recipe, arguments = self.recipe, self.recipe_arguments
        if recipe == "auto":
            choice = choose_recipe(schema, len(x), context=contexts)
            recipe, arguments = choice.recipe, {**choice.arguments, **(arguments or {})}
        with seeded(config.seed):
            flow = table(schema.to_json(), context=contexts, recipe=recipe, arguments=arguments)
        flow = flow.to(self.device or "cpu", torch.float64)
        if weight is not None:
            train = _train_rows(len(x), config)
            chosen = train[start_rows(weight[train])]
            given = [array for array in (x, context) if array is not None]
            flow.initialise(*(torch.as_tensor(array[chosen]).to(_like(flow)) for array in given))
        self.fit_result_ = fit(flow, x, context=context, weight=weight, config=config)
        self.flow_ = flow

    def _config(self) -> FitConfig:
        return FitConfig(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            validation_fraction=self.validation_fraction,
            patience=self.patience,
            max_seconds=self.max_seconds,
            seed=new_seed(self.random_state),
        )

    def _evaluate(self, function: Callable[..., Tensor], *arrays: FloatArray, points: int = 1) -> FloatArray:
        """Apply a function to the rows of arrays in chunks, where it evaluates the flow at so many points per row.

        The noise, if there is any, is the same every time.
        """
        like = _like(self.flow_)
        size = max(1, CHUNK // points)
        with torch.no_grad(), seeded(0, like.device):
            parts = [
                function(*(torch.as_tensor(array[start : start + size]).to(like) for array in arrays))
                for start in range(0, len(arrays[0]), size)
            ]
        return torch.cat(parts).cpu().numpy()

    def _generator(self, random_state: Any) -> torch.Generator:
        return torch.Generator(_like(self.flow_).device).manual_seed(new_seed(random_state))

    def _draw(self, count: int, random_state: Any) -> FloatArray:
        """Draw samples (count, D) from a flow without context."""
        check_count(count)
        generator = self._generator(random_state)
        sizes = [min(CHUNK, count - start) for start in range(0, count, CHUNK)]
        with torch.no_grad():
            return torch.cat([self.flow_.sample(size, generator=generator) for size in sizes]).cpu().numpy()

    def __getstate__(self) -> dict[str, Any]:
        """Put the recipe and the arrays of the flow in its place, so that a pickle does not depend on its layers."""
        state = dict(super().__getstate__())
        if "flow_" in state:
            arrays = {name: tensor.cpu().numpy() for name, tensor in self.flow_.state_dict().items()}
            state["flow_"] = {"recipe": self.flow_.recipe, "arrays": arrays}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "flow_" in state:
            record = state["flow_"]["recipe"]
            with seeded(0):
                flow = build(record["name"], record["arguments"]).double().eval()
            flow.load_state_dict({name: torch.tensor(array) for name, array in state["flow_"]["arrays"].items()})
            state = {**state, "flow_": flow}
        super().__setstate__(state)


def new_seed(random_state: Any) -> int:
    """Draw a seed for torch from what scikit-learn calls a random state: None, an integer or a RandomState."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def check_count(n_samples: int) -> None:
    """Refuse to draw less than one sample."""
    if n_samples < 1:
        raise InputError(f"sample expects n_samples of at least 1, got {n_samples}.")


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed torch's global generators for a block, and put them back after."""
    with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else [], device_type="cuda"):
        torch.manual_seed(seed)
        yield


def _like(flow: Distribution) -> Tensor:
    return next(flow.parameters())


def _train_rows(count: int, config: FitConfig) -> "np.ndarray[Any, Any]":
    """Return the rows that `fit` will train on: those held out must not tell the flow where to start."""
    if config.validation_fraction == 0:
        return np.arange(count)
    return np.asarray(split_rows(count, config.validation_fraction, config.seed)[0])
