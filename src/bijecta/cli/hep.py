"""The commands for collision events. Only their options are here: what they do is imported when they run."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from bijecta.cli.options import command_of, resuming

hep = typer.Typer(name="hep", no_args_is_help=True)

FORMATS = ".npz .h5 .parquet .root .lhe .lhe.gz .hepmc"

ModelPath = Annotated[Path, typer.Argument(metavar="MODEL", help="A model of events, or the folder of a run.")]
Count = Annotated[int, typer.Option("-n", "--events", min=1, help="How many events.")]
EventsOut = Annotated[Path, typer.Option("--out", "-o", help=f"File of events ({FORMATS}).")]
Energy = Annotated[str | None, typer.Option(help="Energy of the collision in GeV.", metavar="GEV")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything random.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@hep.callback()
def root() -> None:
    """Collision events: generate, fit, sample, evaluate, integrate, export. Energies in GeV."""


@hep.command()
def generate(
    generator: Annotated[
        str,
        typer.Argument(
            metavar="GENERATOR",
            help="muon-pairs (e+e-), drell-yan (p pbar), three-jets (e+e-), muon-decay, or pythia:PROCESS.",
        ),
    ],
    out: EventsOut,
    n: Count = 10_000,
    energy: Annotated[
        str | None, typer.Option(help="91.2, several as 80,91.2, or LOW:HIGH, evenly in ln E.", metavar="GEV")
    ] = None,
    level: Annotated[str | None, typer.Option(help="Of Pythia: hard, parton or hadron.")] = None,
    seed: Seed = 0,
) -> None:
    """Draw events from a generator with an exact density, or from Pythia 8.

    With several energies there are n events in all, as many at each. Processes of Pythia: dy_mumu, ee_mumu, ttbar,
    dijet, ee_hadrons.
    """
    from bijecta.cli.hep_events import run_generate

    run_generate(generator, n, energy, level, seed, out)


@dataclass(frozen=True)
class EventFitOptions:
    """What a fit of events is made of."""

    events: Annotated[Path, typer.Argument(metavar="EVENTS", help=f"File of events ({FORMATS}).")]
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")]
    schema: Annotated[
        Path | None, typer.Option(help="JSON of EventSchema.to_json; for NanoAOD, which does not carry its own.")
    ] = None
    recipe: Annotated[
        str,
        typer.Option(
            help="event_flow; variable_event_flow for particles in varying number; plain_event_flow, momenta as they "
            "are, to compare with."
        ),
    ] = "event_flow"
    tree: Annotated[
        str | None, typer.Option(help='Who decays into whom: [["e-","e+"],["mu-","mu+"]]', metavar="JSON")
    ] = None
    mass: Annotated[
        list[str],
        typer.Option(
            help="Shape of a mass: mass=breit_wigner:91.19:2.5 (mass, width), mass=power_law:3 (power); "
            "the other masses take their log above the threshold.",
            metavar="COLUMN=SHAPE",
        ),
    ] = field(default_factory=list)
    resonance: Annotated[
        str | None, typer.Option(help="Mass and width of a resonance in the energy: 91.19:2.5", metavar="GEV:GEV")
    ] = None
    set: Annotated[
        list[str],
        typer.Option(help="A setting of the recipe or the training: layers=4, batch_size=512.", metavar="NAME=VALUE"),
    ] = field(default_factory=list)
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the events, at most.")] = 100
    max_seconds: Annotated[float | None, typer.Option(help="Time limit.")] = None
    test_fraction: Annotated[float, typer.Option(help="Events kept for the test.")] = 0.1
    seed: Annotated[int, typer.Option(min=0, help="Of split, weights and order.")] = 0
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")] = False
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False
    json: Annotated[bool, typer.Option("--json", help="Print the metrics as JSON.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors and the result.")] = False

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.out

    def to_json(self) -> dict[str, Any]:
        """Return what decides the result."""
        shown = ("out", "resume", "force", "json", "quiet")
        return {name: value for name, value in vars(self).items() if name not in shown}

    def command(self) -> str:
        """Return the shell command that resumes this run."""
        return resuming(["bijecta", "hep", "fit", str(self.events)], self)


def _fit(options: EventFitOptions) -> None:
    """Fit a flow to events on their exact supports, and write a run folder.

    Events are checked first: what is off its mass shell, for example, is named. A run that was killed goes on with
    --resume, bit for bit.
    """
    from bijecta.cli.hep_fitting import run_fit

    run_fit(options)


hep.command("fit")(command_of(EventFitOptions, _fit))


@hep.command()
def sample(
    model: ModelPath,
    out: EventsOut,
    n: Count = 10_000,
    energy: Energy = None,
    condition: Annotated[
        list[str] | None, typer.Option(help="Value of a condition, for all events.", metavar="NAME=VALUE")
    ] = None,
    seed: Seed = 0,
) -> None:
    """Draw events from a model. --energy E is short for --condition energy=E."""
    from bijecta.cli.hep_events import run_sample

    run_sample(model, n, [*(condition or ()), *([f"energy={energy}"] if energy else ())], seed, out)


@hep.command()
def evaluate(
    generated: Annotated[
        Path, typer.Argument(help="File of events; or a model, which is sampled at the conditions of the reference.")
    ],
    reference: Annotated[Path, typer.Argument(help="File of events: the truth.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of report.html and report.json.")],
    seed: Seed = 0,
    bootstrap: Annotated[int, typer.Option(min=0, help="Replicas for errors and for truth against truth.")] = 100,
    classifier: Annotated[bool, typer.Option(help="Train one to tell the samples apart.")] = True,
    json: AsJson = False,
) -> None:
    """Compare generated events with a reference, truth against truth beside every number."""
    from bijecta.cli.hep_events import run_evaluate

    run_evaluate((generated, reference), out, seed, bootstrap, classifier=classifier, json=json)


@hep.command()
def integrate(
    function: Annotated[str, typer.Argument(metavar="MODULE:FUNCTION", help="Takes points (n, D), returns (n,).")],
    dimensions: Annotated[int, typer.Argument(metavar="D", min=1, help="Dimensions of the unit cube.")],
    calls: Annotated[int, typer.Option(help="Evaluations of the function.")] = 100_000,
    signed: Annotated[bool, typer.Option("--signed", help="The function may be negative.")] = False,
    vegas: Annotated[bool, typer.Option(help="Start from VEGAS, and stay with it where it is better.")] = True,
    seed: Seed = 0,
    json: AsJson = False,
) -> None:
    """Integrate a Python function over the unit cube with a trained flow.

    The module is looked for in the current folder first; it is run, so it has to be one that you trust.
    """
    from bijecta.cli.hep_integration import run_integrate

    run_integrate(function, dimensions, calls, seed, signed=signed, vegas=vegas, json=json)


@hep.command()
def export(
    model: ModelPath, out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the two files.")]
) -> None:
    """Write events.onnx (latents in, four-momenta out) and log_prob.onnx, for use without bijecta.

    For models of event_flow. A program in C++ that uses the files is in examples/cpp.
    """
    from bijecta.cli.hep_events import run_export

    run_export(model, out)
