"""The shared library of native kernels that fits this processor, if the package was built with one."""

import ctypes
import os
from functools import cache
from pathlib import Path

import torch

INTERFACE = 7
FOLDER = Path(__file__).parent / "build"


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
        for name in ("rational_quadratic", "linear_spline", "quadratic_spline", "cubic_spline", "mixture"):
            getattr(native, f"{name}_{dtype}").argtypes = [ctypes.c_void_p] * 5
            getattr(native, f"{name}_gradient_{dtype}").argtypes = [ctypes.c_void_p] * 7
        getattr(native, f"mixture_{dtype}").restype = ctypes.c_int64
        for name, pointers in (("forward", 6), ("inverse", 5), ("gradient", 6)):
            getattr(native, f"chain_{name}_{dtype}").argtypes = [ctypes.c_void_p] * pointers
        getattr(native, f"convolution_{dtype}").argtypes = [ctypes.c_void_p] * 4
        getattr(native, f"convolution_gradient_{dtype}").argtypes = [ctypes.c_void_p] * 6
        loss = getattr(native, f"chain_normal_loss_{dtype}")
        loss.argtypes, loss.restype = [ctypes.c_void_p] * 4, ctypes.c_double
        adam = getattr(native, f"adam_{dtype}")
        adam.argtypes, adam.restype = [ctypes.c_void_p] * 6, ctypes.c_double
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
