"""The shared library of native kernels that fits this processor, if the package was built with one."""

import ctypes
import os
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

INTERFACE = 8
FOLDER = Path(__file__).parent / "build"
SUFFIX = {torch.float32: "_float", torch.float64: "_double"}
SPLINES = ("rational_quadratic", "linear_spline", "quadratic_spline", "cubic_spline")
# How many pointers a function takes, that for float and that for double; and what it returns, if anything.
POINTERS = dict.fromkeys((*SPLINES, "mixture"), 5)
POINTERS |= {f"{name}_gradient": 7 for name in (*SPLINES, "mixture")}
POINTERS |= {"tangents": 5, "tangents_gradient": 6, "convolution": 5, "convolution_gradient": 8, "adam": 6}
POINTERS |= {"chain_forward": 6, "chain_inverse": 5, "chain_gradient": 6, "chain_normal_loss": 4}
RESULTS: dict[str, type] = {"mixture": ctypes.c_int64, "chain_normal_loss": ctypes.c_double, "adam": ctypes.c_double}


def status() -> str:
    """Say whether native kernels are used, and if not, why.

    Returns:
        One line, such as "native AVX-512, built with g++ 12.2.0" or "absent: ...".

    Example:
        >>> status().split(":")[0] in {"off", "absent"} or status().startswith("native")
        True
    """
    return _load()[1]


def library() -> ctypes.CDLL | None:
    """Load the native library once.

    Returns:
        The library, or None where it is absent, unusable or switched off.

    Example:
        >>> (library() is None) == (not status().startswith("native"))
        True
    """
    return _load()[0]


def call(name: str, *arguments: object) -> Any:
    """Call a native function, where `can_run_natively` has said yes; tensors are handed over by their addresses.

    Args:
        name: of the function, with one of SUFFIX.
        arguments: pointers, tensors, or None.

    Returns:
        What the function returns.

    Example:
        >>> if library():
        ...     assert call("bijecta_interface") == INTERFACE
    """
    native = library()
    if native is None:  # pragma: no cover - `can_run_natively` has looked already
        raise RuntimeError("The native library is gone.")
    return getattr(native, name)(*[each.data_ptr() if isinstance(each, Tensor) else each for each in arguments])


def in_memory(tensor: Tensor) -> Tensor:
    """Lay the numbers out one after the other, with their signs written out.

    Args:
        tensor: on the CPU.

    Returns:
        The tensor itself, or a copy of the same shape.

    Example:
        >>> in_memory(torch.zeros(2, 3).T).is_contiguous()
        True
    """
    return tensor.resolve_neg().contiguous()


@cache  # A process can hold one copy of a shared library anyway; the choice is made when it is first needed.
def _load() -> tuple[ctypes.CDLL | None, str]:
    wanted = os.environ.get("BIJECTA_NATIVE")
    if wanted == "0":
        return None, "off: BIJECTA_NATIVE=0 is set"
    # Another folder holds libraries that were built with sanitizers.
    folder = Path(wanted) if wanted else FOLDER
    files = [file for name in usable_instruction_sets() if (file := folder / f"{name}.so").is_file()]
    if not files:
        return None, "absent: no working C++ compiler when bijecta was installed"
    return open_library(files[0])


def open_library(file: Path) -> tuple[ctypes.CDLL | None, str]:
    """Open one shared library of kernels and declare its functions.

    Args:
        file: where it is.

    Returns:
        The library, or None, and one line for `status`.

    Example:
        >>> open_library(Path("nowhere.so"))[0] is None
        True
    """
    try:
        native = ctypes.CDLL(str(file))
    except OSError as error:
        return None, f"absent: {error}"
    if native.bijecta_interface() != INTERFACE:
        return None, "absent: built from other sources than this version; reinstall bijecta"
    native.bijecta_build.restype, native.chain_keeps.restype = ctypes.c_char_p, ctypes.c_int64
    for dtype in ("float", "double"):
        for name, pointers in POINTERS.items():
            function = getattr(native, f"{name}_{dtype}")
            function.argtypes, function.restype = [ctypes.c_void_p] * pointers, RESULTS.get(name, ctypes.c_int)
    return native, f"native {native.bijecta_build().decode()}"


def usable_instruction_sets() -> list[str]:
    """List the instruction sets of this processor, best first; torch has asked it already.

    Returns:
        Names of libraries.

    Example:
        >>> usable_instruction_sets()[-1]
        'baseline'
    """
    capability = torch.backends.cpu.get_cpu_capability()
    better = {"AVX512": ["avx512", "avx2"], "AVX2": ["avx2"]}
    return [*better.get(capability, []), "baseline"]
