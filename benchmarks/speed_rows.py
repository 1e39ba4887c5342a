"""The models that `speed.py` measures, the work that they do, and what is not the same in every library."""

from dataclasses import dataclass

LIBRARIES = ("bijecta", "flowjax", "nflows", "zuko", "normflows", "freia")
PEERS = LIBRARIES[1:]
BINS, BOUND = 8, 5.0
RATE = 1e-3  # of Adam


@dataclass(frozen=True)
class Row:
    """One model: a number of layers, each with a conditioner of some hidden layers.

    Args:
        name: what ``--rows`` and the results call it.
        kind: "coupling", "autoregressive", "image" or "continuous".
        univariate: "affine" or "spline"; "" where there is none.
        event: shape of one event.
        layers: layers of the flow; steps per level of an image.
        hidden: widths of the hidden layers of every conditioner.
        batch: rows of a training step.
        density_rows: rows of a call of log_prob.
        sample_rows: rows of a call of sample.
        latency: whether small batches are timed too.
        first_step: whether the first step of a new process is timed too.
        epoch: steps of an epoch of `fit`.
        warm_up: training steps before anything is timed, where speed depends on the weights.
    """

    name: str
    kind: str
    univariate: str
    event: tuple[int, ...]
    layers: int
    hidden: tuple[int, ...]
    batch: int
    density_rows: int = 10_000
    sample_rows: int = 1000
    latency: bool = False
    first_step: bool = False
    epoch: int = 100
    warm_up: int = 0

    @property
    def features(self) -> int:
        """Length of an event that is a vector."""
        return self.event[0]

    @property
    def numbers(self) -> int:
        """How many numbers a conditioner gives for each feature that it transforms."""
        return 2 if self.univariate == "affine" else 3 * BINS - 1

    @property
    def has_floor(self) -> bool:
        """Whether `floor.py` knows what the work costs at least."""
        return self.kind in ("coupling", "autoregressive")

    def works(self) -> list[tuple[str, int]]:
        """List what is timed, each with its number of rows."""
        works = [("train", self.batch)]
        # fit begins with new weights: where speed depends on them, it is no multiple of the step.
        works += [] if self.warm_up else [("fit", self.batch)]
        works += [("log_prob", self.density_rows), ("sample", self.sample_rows)]
        works += [("log_prob", 32), ("log_prob", 1)] if self.latency else []
        return works + ([("first", self.batch)] if self.first_step else [])


ROWS = {
    row.name: row
    for row in (
        Row("realnvp2", "coupling", "affine", (2,), 8, (64, 64), 256, latency=True),
        Row("realnvp20", "coupling", "affine", (20,), 8, (128, 128), 512),
        Row("nsf2", "coupling", "spline", (2,), 4, (64, 64), 256),
        Row("nsf20", "coupling", "spline", (20,), 5, (128, 128), 512, latency=True, first_step=True),
        Row("maf43", "autoregressive", "affine", (43,), 5, (256, 256), 512),
        Row("nsfar20", "autoregressive", "spline", (20,), 5, (128, 128), 512),
        # Two residual blocks of width 256 are four products 256 x 256 after the first: as many as five hidden layers.
        Row("nsfpaper", "coupling", "spline", (6,), 10, (256,) * 5, 512, epoch=20),
        Row("glow", "image", "affine", (1, 28, 28), 4, (64, 64), 32, density_rows=256, sample_rows=64, epoch=20),
        Row("cnf", "continuous", "", (2,), 1, (64, 64, 64), 256, density_rows=1000, warm_up=50),
    )
}

# Where not everything is the same, it is so to the disadvantage of bijecta, or costs the others next to nothing.
_MORE = (
    "bijecta computes more: it standardises and whitens, and `nsf` has a learned linear map (LU) behind every spline."
)
NOTES = {
    "realnvp2": ["bijecta computes more: it standardises and whitens."],
    "realnvp20": ["bijecta computes more: it standardises and whitens."],
    "maf43": ["bijecta computes more: it standardises and whitens."],
    "nsf2": [_MORE, "flowjax has 25 numbers per spline, the others 23."],
    "nsf20": [_MORE, "flowjax has 25 numbers per spline, the others 23."],
    "nsfar20": [_MORE, "flowjax has 25 numbers per spline, the others 23."],
    "nsfpaper": [
        _MORE,
        "nflows and normflows have residual nets (two blocks of width 256); the others have plain ones of five hidden "
        "layers, which are the same matrix products without the two sums.",
    ],
    "glow": ["Two levels of four steps, three convolutions (3x3, 1x1, 3x3) with 64 channels in every coupling."],
    "cnf": ["Every library solves to a tolerance of 1e-5 with its own solver, after 50 training steps on two moons."],
}

# (library, row): why there is no figure.
_NO_SPLINES = "its spline blocks transform both halves, each with a learned interval: another model"
NOT_OFFERED = {
    **{("freia", name): _NO_SPLINES for name in ("nsf2", "nsf20", "nsfpaper")},
    **{("freia", name): "no masked autoregressive layers" for name in ("maf43", "nsfar20")},
    **{(peer, "glow"): "measured against normflows" for peer in ("flowjax", "nflows", "zuko", "freia")},
    **{(peer, "cnf"): "measured against zuko" for peer in ("flowjax", "nflows", "normflows", "freia")},
}


def why_not(library: str, row: str, work: str) -> str:
    """Say why a library has no such figure, or "" if it has."""
    if work == "fit" and library != "bijecta":
        return "a loop of ours"
    return NOT_OFFERED.get((library, row), "")
