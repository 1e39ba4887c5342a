"""The options of `bijecta fit`, as one dataclass: the command line, run.json and --resume all read it."""

import inspect
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

_DATA, _MODEL, _TRAINING, _OUTPUT = "Data", "Model", "Training", "Output"

Names = list[str]


def _option(text: str, panel: str, *flags: str, metavar: str | None = None, least: int | None = None) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, metavar=metavar, min=least)


@dataclass(frozen=True)
class FitOptions:
    """What a run is made of. Names that `FitConfig` or a recipe know have the same meaning there."""

    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A file (.csv .tsv .parquet .npz .npy .h5), a folder or 'pattern-*.parquet' of files, "
            "the name of a toy set, or - for CSV on stdin.",
        ),
    ]
    columns: Annotated[Names, _option("Columns to model.", _DATA, metavar="A,B")] = field(default_factory=list)
    drop: Annotated[Names, _option("Columns to leave out.", _DATA, metavar="A,B")] = field(default_factory=list)
    context: Annotated[Names, _option("Columns to condition on.", _DATA, metavar="A,B")] = field(default_factory=list)
    weight: Annotated[str | None, _option("Column of event weights.", _DATA, metavar="A")] = None
    schema: Annotated[
        Names,
        _option(
            "What a column is: phi=periodic:0:360, p=interval:0:1, m=positive, n=integer, k=category, x=real.",
            _DATA,
            metavar="A=KIND",
        ),
    ] = field(default_factory=list)
    test_fraction: Annotated[float, _option("Rows of a table kept for the test.", _DATA)] = 0.1
    rows: Annotated[int, _option("Rows to draw from a toy set.", _DATA, least=20)] = 20_000
    missing: Annotated[
        str, _option("What to do with rows that have missing values: error or drop.", _DATA, metavar="error|drop")
    ] = "error"
    stream: Annotated[
        bool, _option("Leave the rows in their files (default: if these are larger than memory/8).", _DATA, "--stream")
    ] = False
    noise: Annotated[float | None, _option("Noise level of a toy set (default: its own).", _DATA)] = None

    recipe: Annotated[str, _option("Kind of flow, or auto; see: bijecta recipes.", _MODEL)] = "nsf"
    integers: Annotated[
        str,
        _option("Whole numbers: exact, or with noise, which gives a bound.", _MODEL, metavar="exact|dequantised"),
    ] = "exact"
    set: Annotated[
        Names,
        _option(
            "A setting of the recipe or the training: layers=5, hidden=64,64, ema=0.99.", _MODEL, metavar="NAME=VALUE"
        ),
    ] = field(default_factory=list)

    epochs: Annotated[int, _option("Passes over the rows, at most.", _TRAINING)] = 100
    batch_size: Annotated[int | None, _option("Rows per step (default: by their number).", _TRAINING)] = None
    learning_rate: Annotated[
        float | None, _option("Largest learning rate (default: by the number of rows).", _TRAINING)
    ] = None
    validation_fraction: Annotated[float, _option("Rows that choose the best epoch.", _TRAINING, "--validation")] = 0.1
    patience: Annotated[int, _option("Stop after so many epochs without progress; 0: never.", _TRAINING)] = 20
    max_seconds: Annotated[float | None, _option("Time limit.", _TRAINING)] = None
    device: Annotated[str, _option("Where to train.", _TRAINING, metavar="cpu|cuda|auto")] = "cpu"
    seed: Annotated[int, _option("Of splits, weights, noise and order.", _TRAINING, least=0)] = 0

    out: Annotated[
        Path | None, _option("Run folder (default: runs/DATA-RECIPE, or DATA-tuned).", _OUTPUT, "--out", "-o")
    ] = None
    resume: Annotated[bool, _option("Go on with an unfinished run.", _OUTPUT, "--resume")] = False
    force: Annotated[bool, _option("Replace an existing run.", _OUTPUT, "--force")] = False
    json: Annotated[bool, _option("Print the metrics as JSON on stdout.", _OUTPUT, "--json")] = False
    quiet: Annotated[bool, _option("Only errors and the result.", _OUTPUT, "--quiet", "-q")] = False

    @property
    def name(self) -> str:
        """Name of the data, for people and for the folder."""
        if self.data == "-":
            return "stdin"
        path = Path(self.data.partition("::")[0])
        plain = re.sub(r"[*?\[\]]", "", path.name.split(".")[0]).strip("-_ ")  # 'events-*.parquet' is about events
        return plain or path.parent.name or "data"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out or Path("runs") / f"{self.name}-{self.recipe}"

    def to_json(self) -> dict[str, Any]:
        """Return what decides the result; not how it is shown, not where it goes, and not where it is computed."""
        shown = ("out", "device", "resume", "force", "json", "quiet")
        return {name: value for name, value in asdict(self).items() if name not in shown}

    def command(self) -> str:
        """Return the shell command that resumes this run."""
        return resuming(["bijecta", "fit", self.data], self)


@dataclass(frozen=True, kw_only=True)
class TuneOptions(FitOptions):
    """What a search is made of: a fit to begin with, and the time."""

    minutes: Annotated[float, typer.Option(min=0.01, help="How long to search, this time.", rich_help_panel=_TRAINING)]

    @property
    def folder(self) -> Path:
        """The folder of the search and its best run."""
        return self.out or Path("runs") / f"{self.name}-tuned"


def resuming(words: Sequence[str], options: Any) -> str:
    """Return the shell command that resumes a run: words up to the first option, then what differs from the default."""
    found = list(words)
    for option in fields(options)[1:]:
        value = getattr(options, option.name)
        if value and option.name not in ("resume", "force", "json", "quiet") and value != _default(option):
            flag = f"--{option.name.removesuffix('_fraction') if option.name[0] == 'v' else option.name}"
            values = value if isinstance(value, list) else [value]
            found += [word for each in values for word in (flag.replace("_", "-"), *_as_words(each))]
    return shlex.join([*found, "--resume"])


def _as_words(value: Any) -> list[str]:
    return [] if value is True else [str(value)]  # a switch has no value


def split_pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """Split name=value words."""
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise typer.BadParameter(f"expected name=value, got {word!r}.", param_hint=option)
        pairs[name.strip()] = value.strip()
    return pairs


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest known word."""
    near = get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]}?" if near else ""


def command_of(options: type[Any], run: Callable[[Any], None]) -> Callable[..., None]:
    """Make a Typer command whose arguments are the fields of a dataclass.

    Typer reads signatures. A function with as many arguments as `fit` has options would be unreadable, so it gets the
    signature of the dataclass.
    """

    def command(**values: Any) -> None:
        run(options(**values))

    parameters = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=_default(each), annotation=each.type)
        for each in fields(options)
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.type for each in fields(options)}
    command.__doc__ = run.__doc__
    return command


def _default(option: Any) -> Any:
    if option.default_factory is not MISSING:
        return option.default_factory()
    return inspect.Parameter.empty if option.default is MISSING else option.default
