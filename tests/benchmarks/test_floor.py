"""The floor counts what a flow really multiplies."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import floor
from peers_torch import build_bijecta, build_zuko
from speed_rows import ROWS

WITH_FLOOR = [name for name, row in ROWS.items() if row.has_floor]


@pytest.mark.parametrize("name", WITH_FLOOR)
def test_the_parameters_are_those_of_the_linear_layers(name):
    linear = [m for m in build_bijecta(ROWS[name]).module.modules() if isinstance(m, torch.nn.Linear)]
    assert floor.parameters(ROWS[name]) == sum(p.numel() for m in linear for p in m.parameters())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("work", ["train", "log_prob"])
@pytest.mark.parametrize("name", ["realnvp20", "nsf20"])
def test_the_products_are_those_that_torch_counts(name, work):
    """zuko runs plain layers only: torch sees all of its products."""
    row, size = ROWS[name], 16
    density = build_zuko(row)
    with FlopCounterMode(display=False) as counter:
        loss = density.log_prob(torch.randn(size, *row.event)).mean()
        if work == "train":
            loss.backward()
    counted = sum(2 * m * k * n * times for (m, k, n), times in floor.products(row, work, size).items())
    assert counted == counter.get_total_flops()


def test_the_parts_add_up(monkeypatch):
    """With unit rates: one second for every multiplication, byte or exponential."""
    monkeypatch.setattr(floor, "_product_seconds", lambda m, k, n: m * k * n)
    monkeypatch.setattr(floor, "_bandwidth", lambda *_: 1.0)
    monkeypatch.setattr(floor, "_exponential_rate", lambda: 1.0)
    found = floor.floor(ROWS["nsf2"], "train", 10)
    weights = 64 + 64 * 64 + 64 * 23
    assert found["products"] == 1000 * 10 * (4 * 3 * weights - 64)
    assert found["maps"] == 1000 * 4 * (4 * 10 * (3 * 23 + 6))
    assert found["adam"] == 1000 * 28 * 4 * (weights + 64 + 64 + 23)
    assert found["floor"] == found["products"] + found["maps"] + found["adam"]
    masked = floor.floor(ROWS["maf43"], "log_prob", 10)
    assert masked["floor_masked"] == 0.5 * masked["products"] + masked["maps"]
