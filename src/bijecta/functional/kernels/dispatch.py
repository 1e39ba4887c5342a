"""The one place that chooses between a native kernel and the plain formula."""

import torch
from torch import Tensor
from torch._C import _functorch
from torch.autograd import forward_ad

from bijecta.functional.kernels.library import library


def can_run_natively(x: Tensor, *others: object) -> bool:
    """Decide whether raw pointers to these tensors may be handed to native code.

    Not under anything that traces, transforms or intercepts operations (compile, export, vmap, forward-mode
    derivatives, fake tensors, autocast): there the plain formula is what the tracer should see.

    Args:
        x: the elements.
        others: what else the kernel reads; what is no tensor is always fine.

    Returns:
        Whether the kernel is used.

    Example:
        >>> can_run_natively(torch.zeros(2, device="meta"))
        False
    """
    if torch.compiler.is_compiling() or library() is None:
        return False
    if x.dtype not in (torch.float32, torch.float64) or _is_intercepted():
        return False
    return all(_is_plain(tensor) for tensor in (x, *others) if isinstance(tensor, Tensor))


def _is_plain(tensor: Tensor) -> bool:
    return (
        type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu" and tensor.layout == torch.strided
    )


def _is_intercepted() -> bool:
    return (
        _functorch.peek_interpreter_stack() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or torch.is_autocast_enabled("cpu")
    )
