"""The Triton kernels, tested in processes of their own: there is no other way to switch the interpreter on or off."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from bijecta.functional.kernels import dispatch

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
CASES = sorted(map(str, Path(__file__).parent.glob("triton_*cases.py")))
GPU = torch.device("cuda", 0)


def run(*arguments: str, **environment: str) -> str:
    """Run Python in a child without native kernels, which would be used first on a CPU."""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "BIJECTA_NATIVE": "0"} | environment
    child = subprocess.run([sys.executable, *arguments], env=variables, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stdout[-10_000:] + child.stderr[-5_000:]
    return child.stdout


def run_cases(marker: str, **environment: str) -> None:
    printed = run("-m", "pytest", *CASES, "-q", "-n0", "-p", "no:cacheprovider", "-m", marker, **environment)
    assert " passed" in printed
    assert "skipped" not in printed


@needs_triton
def test_kernels_are_the_plain_version_in_the_interpreter():
    run_cases("not slow", TRITON_INTERPRET="1")


@needs_triton
@pytest.mark.slow
def test_a_million_elements_in_the_interpreter():
    run_cases("slow", TRITON_INTERPRET="1")


@needs_triton
@needs_gpu
def test_kernels_are_the_plain_version_on_a_gpu():
    run_cases("slow or not slow", TRITON_INTERPRET="0")


CARD = """
import sys, torch, triton
from triton.backends.compiler import GPUTarget
from bijecta.functional.kernels import SplineSettings
from bijecta.functional.kernels.triton_spline import _constants, gradient_tile, map_tile
from bijecta.functional.kernels.triton_tiles import Elements

class Card:
    "A driver for a card that is not there: kernels are compiled for it, and not launched."
    def get_current_target(self):
        return GPUTarget(*eval(sys.argv[1]))
    def get_current_device(self):
        return 0
    def get_current_stream(self, device):
        return 0
"""
COMPILE = (
    CARD
    + """
triton.runtime.driver.set_active(Card())
for kind, dtype, bins, parameters, circular, inverse, rows in eval(sys.argv[2]):
    constants = _constants(kind, SplineSettings(bins, 5.0, circular, inverse, 1e-3, 1e-3), parameters)
    x, params = torch.zeros(rows, dtype=dtype), torch.zeros(rows, parameters, dtype=dtype)
    given = [Elements(x, params, None, None, rows), Elements(x, params, x, x.to(torch.uint8), rows)]
    for elements, g_ladj in zip(given, (None, x)):
        settings = {"grid": (1,), "enable_fp_fusion": True}
        map_tile.warmup(elements, x, x, constants, **settings)
        gradient_tile.warmup(elements, x, g_ladj, x, params, constants, **settings)
        print("compiled")
"""
)


@needs_triton
@pytest.mark.parametrize(
    ("card", "cases"),
    [
        (("cuda", 90, 32), [("rational_quadratic", torch.float32, 8, 23, False, False, 300)]),
        pytest.param(
            ("cuda", 80, 32),
            [
                ("rational_quadratic", torch.float64, 8, 23, False, True, 300),
                ("rational_quadratic", torch.float64, 1, 2, False, False, 1),
                ("rational_quadratic", torch.float32, 40, 120, True, True, 16),
                ("linear_spline", torch.float64, 8, 8, False, False, 300),
                ("quadratic_spline", torch.float32, 5, 9, False, True, 300),
                ("cubic_spline", torch.float64, 8, 18, False, True, 300),
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ("hip", "gfx942", 64),
            [
                ("rational_quadratic", torch.float64, 8, 24, True, False, 300),
                ("cubic_spline", torch.float32, 5, 12, False, False, 300),
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["H100", "A100", "MI300"],
)
def test_kernels_compile_for_cards_that_are_not_here(card, cases, tmp_path):
    """The interpreter takes more than the compiler does; the compiler needs no card."""
    printed = run("-W", "error", "-c", COMPILE, repr(card), repr(cases), TRITON_CACHE_DIR=str(tmp_path))
    assert printed == 2 * len(cases) * "compiled\n"
    binary = "cubin" if card[0] == "cuda" else "hsaco"
    assert len(list(tmp_path.rglob(f"*.{binary}"))) == 4 * len(cases)


COMPILE_MIXTURES = (
    CARD
    + """
from bijecta.functional.kernels import MixtureSettings
from bijecta.functional.kernels.triton_mixture import _constants
from bijecta.functional.kernels.triton_mixture_tiles import Elements, gradient_tile, map_tile

