"""Are the kernels right on this GPU, and how fast are they beside the plain version and torch.compile?

    python benchmarks/gpu.py                  # needs a CUDA device and Triton; keeps results/gpu.json
    python benchmarks/gpu.py --seconds 0.05   # does everything work? figures mean nothing, and are not kept

First every kernel is compared with the plain version in float64, on a million elements each (a tenth for mixtures);
a failure ends the run. Then no training step may wait for the device, by torch's own detector. Then maps and training
steps (`speed_rows.py`) are timed: medians over some seconds, waiting for the device before and after a few calls.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

import torch
from torch import Tensor

from bijecta.functional import (
    bounded_affine,
    cubic_spline,
    cubic_spline_params,
    linear_spline,
    linear_spline_params,
    quadratic_spline,
    quadratic_spline_params,
    rational_quadratic,
    rational_quadratic_params,
    sigmoidal,
)
from bijecta.functional.gaussianization import gaussianise
from bijecta.functional.kernels import affine, mixture, spline
from bijecta.functional.kernels.dispatch import triton_status
from bijecta.training import Batch, TrainingStep
from machine import keep, print_table
from peers_torch import build_bijecta
from speed_rows import RATE, ROWS

MODELS = ("realnvp2", "realnvp20", "nsf2", "nsf20", "maf43", "nsfar20", "nsfpaper")
SIZES = (5_120, 102_400, 2_048_000)  # elements: 512 rows of 10, and what fills a card
TOGETHER = 10  # calls between two waits
KERNELS = ("_FusedBackward", "_FusedMixtureBackward")  # what autograd calls them

Result = dict[str, object]
Map = Callable[..., tuple[Tensor, Tensor]]

SPLINES: list[tuple[Map, Callable[[int], int], dict[str, bool]]] = [
    *(
        (rational_quadratic, partial(rational_quadratic_params, circular=circular), {"circular": circular})
        for circular in (False, True)
    ),
    (linear_spline, linear_spline_params, {}),
    (quadratic_spline, quadratic_spline_params, {}),
    (cubic_spline, cubic_spline_params, {}),
]
AFFINE: tuple[Map, int, dict[str, int]] = (bounded_affine, 2, {})
# Of eight components, with their numbers of parameters.
MIXTURES: list[tuple[Map, int, dict[str, int]]] = [(gaussianise, 24, {}), (sigmoidal, 25, {"components": 8})]


@contextmanager
def plain() -> Iterator[None]:
    """Switch the kernels off."""
    with (
        patch.object(affine, "can_run_on_gpu", return_value=False),
        patch.object(spline, "can_run_on_gpu", return_value=False),
        patch.object(mixture, "can_run_on_gpu", return_value=False),
    ):
        yield


def draw(count: int, parameters: int, *, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Draw elements inside and outside of the domain, some of them on its edges, and parameters."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, generator=generator, dtype=dtype) * 12 - 6
    x[::31], x[1::31] = 5, -5
    params = torch.randn(count, parameters, generator=generator, dtype=dtype)
    return x.to(device), params.to(device)


def outcome(call: Map, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return y, ladj, and the gradients of a sum of both with respect to x and params, side by side."""
    x, params = x.detach().requires_grad_(), params.detach().requires_grad_()
    y, ladj = call(x, params)
    gradients = torch.autograd.grad(y.sum() + ladj.sum(), (x, params))
    return y.detach(), ladj.detach(), torch.cat([gradients[0][..., None], gradients[1]], -1)


def check(count: int, device: torch.device) -> list[Result]:
    """Compare every kernel of a spline with the plain version in float64; raise if one is wrong."""
    return [
        _check(curve, *draw(count, parameters(bins), dtype=dtype, device=device), inverse=inverse, **settings)
        for dtype in (torch.float32, torch.float64)
        for bins in (1, 8, 16)
        for curve, parameters, settings in SPLINES
        for inverse in (False, True)
    ]


def check_others(count: int, device: torch.device) -> list[Result]:
    """Do the same for the affine map and those by mixtures."""
    return [
        _check(curve, *draw(count, parameters, dtype=dtype, device=device), inverse=inverse, **settings)
        for dtype in (torch.float32, torch.float64)
        for curve, parameters, settings in [AFFINE, *MIXTURES]
        for inverse in (False, True)
    ]


