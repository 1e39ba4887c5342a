"""The package can be built with and without a compiler."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DRIVER = Path(__file__).with_name("driver.cpp")
SANITIZED = (
    "-std=c++17 -O1 -g -ffp-contract=fast -fno-math-errno -fsanitize=address,undefined -fno-sanitize-recover=all"
)


def build_wheel(folder: Path, **environment: str) -> tuple[str, list[str]]:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel.name, zipfile.ZipFile(wheel).namelist()


@pytest.mark.parametrize("compiler", ["/bin/false", "no-such-compiler -flag"])
def test_without_a_compiler_the_wheel_is_pure(tmp_path, compiler):
    pytest.importorskip("hatchling")
    name, files = build_wheel(tmp_path, CXX=compiler)
    assert name.endswith("-py3-none-any.whl")
    assert not [file for file in files if file.endswith((".so", ".cpp", ".hpp"))]


@pytest.mark.slow
def test_with_a_compiler_the_wheel_has_the_kernels(tmp_path):
    pytest.importorskip("hatchling")
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    name, files = build_wheel(tmp_path, CXX="c++")
    assert "-py3-none-" in name
    assert "any" not in name
    assert "bijecta/functional/kernels/build/baseline.so" in files


@pytest.mark.slow
@pytest.mark.parametrize("flags", ["", "-mavx2 -mfma"], ids=["baseline", "avx2"])
def test_sanitizers_find_nothing(tmp_path, flags):
    """Address and undefined-behaviour sanitizers over random and edge inputs; exp, log and tanh against libm too."""
    if shutil.which("g++") is None:
        pytest.skip("no g++")
    program = tmp_path / "driver"
    command = ["g++", *SANITIZED.split(), *flags.split(), f"-I{ROOT / 'csrc'}", str(DRIVER), "-o", str(program), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
