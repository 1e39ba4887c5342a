"""The command `hep fit`: from a file of events to a run folder."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import torch
import typer

from bijecta.cli import folder as files
from bijecta.cli.console import as_json, show_json, tell
from bijecta.cli.evaluation import versions, weighted_mean
from bijecta.cli.fitting import epochs_of
from bijecta.cli.guard import INTERRUPTED
from bijecta.cli.hep import EventFitOptions
from bijecta.cli.options import did_you_mean, split_pairs
from bijecta.cli.progress import reporting
from bijecta.cli.settings import sort_settings
from bijecta.data import split_rows
from bijecta.distributions import Distribution
from bijecta.errors import InputError
from bijecta.hep import (
    Events,
    EventSchema,
    PlainCoordinates,
    check_events,
    event_flow,
    measure_coordinates,
    measure_objects,
    plain_event_flow,
    read_events,
    variable_event_flow,
)
from bijecta.hep.deployment import training_facts
from bijecta.hep.event_flow import Coordinates
from bijecta.persistence import save
from bijecta.persistence.tabular import parameter_count
from bijecta.training import FitConfig, FitResult, fit

SHAPES = {"breit_wigner": ("mass", "width"), "power_law": ("power",), "excess": ()}
FROM_EVENTS = ("coordinates", "return")
PLAIN, VARIABLE = "plain_event_flow", "variable_event_flow"
RECIPES: dict[str, Callable[..., Distribution]] = {
    "event_flow": event_flow,
    VARIABLE: variable_event_flow,
    PLAIN: plain_event_flow,
}


@dataclass(frozen=True)
class Sample:
    """Events to train on and to test on, and the coordinates of both."""

    coordinates: Coordinates
    train: Events
    test: Events


def run_fit(options: EventFitOptions) -> None:
    """Fit a flow to events and write the run folder; nothing is written before options and events are sound."""
    arguments, config = parse_settings(options)
    files.refuse_existing(options)
    if options.resume and not options.force and files.is_finished(options.folder):
        tell(f"The run in {options.folder} has finished; there is nothing to resume.")
        return conclude(options, files.read_json(options.folder / files.METRICS))
    sample = read_sample(options)
    torch.manual_seed(options.seed)
    flow = RECIPES[options.recipe](json.dumps(sample.coordinates.to_json()), **arguments)
    files.claim(options)
    if not options.quiet:
        size = f"{parameter_count(flow):,} parameters, {len(sample.train):,} events, {len(sample.test):,} test events"
        tell(f"{', '.join(sample.coordinates.columns)}\n{options.recipe}: {size}, seed {options.seed}", "bold")
    result = train(flow, sample, options, config)
    metrics = keep(flow, sample, result, options)
    if result.stopped == "interrupted":
        tell(f"Interrupted. The best weights so far are in {options.folder}. Go on with:\n{options.command()}")
        raise typer.Exit(INTERRUPTED)
    (options.folder / files.CHECKPOINT).unlink(missing_ok=True)
    return conclude(options, metrics)


def train(flow: Distribution, sample: Sample, options: EventFitOptions, config: FitConfig) -> FitResult:
    """Run the training loop, with a checkpoint in the run folder."""
    (x, context), weight = sample.coordinates.rows(sample.train), sample.train.weight
    checkpoint = options.folder / files.CHECKPOINT
    with reporting(config.epochs, quiet=options.quiet) as on_epoch:
        return fit(flow, x, context=context, weight=weight, config=config, on_epoch=on_epoch, checkpoint=checkpoint)


def parse_settings(options: EventFitOptions) -> tuple[dict[str, Any], FitConfig]:
    """Sort the words of --set into arguments of the recipe and settings of the training."""
    types = recipe_types(options.recipe)
    training = {"epochs": options.epochs, "max_seconds": options.max_seconds, "seed": options.seed}

    def unknown(name: str) -> str:
        known = [*types, *get_type_hints(FitConfig)]
        return f"there is no setting {name!r}.{did_you_mean(name, known)} There are {', '.join(known)}."

    return sort_settings(options.set, types, training, unknown)


def recipe_types(name: str) -> dict[str, Any]:
    """Return the arguments of a recipe that a user may set, with their types."""
    if name not in RECIPES:
        raise typer.BadParameter(
            f"there is no recipe {name!r} of events.{did_you_mean(name, RECIPES)} There are {', '.join(RECIPES)}.",
            param_hint="--recipe",
        )
    hints = get_type_hints(inspect.unwrap(RECIPES[name]))
    return {name: kind for name, kind in hints.items() if name not in FROM_EVENTS}


def read_sample(options: EventFitOptions) -> Sample:
    """Read events, check them, choose their coordinates, and hold some back.

    Raises:
        InputError: the events are not fit for training, or too few.
    """
    if not 0.0 < options.test_fraction < 1.0:
        raise typer.BadParameter(
            f"expected between 0 and 1, got {options.test_fraction}.", param_hint="--test-fraction"
        )
    events = read_events(options.events, schema=None if options.schema is None else read_schema(options.schema))
    refuse_unsound(events, options)
    coordinates = choose_coordinates(events, options)
    train, test = split_rows(len(events), options.test_fraction, options.seed)
    return Sample(coordinates, events.take(train), events.take(test))


def choose_coordinates(events: Events, options: EventFitOptions) -> Coordinates:
    """Choose the coordinates that the recipe needs, by looking at the events."""
    shapes = read_shapes(options)
    if options.recipe == VARIABLE:
        return measure_objects(events, **shapes)
    if events.schema.variable:
        names = ", ".join(group.name for group in events.schema.variable)
        raise InputError(f"The number of {names} varies from event to event. Fit them with --recipe {VARIABLE}.")
    if options.recipe == PLAIN:
        if any(shapes.values()):
            raise typer.BadParameter(
                f"{PLAIN} takes the momenta as they are: leave out --tree, --mass and --resonance.",
                param_hint="--recipe",
            )
        return PlainCoordinates(events.schema)
    return measure_coordinates(events, **shapes)


def read_schema(path: Path) -> EventSchema:
    """Read the JSON of a schema."""
    if not path.is_file():
        raise InputError(f"There is no file {path}. Write the JSON of EventSchema.to_json into one.")
    try:
        return EventSchema.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:  # of JSON, or of what it holds
        raise InputError(f"{path}: {error}") from error


def refuse_unsound(events: Events, options: EventFitOptions) -> None:
    """Print what the checks of events find, and stop at errors.

    Warnings are about directions in which raw momenta do not vary; other coordinates than plain ones respect these.
    """
    quiet, plain = options.quiet, options.recipe == PLAIN
    findings = [finding for finding in check_events(events) if plain or finding.severity != "warning"]
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        if finding.severity == "error" or not quiet:
            tell(str(finding), "red" if finding.severity == "error" else "dim")
    if errors:
        raise InputError(f"The events are not fit for training, see the {len(errors)} error(s) above.")


def read_shapes(options: EventFitOptions) -> dict[str, Any]:
    """Read --tree, --mass and --resonance as what `measure_coordinates` takes."""
    masses = {column: _read_shape(column, text) for column, text in split_pairs(options.mass, "--mass").items()}
    resonance = None
    if options.resonance is not None:
        values = _numbers(options.resonance.split(":"), "--resonance")
        if len(values) != 2:
            raise typer.BadParameter(f"expected MASS:WIDTH, got {options.resonance!r}.", param_hint="--resonance")
        resonance = (values[0], values[1])
    try:
        tree = None if options.tree is None else json.loads(options.tree)
    except ValueError as error:
        raise typer.BadParameter(
            f'expected nested pairs as JSON, such as ["a", ["b", "c"]]; got {options.tree!r}.', param_hint="--tree"
        ) from error
    return {"tree": tree, "masses": masses, "resonance": resonance}


def _read_shape(column: str, text: str) -> dict[str, Any]:
    kind, *words = text.split(":")
    if kind not in SHAPES or len(words) != len(SHAPES[kind]):
        forms = ", ".join(":".join([name, *map(str.upper, needed)]) for name, needed in SHAPES.items())
        raise typer.BadParameter(f"expected {column}= one of {forms}; got {text!r}.", param_hint="--mass")
    return {"kind": kind, **dict(zip(SHAPES[kind], _numbers(words, "--mass"), strict=True))}


def _numbers(words: list[str], option: str) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise typer.BadParameter(f"expected numbers, got {':'.join(words)!r}.", param_hint=option) from error


def keep(flow: Distribution, sample: Sample, result: FitResult, options: EventFitOptions) -> dict[str, Any]:
    """Write model, history and metrics."""
    metrics, history = measure(flow, sample, result), epochs_of(result)
    metadata = {
        "data": options.events.name,
        "settings": options.to_json(),
        "metrics": metrics,
        "history": history,
        "versions": versions(),
        **training_facts(sample.coordinates, sample.train),
    }
    save(flow, options.out / files.MODEL, metadata=as_json(metadata))
    files.write_history(options.out / files.HISTORY, history)
    files.write_json(options.out / files.METRICS, metrics)
    return metrics


@torch.no_grad()
def measure(flow: Distribution, sample: Sample, result: FitResult) -> dict[str, Any]:
    """Score the test events: nats per event, with the density per GeV and radian of the coordinates."""
    x, context = sample.coordinates.rows(sample.test)
    loss = weighted_mean(-flow.log_prob(x, context).double().numpy(), sample.test.weight)
    return {
        "test_nll": loss.value,
        "test_nll_error": loss.error,
        "test_events": len(sample.test),
        "events": len(sample.train),
        "negative_weights": 0.0 if sample.train.weight is None else float(np.mean(sample.train.weight < 0.0)),
        "effective_sample_size": result.effective_sample_size,
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "stopped": result.stopped,
        "seconds": result.seconds,
        "parameters": parameter_count(flow),
    }


def conclude(options: EventFitOptions, metrics: Mapping[str, Any]) -> None:
    """Print the result, and what can be done with it."""
    if options.json:
        show_json(metrics)
        return
    loss = f"{metrics['test_nll']:.4f} ± {metrics['test_nll_error']:.4f} nats per event"
    epochs = f"{metrics['epochs']} epochs, best {metrics['best_epoch']}"
    tell(f"\n{loss} on {metrics['test_events']} test events", "bold")
    tell(f"{epochs}, {metrics['seconds']:.0f} s ({metrics['stopped']})", "bold")
    if not options.quiet:
        folder = options.out
        exported = f"\n  bijecta hep export {folder} -o deployed" if options.recipe == "event_flow" else ""
        tell(
            f"\n{folder}/  model, metrics, history\n"
            f"  bijecta hep sample {folder} -o generated.npz\n"
            f"  bijecta hep evaluate {folder} {options.events} -o report{exported}"
        )
