"""What the tests of the kernels share: they are skipped where no native library was built."""

import pytest

from bijecta.functional.kernels import library as module
from bijecta.functional.kernels.library import library


@pytest.fixture
def native():
    found = library()
    if found is None:
        pytest.skip("no native library here")
    return found


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def each_instruction_set(request, monkeypatch, native):
    if request.param not in module.usable_instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    opened = module.open_library(module.FOLDER / f"{request.param}.so")
    monkeypatch.setattr(module, "_load", lambda: opened)
