"""The command `fit`: from data to a run folder."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer

from bijecta.cli import folder as files
from bijecta.cli.console import as_json, show_json, tell
from bijecta.cli.evaluation import measure, versions
from bijecta.cli.guard import EXPECTED, INTERRUPTED
from bijecta.cli.options import FitOptions
from bijecta.cli.pictures import Run, write_pictures, write_report_of
from bijecta.cli.problem import Problem
from bijecta.cli.processes import as_launched, choose_device
from bijecta.cli.progress import reporting
from bijecta.cli.settings import parse_settings, settle_recipe
from bijecta.cli.streaming import read_any_problem
from bijecta.data import Table, write_table
from bijecta.distributions import Distribution
from bijecta.errors import BijectaError, MissingDependencyError
from bijecta.flows import build, inner_flow, table
from bijecta.persistence import save
from bijecta.persistence.tabular import draw, latent_names, parameter_count, to_latent
from bijecta.training import FitConfig, FitResult, fit
from bijecta.training.distributed import Team, join

SAMPLES = 5_000


def run_fit(options: FitOptions) -> None:
    """Fit a flow and write the run folder; nothing is written before options and data are known to be sound."""
    team = join(choose_device(options.device))
    options = as_launched(options, team.size)
    if not team.leads:
        return follow(options, team)
    arguments, config = parse_settings(options)
    files.refuse_existing(options)
    finished = options.resume and not options.force and files.is_finished(options.folder)
    if finished:
        team.agree(finished)
        tell(f"The run in {options.folder} has finished; there is nothing to resume.")
        return conclude(options, files.read_json(options.folder / files.METRICS))
    problem = read_any_problem(options)
    flow = build_flow(problem, options, arguments, config.seed)
    files.claim(options)
    team.agree(finished)
    if not options.quiet:
        size = f"{parameter_count(flow):,} parameters, {problem.training_rows:,} rows, {len(problem.test):,} test rows"
        tell(f"\n{options.recipe}: {size}, seed {config.seed}", "bold")
    result = train(flow, problem, options, config)
    team.leave()
    flow.cpu()
    metrics = keep(flow, problem, result, options, config)
    if result.stopped == "interrupted":
        tell(f"Interrupted. The best weights so far are in {options.folder}. Go on with:\n{options.command()}")
        raise typer.Exit(INTERRUPTED)
    illustrate(flow, problem, options, metrics)
    (options.folder / files.CHECKPOINT).unlink(missing_ok=True)
    return conclude(options, metrics)


def follow(options: FitOptions, team: Team) -> None:
    """Take part in the training, and nothing else: the process that leads reads, reports, refuses and writes first."""
    try:
        if team.agree(value=False):
            return
    except BijectaError as error:  # the process that leads has said why it ended
        raise typer.Exit(EXPECTED) from error
    options = replace(options, quiet=True)
    arguments, config = parse_settings(options)
    problem = read_any_problem(options)
    result = train(build_flow(problem, options, arguments, config.seed), problem, options, config)
    team.leave()
    if result.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)


def build_flow(problem: Problem, options: FitOptions, arguments: Mapping[str, Any], seed: int) -> Distribution:
    """Build the flow that the options ask for: a toy set needs no maps of its columns, a table does."""
    torch.manual_seed(seed)
    device, columns = choose_device(options.device), problem.schema.columns
    recipe, arguments = settle_recipe(problem, options, arguments)
    if problem.toy is not None and all(c.kind == "real" for c in columns):
        return build(recipe, {"features": len(columns), **arguments}).to(device)
    schema, context = problem.schema.to_json(), len(problem.context)
    flow = table(schema, context=context, recipe=recipe, arguments=arguments, integers=options.integers)
    return flow.to(device)


def train(flow: Distribution, problem: Problem, options: FitOptions, config: FitConfig) -> FitResult:
    """Run the training loop, with a checkpoint in the run folder."""
    rows, stream = problem.train, problem.stream
    with reporting(config.epochs, quiet=options.quiet) as on_epoch:
        return fit(
            flow,
            rows.x if stream is None else stream,
            context=rows.context if stream is None else None,
            weight=rows.weight if stream is None else None,
            config=config,
            on_epoch=on_epoch,
            checkpoint=options.folder / files.CHECKPOINT,
        )


def keep(
    flow: Distribution, problem: Problem, result: FitResult, options: FitOptions, config: FitConfig
) -> dict[str, Any]:
    """Write what must not be lost before anything else is tried: model, history, metrics."""
    folder, history, metrics = options.folder, epochs_of(result), measure(problem, flow, result, config)
    metadata = {
        "data": options.name,
        "schema": problem.schema.to_json(),
        "context": list(problem.context),
        "settings": options.to_json(),
        "metrics": metrics,
        "history": history,
        "versions": versions(),
        **facts_of(problem),
    }
    save(flow, folder / files.MODEL, metadata=as_json(metadata))
    files.write_history(folder / files.HISTORY, history)
    files.write_json(folder / files.METRICS, metrics)
    return metrics


def facts_of(problem: Problem) -> dict[str, Any]:
    """Return what a reader of the model wants to know of its data: what they were, and between which ends they lay."""
    rows = problem.train
    if problem.stream is not None:
        return {}
    digest = hashlib.sha256()
    for array in (rows.x, rows.context, rows.weight):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    ends = {"ranges": (problem.schema.names, rows.x), "context_ranges": (problem.context, rows.context)}
    found = {
        key: dict(zip(names, np.stack([columns.min(0), columns.max(0)], 1).tolist(), strict=True))
        for key, (names, columns) in ends.items()
        if columns is not None
    }
    return {"data_sha256": digest.hexdigest(), **found}


def epochs_of(result: FitResult) -> list[dict[str, Any]]:
    """Return the history as plain rows; seconds are those of the epoch, not since the start."""
    ends = [progress.seconds for progress in result.history]
    return [
        {
            "epoch": progress.epoch,
            "train_nll": progress.train_loss,
            "validation_nll": progress.validation_loss,
            "learning_rate": progress.learning_rate,
            "seconds": end - start,
        }
        for progress, start, end in zip(result.history, [0.0, *ends], ends, strict=False)
    ]


def illustrate(flow: Distribution, problem: Problem, options: FitOptions, metrics: Mapping[str, Any]) -> None:
    """Write samples, latent rows, pictures and the report."""
    folder, seed, rows = options.folder, options.seed, problem.rows
    contexts = None if rows.context is None else rows.context[:SAMPLES]
    samples = problem.schema.columns_from_matrix(draw(flow, SAMPLES, contexts, seed))
    write_table(folder / files.SAMPLES, problem.schema.names, samples)
    if names := latent_names(flow, problem.schema):
        latent = to_latent(flow, problem.test, seed)
        write_table(folder / files.LATENT, names, dict(zip(names, latent.T, strict=True)))
    try:
        run = Run(folder, inner_flow(flow), problem.schema, len(problem.context), metrics)
        write_pictures(run, rows.x, problem.schema.matrix(Table(problem.schema.names, samples)))
        write_report_of(folder)
    except MissingDependencyError as error:
        tell(str(error), "yellow")


def conclude(options: FitOptions, metrics: Mapping[str, Any]) -> None:
    """Print the result."""
    if options.json:
        show_json(metrics)
        return
    tell("")
    tell(verdict(metrics), "bold")
    if not options.quiet:
        tell(next_steps(options.folder))


def verdict(metrics: Mapping[str, Any]) -> str:
    """Say in a few lines how good the fit is."""
    bound = " (a bound: integers have noise)" if metrics["is_bound"] else ""
    loss = f"{metrics['test_nll']:.4f} ± {metrics['test_nll_error']:.4f} nats per row"
    lines = [f"{loss} on {metrics['test_rows']} test rows{bound}"]
    if metrics.get("exact_entropy") is not None:
        gap = f"{metrics['gap']:.4f} ± {metrics['gap_error']:.4f}"
        lines.append(f"{gap} above the exact entropy {metrics['exact_entropy']:.4f}, the best that any model can do")
    if metrics["gaussian_nll"] is not None:
        gain, word = metrics["gain_over_gaussian"], "better" if metrics["gain_over_gaussian"] > 0 else "WORSE"
        lines.append(f"{abs(gain):.4f} {word} than a full-covariance Gaussian ({metrics['gaussian_nll']:.4f})")
    if metrics.get("categories"):
        lines.append("not compared with a Gaussian, which has no categories")
    lines.append(
        f"{metrics['epochs']} epochs, best {metrics['best_epoch']}, {metrics['seconds']:.0f} s ({metrics['stopped']})"
    )
    return "\n".join(lines)


def next_steps(folder: Path) -> str:
    """Say where things are and what can be done with them."""
    return "\n".join(
        [
            "",
            f"{folder}/  model, metrics, samples, pictures and report.html",
            f"  bijecta sample {folder} -n 1000 -o samples.csv",
            f"  bijecta check {folder}",
        ]
    )