triton.runtime.driver.set_active(Card())
for dtype, kind, inverse in eval(sys.argv[2]):
    constants = _constants(MixtureSettings(kind, 6, 5.0, 3.0, 1e-3, inverse), dtype)
    x, params = torch.zeros(300, dtype=dtype), torch.zeros(300, 18 + constants.shifts, dtype=dtype)
    elements = Elements(x, params, 300, 300)
    map_tile.warmup(elements, x, x, constants, grid=(1,), enable_fp_fusion=True)
    gradient_tile.warmup(elements, x, None, x, params, constants, grid=(1,), enable_fp_fusion=True)
"""
)


@needs_triton
@pytest.mark.parametrize(
    ("card", "cases"),
    [
        (("cuda", 90, 32), [(torch.float32, "normal", True)]),
        pytest.param(
            ("cuda", 80, 32),
            [(torch.float32, "logistic", False), (torch.float64, "normal", False)],
            marks=pytest.mark.slow,
        ),
        pytest.param(("hip", "gfx942", 64), [(torch.float64, "logistic", True)], marks=pytest.mark.slow),
    ],
    ids=["H100", "A100", "MI300"],
)
def test_mixtures_compile_for_cards_that_are_not_here(card, cases, tmp_path):
    run("-W", "error", "-c", COMPILE_MIXTURES, repr(card), repr(cases), TRITON_CACHE_DIR=str(tmp_path))
    assert len([*tmp_path.rglob("*.cubin"), *tmp_path.rglob("*.hsaco")]) == 2 * len(cases)


COMPILE_AFFINE = (
    CARD
    + """
from bijecta.functional.kernels.triton_affine import Constants, Elements, gradient_tile, map_tile

triton.runtime.driver.set_active(Card())
for dtype, inverse in ((torch.float32, False), (torch.float64, True)):
    x, params = torch.zeros(300, dtype=dtype), torch.zeros(300, 2, dtype=dtype)
    elements, constants = Elements(x, params, 300), Constants(512, 3.0, inverse)
    map_tile.warmup(elements, x, x, constants, grid=(1,), enable_fp_fusion=True)
    gradient_tile.warmup(elements, x, None, x, params, constants, grid=(1,), enable_fp_fusion=True)
"""
)


@needs_triton
@pytest.mark.parametrize("card", [("cuda", 90, 32), ("hip", "gfx942", 64)], ids=["H100", "MI300"])
def test_affine_maps_compile_for_cards_that_are_not_here(card, tmp_path):
    run("-W", "error", "-c", COMPILE_AFFINE, repr(card), TRITON_CACHE_DIR=str(tmp_path))
    assert len([*tmp_path.rglob("*.cubin"), *tmp_path.rglob("*.hsaco")]) == 4


def test_without_triton_nothing_is_missing():
    run(
        "-c",
        "import sys\n"
        "sys.modules['triton'] = None\n"
        "import torch\n"
        "from bijecta.functional import rational_quadratic\n"
        "from bijecta.functional.kernels import triton_affine, triton_mixture, triton_spline, triton_tiles\n"
        "assert triton_tiles.triton is None\n"
        "rational_quadratic(torch.zeros(3), torch.zeros(3, 23))\n",
    )


def test_triton_is_not_imported_where_it_is_not_used():
    printed = run(
        "-c",
        "import sys, torch\n"
        "from bijecta.flows import nsf\n"
        "nsf(2).log_prob(torch.zeros(3, 2)).sum().backward()\n"
        "print('triton' in sys.modules)\n",
    )
    assert printed == "False\n"


def status() -> str:
    return dispatch.triton_status.__wrapped__(GPU)


def test_what_triton_needs_is_named(monkeypatch):
    monkeypatch.delenv("BIJECTA_NATIVE", raising=False)
    monkeypatch.setenv("CC", "gcc")
    monkeypatch.setattr(dispatch, "find_spec", lambda _: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")
    assert status() == "Triton on a card"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    assert "7.0" in status()
    monkeypatch.delenv("CC")
    monkeypatch.setattr(dispatch, "which", lambda _: None)
    assert "C compiler" in status()
    monkeypatch.setattr(dispatch, "find_spec", lambda _: None)
    assert 'pip install "bijecta[gpu]"' in status()
    monkeypatch.setenv("BIJECTA_NATIVE", "0")
    assert status().startswith("off")


@needs_gpu
def test_a_gpu_is_found_and_used():
    assert dispatch.can_run_on_gpu(torch.zeros(2, device="cuda"), torch.zeros(2, device="cuda"))
    assert not dispatch.can_run_on_gpu(torch.zeros(2, device="cuda"), torch.zeros(2))
    assert not dispatch.can_run_natively(torch.zeros(2, device="cuda"))