def _check(curve: Map, x: Tensor, params: Tensor, **settings: int) -> Result:
    name = f"{curve.__name__}, {str(x.dtype).removeprefix('torch.')}, {params.shape[-1]} parameters, {settings}"
    call = partial(curve, **settings)
    if type(call(x, params.requires_grad_())[0].grad_fn).__name__ not in KERNELS:
        raise RuntimeError(f"The kernel was not used: {triton_status(x.device)}.")
    found = outcome(call, x, params)
    with plain():
        exact = outcome(call, x.double(), params.double())
        allowed = 1e-10 + 4 * _errors(outcome(call, x, params), exact)
    errors = _errors(found, exact)
    if not bool((errors <= allowed).all()):
        raise RuntimeError(
            f"The kernel is wrong: {name}, errors {errors.tolist()}, at most {allowed.tolist()} expected."
        )
    return {"what": f"errors: {name}", **dict(zip(("y", "ladj", "gradient"), errors.tolist(), strict=True))}


def _errors(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> Tensor:
    """Return what 99 of 100 elements are better than; narrow bins make single ones as bad as one likes in float32."""
    y, ladj, gradients = ((a.double() - b).abs() for a, b in zip(found, exact, strict=True))
    gradients = gradients.amax(-1) / exact[2].abs().amax(-1).clamp(min=1)
    errors = torch.stack([y, ladj, gradients]).sort(-1).values  # NaN is sorted behind everything
    return torch.where(errors[:, -1].isnan(), torch.nan, errors[:, int(0.99 * errors.shape[-1])])


def check_waiting(model: str, device: torch.device, *, compiled: bool = False) -> None:
    """Take a training step while torch reports whatever waits for the device as an error."""
    step, batch = _training(model, device, compiled=compiled)
    for _ in range(4):  # the optimiser has its state then, and graphs are recorded
        step(batch)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(batch)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def time_maps(count: int, device: torch.device, seconds: float) -> Iterator[Result]:
    """Time maps without and with their gradients: by the kernel, plainly, and plainly compiled."""
    for curve, parameters, settings in [(rational_quadratic, rational_quadratic_params(8), {}), AFFINE, *MIXTURES]:
        x, params = draw(count, parameters, dtype=torch.float32, device=device)
        compiled = torch.compile(curve, fullgraph=True)
        for work in ("forward", "forward and backward"):
            params.requires_grad_(work != "forward")
            calls = (partial(_call, each, x, params, **settings) for each in (curve, compiled))
            yield {"what": f"{curve.__name__}, {count} elements, {work}", **_three(*calls, device, seconds)}


def _call(curve: Map, x: Tensor, params: Tensor, **settings: int) -> None:
    y, ladj = curve(x, params, **settings)
    if params.requires_grad:
        torch.autograd.grad(y.sum() + ladj.sum(), params)


def time_step(model: str, device: torch.device, seconds: float) -> Result:
    """Time a training step: by kernels, plainly, and compiled into CUDA graphs."""
    (step, batch), (compiled, _) = _training(model, device), _training(model, device, compiled=True)
    return {
        "what": f"training step, {model}, {batch.size} rows",
        **_three(lambda: step(batch), lambda: compiled(batch), device, seconds),
    }


def _training(model: str, device: torch.device, *, compiled: bool = False) -> tuple[TrainingStep, Batch]:
    torch.manual_seed(0)
    row = ROWS[model]
    x = torch.randn(row.batch, *row.event, device=device)
    flow = build_bijecta(row).module.to(device)
    flow.initialise(x)
    return TrainingStep(flow, learning_rate=RATE, gradient_clip=10.0, compile=compiled), Batch(row.batch, x)


def _three(
    call: Callable[[], object], compiled: Callable[[], object], device: torch.device, seconds: float
) -> dict[str, float]:
    """Return the milliseconds of one call in three ways."""
    found = {"kernel_ms": milliseconds(call, device, seconds)}
    with plain():
        found["plain_ms"] = milliseconds(call, device, seconds)
    return found | {"compiled_ms": milliseconds(compiled, device, seconds)}


def milliseconds(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the median time of a call; the first ones compile and are not counted."""
    for _ in range(3):
        call()
    measured: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not measured:
        _wait(device)
        began = time.perf_counter()
        for _ in range(TOGETHER):
            call()
        _wait(device)
        measured.append(1000 * (time.perf_counter() - began) / TOGETHER)
    return statistics.median(measured)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="per figure")
    seconds = parser.parse_args().seconds
    device = torch.device("cuda")
    if not torch.cuda.is_available():
        raise SystemExit("No CUDA device here: torch.cuda.is_available() is False.")
    checked = [*check(1_000_000, device), *check_others(100_000, device)]
    print_table(checked)
    for model in MODELS:
        check_waiting(model, device)
        check_waiting(model, device, compiled=True)
    timed = [row for count in SIZES for row in time_maps(count, device, seconds)]
    timed += [time_step(model, device, seconds) for model in MODELS]
    print_table(timed)
    if seconds >= 1:
        keep("gpu", [{"card": torch.cuda.get_device_name(), **row} for row in [*checked, *timed]])


if __name__ == "__main__":
    main()
