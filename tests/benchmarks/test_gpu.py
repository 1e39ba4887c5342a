"""The parts of the GPU benchmark run, on a CPU by Triton's interpreter; figures mean nothing here."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

PROBE = """
import json
import torch
import gpu
from bijecta.functional.kernels import affine, mixture, spline, triton_mixture, triton_spline

torch.set_num_threads(1)
device = torch.device("cpu")
for choice in (affine, spline, mixture):
    choice.can_run_natively, choice.can_run_on_gpu = (lambda *_: False), (lambda *_: True)
triton_spline.TILE, triton_spline.ROWS = 2**15, 2**12
triton_mixture.TILE, triton_mixture.ROWS = 2**18, 2**12
torch.compile = lambda function, **_: function  # its own tests take minutes
gpu.TOGETHER = 1
checked = [*gpu.check(1000, device), *gpu.check_others(300, device)]
timed = [*gpu.time_maps(300, device, 0.0), gpu.time_step("nsf2", device, 0.0)]
real = triton_spline.gradient

def wrong(*given):
    g_x, g_params = real(*given)
    return g_x, g_params * 1.001

triton_spline.gradient = wrong
try:
    gpu.check(200, device)
except RuntimeError as error:
    print(json.dumps([checked, timed, str(error)]))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_parts_run_and_a_wrong_kernel_is_found():
    environment = os.environ | {"TRITON_INTERPRET": "1", "BIJECTA_NATIVE": "0", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROBE]
    child = subprocess.run(command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr[-5000:]
    checked, timed, error = json.loads(child.stdout)
    assert len(checked) == 60 + 4 + 8
    assert [row["what"] for row in timed] == [
        *(
            f"{name}, 300 elements, {work}"
            for name in ("rational_quadratic", "bounded_affine", "gaussianise", "sigmoidal")
            for work in ("forward", "forward and backward")
        ),
        "training step, nsf2, 256 rows",
    ]
    assert all(row[name] > 0 for row in timed for name in ("kernel_ms", "plain_ms", "compiled_ms"))
    assert error.startswith("The kernel is wrong: rational_quadratic, float32, 3 parameters")


def test_without_a_gpu_it_says_so():
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "gpu.py"]
    child = subprocess.run(command, cwd=BENCHMARKS, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 1
    assert child.stderr.startswith("No CUDA device here")
