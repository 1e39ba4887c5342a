"""How exact are the native kernels in float32, beside the plain versions of the same maps?

    python benchmarks/kernel_errors.py

A million elements each, with parameters from a normal of spread 0.3, as in a trained flow, or 1: bins down to a
thousandth of the domain. The error of an element is the largest one of y, ladj and its gradients, these relative to
the largest of them or 1; exact is the plain version in float64. Elements on a knot, where the two sides have
different derivatives, count like all others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from bijecta.functional.kernels import mixture, spline, status
from gpu import MIXTURES, SPLINES, Map, draw, outcome
from machine import keep, print_table

COUNT, PARTS, BINS, BAR = 1_000_000, 20, 8, 1e-5
CPU = torch.device("cpu")


@contextmanager
def plain() -> Iterator[None]:
    """Switch the kernels off."""
    with (
        patch.object(spline, "can_run_natively", return_value=False),
        patch.object(mixture, "can_run_natively", return_value=False),
    ):
        yield


def errors(call: Map, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
    """Return the error of every element by the kernel, and by the plain version."""
    with plain():
        exact, plainly = outcome(call, x.double(), params.double()), outcome(call, x, params)
    return _largest(outcome(call, x, params), exact), _largest(plainly, exact)


def _largest(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> Tensor:
    y, ladj, gradients = ((a.double() - b).abs() for a, b in zip(found, exact, strict=True))
    gradients = gradients.amax(-1) / exact[2].abs().amax(-1).clamp(min=1)
    return torch.stack([y / exact[0].abs().clamp(min=1), ladj, gradients]).amax(0)


def measure(curve: Map, parameters: int, spread: float, settings: dict[str, int]) -> dict[str, object]:
    """Count the elements beyond the bar, and find the worst."""
    x, params = draw(COUNT, parameters, dtype=torch.float32, device=CPU)
    parts = zip(x.chunk(PARTS), (spread * params).chunk(PARTS), strict=True)
    found = [
        torch.cat(each) for each in zip(*(errors(partial(curve, **settings), *part) for part in parts), strict=True)
    ]
    row: dict[str, object] = {
        "map": curve.__name__,
        "circular": settings.get("circular", False),
        "inverse": settings["inverse"],
        "spread": spread,
    }
    for name, each in zip(("kernel", "plain"), found, strict=True):
        row |= {f"{name}, beyond {BAR:g}": float((each > BAR).double().mean()), f"{name}, worst": float(each.max())}
    return row


def main() -> None:
    if not status().startswith("native"):
        raise SystemExit(f"There are no native kernels here: {status()}.")
    maps = [(curve, size(BINS), settings) for curve, size, settings in SPLINES] + MIXTURES
    rows = [
        measure(curve, parameters, spread, {**settings, "inverse": inverse})
        for curve, parameters, settings in maps
        for inverse in (False, True)
        for spread in (0.3, 1.0)
    ]
    print_table(rows)
    keep("kernel_errors", rows)


if __name__ == "__main__":
    main()
