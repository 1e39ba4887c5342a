"""What all tests share: one thread, a fixed seed, and no trace left in the global state of torch."""

import sys
from pathlib import Path

import hypothesis
import pytest
import torch

# No deadlines: a loaded machine is not a fault. The same examples in every run: a red run can be repeated.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")

# `from contract.table import CASES` works from every test file.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)
    yield
    assert torch.get_default_dtype() == torch.float32, "a test changed the default dtype and did not restore it"
