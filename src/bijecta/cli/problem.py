"""What a run is about: rows read from a file or drawn from a toy set, with their schema."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from bijecta.cli.console import tell
from bijecta.cli.options import FitOptions, did_you_mean, split_pairs
from bijecta.data import TOYS, Finding, Schema, Stream, Table, Toy, infer_schema, read_table, split_rows, toy
from bijecta.data.chunks import read_chunks, stands_for_many
from bijecta.data.missing import stack_tables, without_missing
from bijecta.data.rows import Rows, numbers
from bijecta.errors import InputError

TOY_NAMES = ("x", "y")
TOY_TEST_ROWS = 10_000


@dataclass(frozen=True)
class Problem:
    """Data to fit, with what is known about them.

    ``toy`` is there if the exact density is known; ``stream`` if the rows stay in their files: then ``train`` is a
    sample of them.
    """

    name: str
    schema: Schema
    context: tuple[str, ...]
    train: Rows
    test: Rows
    toy: Toy | None = None
    stream: Stream | None = None

    @property
    def training_rows(self) -> int:
        """How many rows there are to train on."""
        return len(self.train if self.stream is None else self.stream)

    @property
    def rows(self) -> Rows:
        """All rows, in random order, for pictures: a histogram of a few test rows would show little but noise."""
        x, context = np.concatenate([self.train.x, self.test.x]), None
        if self.train.context is not None and self.test.context is not None:
            context = np.concatenate([self.train.context, self.test.context])
        return Rows(x, context)


def read_problem(options: FitOptions) -> Problem:
    """Read or draw the data of a run, say what the columns are, and hold test rows back.

    Raises:
        InputError: the data cannot be read, do not have the columns asked for, or are not fit for training.
    """
    source = toy(options.data, options.noise) if options.data in TOYS else None
    table = draw_table(source, options.rows, options.seed) if source else read_file(options.data)
    context, weight = split_names(options.context, table), [options.weight] if options.weight else []
    chosen = split_names(options.columns, table) or [n for n in table.names if n not in (*context, *weight)]
    changes = split_pairs(options.schema, "--schema")
    table = complete(table, [*chosen, *context, *weight], options)
    schema, findings = infer_schema(table.select(chosen), changes, drop=split_names(options.drop, table))
    show_schema(schema, context, findings, quiet=options.quiet)
    refuse_errors(options.name, findings)
    side = numbers(table, [*context, *weight])
    rows = Rows(schema.matrix(table), side[:, : len(context)] if context else None, side[:, -1] if weight else None)
    known = source if schema.names == TOY_NAMES and not context and not weight else None
    train, test = _hold_back(rows, options, known)
    return Problem(options.name, schema, tuple(context), train, test, known)


def _hold_back(rows: Rows, options: FitOptions, known: Toy | None) -> tuple[Rows, Rows]:
    """Split rows into training and test rows. Rows of a toy set cost nothing: fresh ones make a sharper test."""
    if known is not None:
        return rows, Rows(known.sample(TOY_TEST_ROWS, np.random.default_rng([options.seed, 1])))
    if not 0 < options.test_fraction < 1:
        raise typer.BadParameter(
            f"expected a fraction between 0 and 1, got {options.test_fraction}.", param_hint="--test-fraction"
        )
    train, test = split_rows(len(rows), options.test_fraction, options.seed)
    return rows.take(train), rows.take(test)


def read_file(path: str) -> Table:
    """Read a table from a file, or from standard input for "-"."""
    if path != "-" and not Path(path).suffix and not Path(path).exists() and not stands_for_many(path):
        raise InputError(
            f"There is no file and no toy set {path!r}.{did_you_mean(path, TOYS)} Toy sets: {', '.join(TOYS)}."
        )
    return stack_tables(list(read_chunks(path))) if stands_for_many(path) else read_table(path)


def complete(table: Table, names: Sequence[str], options: FitOptions) -> Table:
    """Leave rows with missing values out if --missing drop says so; otherwise they are found as errors later."""
    if options.missing not in ("error", "drop"):
        raise typer.BadParameter(f"expected error or drop, got {options.missing!r}.", param_hint="--missing")
    if options.missing == "error":
        return table
    whole, gaps = without_missing(table, [name for name in names if name not in split_names(options.drop, table)])
    if gaps:
        where = ", ".join(f"{name} {count}" for name, count in gaps.items())
        tell(f"dropped {table.n_rows - whole.n_rows} of {table.n_rows} rows with missing values: {where}", "yellow")
    if whole.n_rows == 0:
        raise InputError("Every row has a missing value. Leave the columns with most gaps out with --drop.")
    return whole


def draw_table(source: Toy, rows: int, seed: int) -> Table:
    """Draw rows of a toy set as a table."""
    points = source.sample(rows, seed)
    return Table(TOY_NAMES, {name: points[:, k] for k, name in enumerate(TOY_NAMES)})


def split_names(words: Sequence[str], table: Table) -> list[str]:
    """Split a,b,c into names; a name that itself has a comma counts as one."""
    return [name for word in words for name in ([word] if word in table.columns else word.split(",")) if name]


def show_schema(schema: Schema, context: Sequence[str], findings: Sequence[Finding], *, quiet: bool) -> None:
    """Print the schema and what was found; of a quiet run only the errors."""
    styles = {"error": "red", "warning": "yellow", "note": "dim"}
    if not quiet:
        tell(str(schema) + (f"\ngiven: {', '.join(context)}" if context else ""))
    for finding in findings:
        if finding.severity == "error" or not quiet:
            tell(in_words_of_the_command_line(str(finding)), styles[finding.severity])


def refuse_errors(name: str, findings: Sequence[Finding]) -> None:
    """Stop before the training if the data are unfit, and say which options cure it.

    Raises:
        InputError: there are findings of severity error.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    # Each of these messages names the column to drop last.
    columns = dict.fromkeys(finding.columns[-1] for finding in errors)
    cure = shlex.join(word for column in columns for word in ("--drop", column))
    raise InputError(
        f"The data of {name} are not fit for training, see the {len(errors)} error(s) above. "
        f"Repair them, or leave columns out with\n  {cure}\n"
        "Where a column is something else than was guessed, say so: --schema NAME=KIND."
    )


def in_words_of_the_command_line(message: str) -> str:
    """Replace the Python calls in a finding by the options that do the same."""
    message = re.sub(r"drop=\['([^']*)'\]", r"--drop \1", message)
    return re.sub(r'\{"([^"]*)": "([^"]*)"\}', r"--schema \1=\2", message)
