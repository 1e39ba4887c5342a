"""Compile the optional native kernels when hatchling builds a wheel or an editable install.

Without a working C++ compiler the package is pure Python and computes the same numbers from plain tensor operations.
`python hatch_build.py` compiles in place, `python hatch_build.py FOLDER FLAG...` elsewhere and with more flags.
"""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

# A folder of this name is ignored by git and left out of wheels, except for what the hook adds.
FOLDER = Path("bijecta/functional/kernels/build")
# No -ffast-math: NaN and infinity have their meaning. Contraction to fused multiply-add is wanted.
FLAGS = "-O3 -std=c++17 -fPIC -shared -fvisibility=hidden -ffp-contract=fast -fno-math-errno -fno-trapping-math"
INSTRUCTION_SETS = {"baseline": ""}
if platform.machine().lower() in {"x86_64", "amd64"}:
    INSTRUCTION_SETS |= {
        "avx2": "-mavx2 -mfma",
        "avx512": "-mavx2 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl",
    }


class NativeKernels(BuildHookInterface):
    """Add one shared library per instruction set to the wheel, or nothing."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root, editable = Path(self.root), version == "editable"
        self.workshop = tempfile.TemporaryDirectory(prefix="bijecta-")
        built = build(root, root / "src" / FOLDER if editable else Path(self.workshop.name, "build"))
        if not built:
            self.app.display_warning("No native kernels: no C++ compiler, or it failed. Plain PyTorch will be used.")
            return
        # Any Python, this platform: the libraries do not know Python. No "manylinux", for nobody has audited them.
        platforms = [tag.platform for tag in sys_tags() if not tag.platform.startswith(("manylinux", "musllinux"))]
        build_data["tag"] = f"py3-none-{platforms[0]}"
        build_data["pure_python"] = False
        if not editable:
            build_data["force_include"].update({str(file): str(FOLDER / file.name) for file in built})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        self.workshop.cleanup()


def build(root: Path, target: Path, more_flags: Sequence[str] = ()) -> list[Path]:
    """Compile every instruction set at once into a folder; return the libraries that could be built."""
    shutil.rmtree(target, ignore_errors=True)
    compiler = find_compiler()
    if compiler is None:
        return []
    sources = [str(path) for path in sorted((root / "csrc").glob("*.cpp"))]
    with tempfile.TemporaryDirectory() as workshop:
        running = {}
        for name, flags in INSTRUCTION_SETS.items():
            file = Path(workshop, f"{name}.so")
            command = [*compiler, *FLAGS.split(), *flags.split(), *more_flags, *sources, "-o", str(file)]
            running[file] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603
        built = [file for file, process in running.items() if process.wait() == 0]
        if "baseline.so" not in [file.name for file in built]:
            return []
        # Only complete libraries arrive, for someone may be about to load one.
        target.mkdir(parents=True)
        return [Path(shutil.move(file, target / file.name)) for file in built]


def find_compiler() -> list[str] | None:
    """Take CXX from the environment, or the first usual name on the path."""
    if sys.platform == "win32":
        return None
    candidates = [shlex.split(os.environ["CXX"])] if os.environ.get("CXX") else [["c++"], ["g++"], ["clang++"]]
    return next((command for command in candidates if shutil.which(command[0])), None)


if __name__ == "__main__":
    here = Path(__file__).parent
    made = build(here, Path(*sys.argv[1:2]) if sys.argv[1:] else here / "src" / FOLDER, sys.argv[2:])
    print("\n".join(str(file) for file in made) or "nothing was built")  # noqa: T201
    sys.exit(not made)
