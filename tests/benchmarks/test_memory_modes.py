"""The benchmark of memory modes counts what is there, and draws it."""

import torch
from torch import nn

import memory


def test_the_peak_is_the_largest_sum_alive_at_once():
    def work():
        first = torch.ones(1000)
        second = torch.ones(2000)
        del first
        third = torch.ones(500)
        del second, third

    assert memory.peak_bytes(work) == 4 * 3000


def test_saved_is_what_the_backward_pass_needs_and_no_parameters():
    class Square(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def log_prob(self, x):
            y = x * self.weight  # keeps x
            return (y * y).sum(-1)  # keeps y, twice the same memory

    assert memory.saved_bytes(Square(), torch.ones(100, 3)) == 2 * 4 * 300


def test_a_step_starts_from_gradients_that_are_zero():
    flow, x = memory.build("images", 1, quick=True)
    memory.step(flow, x)
    first = [p.grad.clone() for p in flow.parameters()]
    memory.step(flow, x)
    assert all(torch.equal(p.grad, before) for p, before in zip(flow.parameters(), first, strict=True))
    assert any(gradient.any() for gradient in first)


def test_everything_runs_and_is_drawn(monkeypatch, tmp_path):
    rows = []
    monkeypatch.setattr(memory, "print_table", rows.extend)
    memory.main(["--quick", "--time", "--threads", "1"])
    assert len(rows) == len(memory.MODELS) * 2 * len(memory.MODES)
    peaks = {(row["model"], row["mode"], row["layers"]): row["peak"] for row in rows}
    for model in memory.MODELS:
        assert peaks[model, "rebuild", 4] == peaks[model, "rebuild", 2] < peaks[model, "keep", 2]
    assert all(row["gradient error"] < 1e-4 and row["milliseconds"] > 0 for row in rows)
    memory.plot(rows, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
