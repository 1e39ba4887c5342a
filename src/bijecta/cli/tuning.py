"""The command `tune`: from data to the folder of the best run of a search."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bijecta.cli import folder as files
from bijecta.cli.console import tell
from bijecta.cli.fitting import conclude, illustrate, keep
from bijecta.cli.options import FitOptions, TuneOptions
from bijecta.cli.problem import Problem
from bijecta.cli.processes import choose_device
from bijecta.cli.settings import parse_settings, settle_recipe
from bijecta.cli.streaming import read_any_problem
from bijecta.errors import InputError
from bijecta.training import FitConfig
from bijecta.tuning import Candidate, Trial, Tuned
from bijecta.tuning.job import Job
from bijecta.tuning.search import Search

STUDY, TRIALS, COMMAND = "study.db", "trials.csv", "command.txt"


def run_tune(options: TuneOptions) -> None:
    """Search, then write what `fit` writes for the best trial, all trials, and the command that repeats the best."""
    arguments, config = parse_settings(options)
    device = choose_device(options.device)
    _refuse_existing(options)
    problem = read_any_problem(options)
    start = Candidate(*settle_recipe(problem, options, arguments), config, options.integers)
    _claim(options)
    search = Search(_job(problem, device), start, options.folder / STUDY)
    try:
        for trial in search.run(options.minutes):
            _report(trial, options)
        tuned = search.best()
    finally:
        _write_trials(search, options.folder)
    return _write(tuned, problem, options)


def _refuse_existing(options: TuneOptions) -> None:
    """Stop before anything else if the folder holds a search or run that is not to be touched."""
    folder = options.folder
    if options.force or (options.resume and (folder / STUDY).exists()):
        return
    if (folder / STUDY).exists():
        raise InputError(
            f"{folder} holds a search. Go on with --resume, choose another --out, or replace with --force."
        )
    if (folder / files.SETTINGS).exists():
        raise InputError(f"{folder} holds a run. Choose another folder with --out, or replace it with --force.")


def _claim(options: TuneOptions) -> None:
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.force:
        for name in (*files.OWN, STUDY, TRIALS, COMMAND):  # only what is ours: the folder may hold other things
            (options.folder / name).unlink(missing_ok=True)
        for model in options.folder.glob("trial-*.safetensors"):
            model.unlink()


def _job(problem: Problem, device: Any) -> Job:
    if problem.stream is not None:
        return Job(problem.stream, None, None, problem.schema, device)
    rows = problem.train
    return Job(rows.x, rows.context, rows.weight, problem.schema, device)


def _report(trial: Trial, options: TuneOptions) -> None:
    if options.quiet:
        return
    loss = "" if trial.loss is None else f"{trial.loss:.4f} nats  "
    settings = _settings(trial.candidate, options)
    tell(f"trial {trial.number:3d}  {trial.state:8s}  {loss}{trial.epochs} epochs  {trial.message or settings}")


def _settings(candidate: Candidate, options: TuneOptions) -> str:
    """Return the settings of a trial as words of the command line, without what all trials share."""
    words = _as_fit(candidate, options).command().removesuffix(" --resume")
    return words.removeprefix(f"bijecta fit {options.data}").strip() or "defaults"


def _as_fit(candidate: Candidate, options: TuneOptions) -> FitOptions:
    """Return the options of `fit` that repeat a trial."""
    known = {each.name for each in fields(FitOptions)}
    values = {name: getattr(options, name) for name in known}
    config, plain = candidate.config.to_json(), FitConfig().to_json()
    values |= {name: value for name, value in config.items() if name in known}
    settings = {name: value for name, value in config.items() if name not in known and value != plain[name]}
    words = [f"{name}={_word(value)}" for name, value in {**candidate.arguments, **settings}.items()]
    return FitOptions(**{**values, "recipe": candidate.recipe, "set": words, "out": None, "resume": False})


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _write_trials(search: Search, folder: Path) -> None:
    files.write_history(folder / TRIALS, [trial.row() for trial in search.trials()])


def _write(tuned: Tuned, problem: Problem, options: TuneOptions) -> None:
    """Write the folder of the best run."""
    best, folder = _as_fit(tuned.best.candidate, options), options.folder
    command = best.command().removesuffix(" --resume")
    here = replace(best, out=folder)
    files.write_json(folder / files.SETTINGS, here.to_json())
    files.write_text(folder / COMMAND, command + "\n")
    metrics = keep(tuned.flow, problem, tuned.result, here, tuned.best.candidate.config)
    illustrate(tuned.flow, problem, here, metrics)
    if not options.quiet:
        tell(f"\nThe best of {len(tuned.trials)} trials is number {tuned.best.number}. Repeat it with\n  {command}")
    conclude(here, metrics)
