"""The one place that chooses between a kernel and the plain formula: native on a CPU, Triton on a GPU."""

import os
from functools import cache
from importlib.util import find_spec
from shutil import which

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

from bijecta.functional.kernels.library import library


def can_run_natively(x: Tensor, *others: object) -> bool:
    """Decide whether raw pointers to these tensors may be handed to native code on the CPU.

    Args:
        x: the elements.
        others: what else the kernel reads; what is no tensor is always fine.

    Returns:
        Whether the kernel is used.

    Example:
        >>> can_run_natively(torch.zeros(2, device="meta"))
        False
    """
    return _can_hand_over("cpu", x, others) and library() is not None


def can_run_on_gpu(x: Tensor, *others: object) -> bool:
    """Decide whether raw pointers to these tensors may be handed to a Triton kernel.

    Args:
        x: the elements.
        others: what else the kernel reads; what is no tensor is always fine.

    Returns:
        Whether the kernel is used.

    Example:
        >>> can_run_on_gpu(torch.zeros(2))
        False
    """
    return _can_hand_over("cuda", x, others) and triton_status(x.device).startswith("Triton")


@cache  # It looks for files, and is asked for every spline.
def triton_status(device: torch.device) -> str:
    """Say whether Triton kernels are used on a device, and if not, why.

    Args:
        device: where the tensors are.

    Returns:
        One line, such as "Triton on NVIDIA A100" or "absent: ...".

    Example:
        >>> triton_status(torch.device("cpu"))
        'absent: cpu is no GPU'
    """
    if os.environ.get("BIJECTA_NATIVE") == "0":
        return "off: BIJECTA_NATIVE=0 is set"
    if device.type != "cuda":
        return f"absent: {device.type} is no GPU"
    if find_spec("triton") is None:
        return 'absent: no Triton, install it with: pip install "bijecta[gpu]"'
    if not (os.environ.get("CC") or which("gcc") or which("clang")):
        return "absent: Triton needs a C compiler when a kernel is used for the first time"
    if torch.cuda.get_device_capability(device) < (7, 0):
        return "absent: Triton needs a GPU of compute capability 7.0"
    return f"Triton on {torch.cuda.get_device_name(device)}"


def _can_hand_over(device: str, x: Tensor, others: tuple[object, ...]) -> bool:
    """Decide whether these are ordinary tensors on such a device.

    Not under anything that traces, transforms or intercepts operations (compile, export, vmap, forward-mode
    derivatives, fake tensors, autocast): there the plain formula is what the tracer should see.
    """
    if torch.compiler.is_compiling() or x.device.type != device or x.dtype not in (torch.float32, torch.float64):
        return False
    if is_transformed(device) or torch._C._len_torch_dispatch_stack() > 0:
        return False
    return all(_is_plain(tensor, x.device) for tensor in (x, *others) if isinstance(tensor, Tensor))


def _is_plain(tensor: Tensor, device: torch.device) -> bool:
    return type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device == device and tensor.layout == torch.strided


def is_transformed(device: str) -> bool:
    """Tell whether something traces or transforms operations: vmap, export, forward-mode derivatives, autocast.

    Args:
        device: type of the device that autocast is asked about.

    Returns:
        Whether operations are more than what they compute; compile is asked about by `torch.compiler.is_compiling`.

    Example:
        >>> is_transformed("cpu")
        False
    """
    return (
        _functorch.peek_interpreter_stack() is not None
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled(device)
    )
