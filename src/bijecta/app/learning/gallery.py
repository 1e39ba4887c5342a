"""What breaks a flow, and its cure: each one link into the Lab."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from bijecta.app.registry import RUNS
from bijecta.app.settings import TABLE, RunSettings

Points = NDArray[np.float64]
SMALL = {"layers": 4, "hidden": (32, 32)}
QUICK = {"epochs": 30}


@dataclass(frozen=True)
class Breakage:
    """A failure that anybody can bring about.

    Attributes:
        title: what breaks.
        why: the reason.
        look: what to look at in the Lab.
        broken: settings that fail.
        cured: settings that do not; ``cure`` says what is different.
        cure: the remedy.
        points: makes the rows, where no toy set shows the failure.
    """

    title: str
    why: str
    look: str
    broken: RunSettings
    cure: str
    cured: RunSettings
    points: Callable[[], Points] | None = None


def lab_link(settings: RunSettings, points: Callable[[], Points] | None = None) -> str:
    """Write the link that opens the Lab with these settings, beside this page.

    Args:
        settings: of the run.
        points: makes the rows of a run on a table; they are kept for the Lab as an upload is.

    Returns:
        The link, relative to this page.

    Example:
        >>> from bijecta.app.learning.gallery import lab_link
        >>> from bijecta.app.settings import RunSettings
        >>> lab_link(RunSettings("maf", data="rings"))
        './?recipe=maf&data=rings'
    """
    if points is not None:
        settings = replace(settings, data=TABLE, table=RUNS.upload(points()))
    return f"./?{urlencode(settings.to_query())}"


def heavy_tails() -> Points:
    """Draw 4,000 rows of two Student t variables with 1.5 degrees of freedom."""
    return np.random.default_rng(0).standard_t(1.5, size=(4000, 2))


def independent_columns() -> Points:
    """Draw 4,000 rows of a column with two modes and, apart from it, a Gaussian one."""
    generator = np.random.default_rng(0)
    modes = generator.choice([-2.0, 2.0], 4000) + 0.4 * generator.standard_normal(4000)
    return np.stack([modes, generator.standard_normal(4000)], axis=1)


def _run(recipe: str, data: str = "moons", **arguments: object) -> RunSettings:
    return RunSettings(recipe, {**SMALL, **arguments}, data=data, rows=4000, training=QUICK)


GALLERY = (
    Breakage(
        "Topology",
        "A flow is continuous, and so is its inverse: it keeps a connected base connected. Eight islands stay tied "
        "together by bridges.",
        "Switch on the samples: threads of points run between the islands.",
        _run("realnvp", "8gaussians", layers=6),
        "A base that comes in pieces: a mixture, which learns where they are.",
        _run("realnvp", "8gaussians", layers=6, base="mixture"),
    ),
    Breakage(
        "Tails",
        "A map that is linear far out keeps the shape of the base's tail. From a Gaussian, heavy tails never come.",
        "Compare the validation loss of the two, on the same rows.",
        _run("nsf"),
        "A base with heavy tails itself: Student's t, with learned degrees of freedom.",
        _run("nsf", base="student"),
        heavy_tails,
    ),
    Breakage(
        "Too few layers",
        "One affine coupling bends one coordinate as a function of the other. Two cannot wind five arms.",
        "Play the depth slider: each layer slides rows or columns, no more.",
        _run("realnvp", "pinwheel", layers=2),
        "More layers, and splines in place of straight lines.",
        _run("nsf", "pinwheel", layers=6),
    ),
    Breakage(
        "One dimension",
        "A coupling needs a kept coordinate that tells it something. With one column, or columns that say nothing "
        "about each other, an affine coupling is a straight line: out comes a Gaussian.",
        "The two modes of the first column stay one smear.",
        _run("realnvp", layers=2),
        "A map that bends without help: a spline.",
        _run("nsf", layers=2),
        independent_columns,
    ),
    Breakage(
        "Too high a learning rate",
        "Adam takes steps of about the learning rate in every weight. At 10 the first step leaves the region where "
        "anything was learned.",
        "The curve jumps and never comes back; the verdict says so.",
        replace(_run("nsf"), training={**QUICK, "learning_rate": 10.0}),
        "Leave the learning rate to the training: auto.",
        _run("nsf"),
    ),
    Breakage(
        "Volume preservation",
        "NICE moves points but never squeezes them, but for one scale per column at the end: peaks stay as high as "
        "the base's. A flat square cannot be made from a bell, whatever the networks.",
        "The density keeps its hill in the middle; the gap stops near 1 - log 2 = 0.31 nats, and no training helps.",
        _run("nice", "uniform", layers=6),
        "Couplings that also scale.",
        _run("nsf", "uniform"),
    ),
)
"""Six failures and their cures."""
