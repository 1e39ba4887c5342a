"""When the kernel is used, and that everything works where it cannot be."""

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from bijecta.functional import kernels, rational_quadratic
from bijecta.functional.kernels import library
from bijecta.functional.kernels.dispatch import can_run_natively


def test_ordinary_tensors_run_natively(native):
    assert can_run_natively(torch.zeros(2), torch.nn.Parameter(torch.zeros(2)), 5.0, False)
    assert kernels.status().startswith("native ")


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, device="meta"), torch.zeros(2).to_sparse()],
    ids=["bfloat16", "meta", "sparse"],
)
def test_other_tensors_do_not(tensor):
    assert not can_run_natively(tensor)


def test_nothing_that_intercepts_operations_sees_a_kernel(native):
    seen = {}

    def note(name: str, x: Tensor) -> Tensor:
        seen[name] = can_run_natively(x)
        return x

    torch.vmap(lambda x: note("vmap", x))(torch.zeros(2))
    torch.func.jvp(lambda x: note("jvp", x), (torch.zeros(2),), (torch.ones(2),))
    torch.func.grad(lambda x: note("grad", x).sum())(torch.zeros(2))
    with forward_ad.dual_level():
        note("forward", torch.zeros(2))
    with FlopCounterMode(display=False):
        note("dispatch", torch.zeros(2))
    assert seen == dict.fromkeys(["vmap", "jvp", "grad", "forward", "dispatch"], False)


def test_transforms_give_the_numbers_of_the_kernel(native):
    x, params = torch.randn(6, dtype=torch.float64), torch.randn(6, 23, dtype=torch.float64)
    y, ladj = rational_quadratic(x, params)
    torch.testing.assert_close(torch.vmap(rational_quadratic)(x, params), (y, ladj))
    slope = torch.func.jvp(lambda x: rational_quadratic(x, params)[0], (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(slope, ladj.exp())


def test_a_bound_that_learns_is_computed_plainly():
    bound = torch.tensor(5.0, requires_grad=True)
    y, ladj = rational_quadratic(torch.randn(4), torch.randn(4, 23), bound=bound)
    (y.sum() + ladj.sum()).backward()
    assert bound.grad is not None


def test_a_conjugate_view_with_a_pending_sign(native):
    x = torch.conj(torch.complex(torch.zeros(5), torch.linspace(-1, 1, 5))).imag
    assert x.is_neg()
    params = torch.randn(5, 23)
    assert torch.equal(rational_quadratic(x, params)[0], rational_quadratic(x.resolve_neg(), params)[0])


def test_checkpointing_recomputes_through_the_kernel(native):
    x, params = torch.randn(5, requires_grad=True), torch.randn(5, 23)
    y, _ = torch.utils.checkpoint.checkpoint(rational_quadratic, x, params, use_reentrant=False)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient, torch.autograd.grad(rational_quadratic(x, params)[0].sum(), x)[0])


@pytest.mark.slow
def test_a_compiled_graph_has_no_break(native):
    compiled = torch.compile(rational_quadratic, fullgraph=True, backend="eager")
    x, params = torch.randn(4, dtype=torch.float64), torch.randn(4, 23, dtype=torch.float64)
    torch.testing.assert_close(compiled(x, params), rational_quadratic(x, params))


PROBE = """
import torch
from bijecta.functional import kernels, rational_quadratic
print(kernels.status())
params = torch.linspace(-1, 1, 23, requires_grad=True)
y, ladj = rational_quadratic(torch.tensor([0.5]), params)
(y + ladj).sum().backward()
print(y.item(), params.grad.norm().item())
"""


def test_it_can_be_switched_off(capsys):
    environment = os.environ | {"BIJECTA_NATIVE": "0"}
    run = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=True)
    status, numbers = run.stdout.splitlines()
    assert status == "off: BIJECTA_NATIVE=0 is set"
    exec(PROBE, {})  # noqa: S102 - the same lines in this process, with the kernel
    here = capsys.readouterr().out.splitlines()[1]
    assert [float(n) for n in numbers.split()] == pytest.approx([float(n) for n in here.split()], rel=1e-5)


def test_a_library_of_another_interface_is_refused(native, monkeypatch):
    monkeypatch.setattr(library, "INTERFACE", -1)
    opened, status = library.open_library(library.FOLDER / "baseline.so")
    assert opened is None
    assert "reinstall" in status


def test_without_a_library_there_is_a_reason(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "FOLDER", tmp_path)
    monkeypatch.delenv("BIJECTA_NATIVE", raising=False)
    assert library._load.__wrapped__() == (None, "absent: no working C++ compiler when bijecta was installed")
    (tmp_path / "baseline.so").write_text("not a library")
    assert library._load.__wrapped__()[1].startswith("absent: ")
