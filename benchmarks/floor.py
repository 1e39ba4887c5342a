"""The least time that a step can take on this machine.

That is the time of its matrix products at the fastest rate at hand, and of what splines and Adam have to read, write
and exponentiate.

    python benchmarks/floor.py --rows nsf20,maf43

Nothing else is counted: no activations, no calls, no Python. Products are measured one call at a time at their exact
shapes. Where these are tiny the call itself dominates, and code that fuses a whole flow can be faster than this floor.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from machine import print_table
from speed_rows import BINS, ROWS, Row

Product = tuple[int, int, int]  # (m, k) @ (k, n) as (m, k, n)
FLOAT = 4  # bytes
ADAM_BYTES = 28  # per parameter: read weight, gradient and two moments, write weight and moments
SEEN = 0.5  # share of the weights of a masked net that are not zero, about


def conditioner(row: Row) -> list[tuple[int, int]]:
    """List inputs and outputs of the linear maps of one conditioner."""
    inputs, transformed = _split(row)
    return list(pairwise([inputs, *row.hidden, transformed * row.numbers]))


def parameters(row: Row) -> int:
    """Count the weights and biases of all conditioners."""
    return row.layers * sum((inputs + 1) * outputs for inputs, outputs in conditioner(row))


def products(row: Row, work: str, size: int) -> Counter[Product]:
    """Count the matrix products of a call: forward, and in training for the gradients of inputs and weights."""
    found: Counter[Product] = Counter()
    for layer in range(row.layers):
        for number, (inputs, outputs) in enumerate(conditioner(row)):
            found[size, inputs, outputs] += 1
            if work == "train":
                found[outputs, size, inputs] += 1
                # Nobody asks for the gradient of the data.
                found[size, outputs, inputs] += 0 if layer == number == 0 else 1
    return +found


def floor(row: Row, work: str, size: int) -> dict[str, float]:
    """Return the floor of a call in milliseconds and its parts; masked nets have one for the weights they use too."""
    gemm = sum(count * _product_seconds(*shape) for shape, count in products(row, work, size).items())
    maps = row.layers * _map_seconds(row, work, size)
    adam = ADAM_BYTES * parameters(row) / _bandwidth(FLOAT * parameters(row)) if work == "train" else 0.0
    parts = {"products": gemm, "maps": maps, "adam": adam, "floor": gemm + maps + adam}
    if row.kind == "autoregressive":
        parts["floor_masked"] = SEEN * gemm + maps + adam
    return {name: 1000 * seconds for name, seconds in parts.items()}


def _split(row: Row) -> tuple[int, int]:
    """How many features a conditioner reads, and how many are transformed."""
    if row.kind == "autoregressive":
        return row.features, row.features
    return row.features // 2, row.features - row.features // 2


def _map_seconds(row: Row, work: str, size: int) -> float:
    """Time the univariate maps of one layer need to read and write, or to exponentiate, whatever takes longer."""
    elements, numbers = size * _split(row)[1], row.numbers
    training = work == "train"
    moved = FLOAT * elements * (3 * numbers + 6 if training else numbers + 3)
    once = 2 * BINS + 2 if row.univariate == "spline" else 1
    exponentials = elements * (2 * once + 3 if training else once + 1)
    return max(moved / _bandwidth(FLOAT * elements * numbers), exponentials / _exponential_rate())


@cache
def _product_seconds(m: int, k: int, n: int) -> float:
    """Time (m, k) @ (k, n) in the layout and library that is fastest for it."""
    a, b, out = torch.randn(m, k), torch.randn(k, n), torch.empty(m, n)
    a_turned, b_turned = a.T.contiguous(), b.T.contiguous()
    candidates: list[Callable[[], Tensor]] = [
        lambda: torch.mm(a, b, out=out),
        lambda: torch.mm(a_turned.T, b, out=out),
        lambda: functional.linear(a, b_turned),
    ]
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    if onednn is not None and torch.backends.mkldnn.is_available():
        candidates.append(lambda: onednn(a, b_turned, None, "none", [], ""))
    return min(_best_seconds(candidate) for candidate in candidates)


@cache
def _bandwidth(size: int) -> float:
    """Bytes per second, read and written, of copies between two blocks that are so large together."""
    source = torch.ones(max(1024, size // (2 * FLOAT)))
    target = torch.empty_like(source)
    return 2 * FLOAT * len(source) / _best_seconds(lambda: target.copy_(source))


@cache
def _exponential_rate() -> float:
    """Exponentials per second of all threads, on numbers that stay in the cache."""
    x = torch.linspace(-1, 1, 2**16 * torch.get_num_threads())
    out = torch.empty_like(x)
    return len(x) / _best_seconds(lambda: torch.exp(x, out=out))


def _best_seconds(call: Callable[[], object], seconds: float = 0.05) -> float:
    """Take the shortest time of many calls."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default=",".join(name for name, row in ROWS.items() if row.has_floor))
    for name in parser.parse_args().rows.split(","):
        print_table(
            [
                {"row": name, "work": work, **floor(ROWS[name], work, size)}
                for work, size in (("train", ROWS[name].batch),)
            ]
        )
