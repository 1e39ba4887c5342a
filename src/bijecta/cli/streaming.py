"""Problems whose rows stay in their files."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from bijecta.cli.console import tell
from bijecta.cli.options import FitOptions, split_pairs
from bijecta.cli.problem import Problem, read_problem, refuse_errors, show_schema, split_names
from bijecta.data import TOYS, Stream, infer_schema
from bijecta.data.blocks import BLOCK_SUFFIXES, find_files
from bijecta.data.chunks import stands_for_many
from bijecta.data.missing import without_missing
from bijecta.data.rows import Rows
from bijecta.data.streams import Part, RowNumbers, join_parts
from bijecta.errors import InputError

MEMORY_SHARE = 1 / 8  # of the machine: reading a table as a whole needs several copies of it
SAMPLE = 100_000  # rows that the schema is guessed from, that are shown in pictures, and that test the result


def read_any_problem(options: FitOptions) -> Problem:
    """Read the data of a run into memory, or leave them in their files if they are large or --stream says so."""
    return read_streamed_problem(options) if is_streamed(options) else read_problem(options)


def is_streamed(options: FitOptions) -> bool:
    """Tell whether the rows stay in their files."""
    if options.stream:
        if options.data in TOYS or options.data == "-":
            raise typer.BadParameter("only files can be streamed.", param_hint="--stream")
        return True
    path = options.data.partition("::")[0]
    if options.data in TOYS or not (stands_for_many(options.data) or Path(path).suffix.lower() in BLOCK_SUFFIXES):
        return False
    if not stands_for_many(options.data) and not Path(path).exists():
        return False
    files = [file.partition("::")[0] for file in find_files(options.data)]
    blocks = all(Path(file).suffix.lower() in BLOCK_SUFFIXES for file in files)
    return blocks and sum(os.path.getsize(file) for file in files) > MEMORY_SHARE * memory()


def memory() -> float:
    """Return the memory of the machine in bytes; infinite where the system does not say."""
    names = getattr(os, "sysconf_names", {})
    if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
        return float("inf")
    return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def read_streamed_problem(options: FitOptions) -> Problem:
    """Guess the schema from a sample of the files, and keep test rows and a sample of the others in memory.

    Raises:
        InputError: the files cannot be streamed, do not have the columns asked for, or are not fit for training.
    """
    sample = Stream(options.data).sample(SAMPLE, options.seed)
    context, weight = split_names(options.context, sample), options.weight
    side = (*context, *([weight] if weight else []))
    chosen = split_names(options.columns, sample) or [name for name in sample.names if name not in side]
    drop = split_names(options.drop, sample)
    if options.missing == "drop":
        sample, _ = without_missing(sample, [name for name in (*chosen, *side) if name not in drop])
    schema, findings = infer_schema(sample.select(chosen), split_pairs(options.schema, "--schema"), drop=drop)
    show_schema(schema, context, findings, quiet=options.quiet)
    refuse_errors(options.name, findings)
    stream = Stream(options.data, context=context, weight=weight, schema=schema, missing=options.missing)
    return _with_test_rows(stream, options, context)


def _with_test_rows(stream: Stream, options: FitOptions, context: Sequence[str]) -> Problem:
    count = min(SAMPLE, max(1, round(options.test_fraction * len(stream))))
    test = stream.choose(count, (options.seed, 1))
    training = stream.without(test)
    held, shown = _pick(stream, test, training.choose(SAMPLE, (options.seed, 2)))
    return Problem(options.name, stream.schema, tuple(context), _as_rows(shown), _as_rows(held), stream=training)


def _pick(stream: Stream, *chosen: RowNumbers) -> list[Part]:
    """Read everything once, keep the chosen rows, and say how many have missing values."""
    kept: list[list[Part]] = [[] for _ in chosen]
    seen = 0
    for part in stream.as_type("float64").parts():
        seen += len(part)
        for parts, numbers in zip(kept, chosen, strict=True):
            parts.append(part.take(np.isin(part.number, numbers)))
    if seen < len(stream):
        tell(f"dropped {len(stream) - seen:,} of {len(stream):,} rows with missing values", "yellow")
    picked = [join_parts(parts) for parts in kept]
    if not all(len(part) for part in picked):
        raise InputError("Too few rows are left for training and test. Bring more data, or leave columns out.")
    return picked


def _as_rows(part: Part) -> Rows:
    order = np.random.default_rng(0).permutation(len(part))  # pictures show the first rows
    return Rows(*(None if each is None else each[order] for each in (part.x, part.context, part.weight)))  # type: ignore[arg-type]
