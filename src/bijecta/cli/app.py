"""The commands. Only their options are here: what they do is imported when they run, so that --help is instant."""

from pathlib import Path
from typing import Annotated

import typer

from bijecta import __version__
from bijecta.cli.hep import hep
from bijecta.cli.options import FitOptions, TuneOptions, command_of

app = typer.Typer(
    name="bijecta",
    help="Normalizing flows: fit a density to a table, draw samples, score rows.",
    epilog="Start with: bijecta demo. Exit codes: 0 done, 1 failed, 2 wrong usage, 70 fault in bijecta, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model file, or the folder of a run.")]
Output = Annotated[
    str, typer.Option("--out", "-o", help="File (.csv .tsv .parquet .npz .npy .h5), or - for CSV on standard output.")
]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Count = Annotated[int | None, typer.Option("-n", "--rows", min=1, help="How many rows.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bijecta {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Normalizing flows: fit a density to a table, draw samples, score rows."""


@app.command()
def demo(
    name: Annotated[str, typer.Argument(metavar="TOY", help="A toy set; see: bijecta toys.")] = "moons",
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; replaced if it exists.")] = Path("runs/demo"),
    seed: Seed = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the result.")] = False,
) -> None:
    """Fit two moons in half a minute, and say where the pictures are."""
    from bijecta.cli.listing import run_demo

    run_demo(FitOptions(name, out=out, seed=seed, quiet=quiet, force=True, epochs=60, rows=10_000))


def _fit(options: FitOptions) -> None:
    """Fit a flow to a table or a toy set, and write a run folder.

    Prints what every column is before training; says what is wrong with the data, and which option cures it.
    """
    from bijecta.cli.fitting import run_fit

    run_fit(options)


app.command("fit")(command_of(FitOptions, _fit))


def _tune(options: TuneOptions) -> None:
    """Search for settings that fit better than the defaults, and write the best run's folder.

    What is set here is not searched. A search that was killed goes on with --resume; several processes may share it.
    """
    from bijecta.cli.tuning import run_tune

    run_tune(options)


app.command("tune")(command_of(TuneOptions, _tune))


@app.command()
def sample(
    model: ModelPath,
    n: Count = None,
    context: Annotated[str | None, typer.Option(help="One context for all rows: 1.0,2.0")] = None,
    context_file: Annotated[str | None, typer.Option(help="A table of contexts, or - for standard input.")] = None,
    seed: Seed = 0,
    out: Output = "-",
) -> None:
    """Draw samples, in the units and types of the data.

    -n counts rows (default 1000); with --context-file, rows for each context (default 1).
    """
    from bijecta.cli.using import run_sample

    run_sample(model, n, context, context_file, seed, out)


@app.command()
def score(
    model: ModelPath,
    data: Annotated[str, typer.Argument(help="A table or toy set, or - for CSV on standard input.")],
    seed: Seed = 0,
    out: Output = "-",
) -> None:
    """Compute log_prob of every row, in nats, per unit of the columns.

    Columns are found by name; their order does not matter, and others are ignored.
    """
    from bijecta.cli.using import run_score

    run_score(model, data, seed, out)


@app.command()
def check(
    model: ModelPath,
    data: Annotated[str | None, typer.Argument(help="Rows to check on (default: samples of the model).")] = None,
    rows: Annotated[int, typer.Option(min=2, help="How many rows to use.")] = 1000,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Measure whether a model is what it claims to be; exit code 1 if not.

    Round trips, log-determinants against autograd, the integral of the density, float32 against float64, samples
    against the density, gradients, saving and loading.
    """
    from bijecta.cli.using import run_check

    run_check(model, data, rows, seed, json=json)


@app.command()
def info(model: ModelPath, json: AsJson = False) -> None:
    """Print what a model file says about itself."""
    from bijecta.cli.using import run_info

    run_info(model, json=json)


@app.command()
def export(
    model: ModelPath,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write (.onnx, .pt2).")],
    to: Annotated[str, typer.Option(help="onnx, torch (torch.export) or aoti (compiled for this processor).")] = "onnx",
    what: Annotated[str, typer.Option(help="log_prob, sample, to_data, or both: FILE_log_prob, FILE_sample.")] = "both",
) -> None:
    """Write the density or the sampler for use without bijecta, in C++ for example.

    Samples are a function of noise that the caller draws; the file says of which kind.
    """
    from bijecta.cli.exporting import run_export

    run_export(model, to, what, out)


@app.command()
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")]) -> None:
    """Make report.html of a run again, from the files in its folder."""
    from bijecta.cli.pictures import run_report

    run_report(run)


app.add_typer(hep)


@app.command()
def toys(
    name: Annotated[str | None, typer.Argument(metavar="TOY", help="Draw rows of this set instead.")] = None,
    n: Count = None,
    noise: Annotated[float | None, typer.Option(help="Noise level (default: that of the set).")] = None,
    seed: Seed = 0,
    out: Output = "-",
    json: AsJson = False,
) -> None:
    """List the toy sets with their exact entropies, or draw rows of one."""
    from bijecta.cli.listing import run_toys

    run_toys(name, n, noise, seed, out, json=json)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="RECIPE", help="Show the settings of this one.")] = None,
    json: AsJson = False,
) -> None:
    """List the kinds of flow, or the settings of one."""
    from bijecta.cli.listing import run_recipes

    run_recipes(name, json=json)


@app.command()
def doctor(json: AsJson = False) -> None:
    """Say what is installed, what is missing and how to get it."""
    from bijecta.cli.doctor import run_doctor

    run_doctor(json=json)


@app.command()
def card(
    model: ModelPath,
    name: Annotated[str | None, typer.Option(help="Where it will be found: OWNER/NAME of a model hub.")] = None,
    out: Annotated[str | None, typer.Option("--out", "-o", help="File, or - (default: README.md beside it).")] = None,
) -> None:
    """Write the model card: what the model is, what was measured, how to load it."""
    from bijecta.cli.serving import run_card

    run_card(model, name, out)


@app.command()
def serve(
    model: ModelPath,
    host: Annotated[str, typer.Option(help="Address to listen on; the default is this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 100_000,
    max_body: Annotated[int, typer.Option(min=1, help="Bytes of one request.")] = 16 * 2**20,
    queue: Annotated[int, typer.Option(min=1, help="Requests at once; one more gets 503.")] = 32,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    log: Annotated[bool, typer.Option("--log", help="Print one JSON line per request.")] = False,
) -> None:
    """Serve a model over HTTP: POST /score, POST /sample, GET /info, GET /health, GET /openapi.json."""
    from bijecta.cli.serving import run_serve
    from bijecta.service import ServiceSettings

    settings = ServiceSettings(max_rows=max_rows, max_body=max_body, queue=queue, threads=threads)
    run_serve(model, host, port, settings, log=log)


@app.command("app")
def lab(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where the app listens.")] = 8501,
    address: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in.")] = "127.0.0.1",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open the Lab: watch a flow learn, live, in the browser."""
    from bijecta.cli.lab import run_lab

    raise typer.Exit(run_lab(port, address, browser=browser))
