"""What fewer bits in the conditioners cost: log_prob of a fitted flow in bfloat16 and int8 against float32.

    python benchmarks/quantised.py [--time] [--epochs 30]

The flow is the default `nsf`, on two moons and on 20 columns (ten pairs of moons, mixed by a rotation). All variants
evaluate the same rows. "bfloat16 weights" rounds the weights of the conditioners, "bfloat16 autocast" their products
too; "int8" is what onnxruntime's dynamic quantisation makes of the ONNX file, of all products or of those of the
conditioners only. Times depend on what else the machine does: they are measured on request only.
"""

import argparse
import copy
import logging
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

import bijecta
from bijecta.bijections import Coupling
from machine import keep, print_table

ROWS = 10_000


def moons(seed, pairs):
    rows = np.concatenate([bijecta.toy("moons").sample(2 * ROWS, seed + pair) for pair in range(pairs)], 1)
    if pairs == 1:
        return rows
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(2 * pairs, 2 * pairs)))
    return rows @ rotation


def fitted(pairs, epochs):
    torch.manual_seed(0)
    flow = bijecta.nsf(2 * pairs)
    bijecta.fit(flow, moons(0, pairs), config=bijecta.FitConfig(epochs=epochs, seed=0))
    return flow.float().eval()


def couplings(flow):
    return [layer for layer in flow.modules() if isinstance(layer, Coupling)]


def rounded(flow):
    """Round the weights of the conditioners to bfloat16; everything else stays."""
    flow = copy.deepcopy(flow)
    for layer in couplings(flow):
        for parameter in layer.conditioner.parameters():
            parameter.data = parameter.data.bfloat16().float()
    return flow


class Autocast(torch.nn.Module):
    """Let a conditioner multiply in bfloat16. As a module of its own, it is never part of a fused kernel."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, context=None):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x, context).float()


def autocast(flow):
    flow = rounded(flow)
    for layer in couplings(flow):
        layer.conditioner = Autocast(layer.conditioner)
    return flow


def int8(source, target, features, *, everything):
    """Quantise the weights of a file, leaving the D x D products of linear layers alone if wished."""
    model = onnx.load(source)
    shapes = {weight.name: list(weight.dims) for weight in model.graph.initializer}
    linear = [
        node.name for node in model.graph.node if any(shapes.get(name) == [features, features] for name in node.input)
    ]
    # The quantiser splits a product with a bias in two, and renames it, before it looks at this list.
    kept = [] if everything else [name + suffix for name in linear for suffix in ("", "_MatMul")]
    quantize_dynamic(source, target, weight_type=QuantType.QInt8, nodes_to_exclude=kept)


def evaluated(run, x):
    start = time.perf_counter()
    values = run(x)
    return np.asarray(values, dtype=np.float64), time.perf_counter() - start


def onnx_run(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x.numpy()})[0]


def torch_run(flow):
    def run(x):
        with torch.no_grad():
            return flow.log_prob(x).numpy()

    return run


def variants(flow, folder):
    """Yield (name, function of x, bytes on disk or None)."""
    features = flow.event_shape[0]
    plain, some, every = (folder / f"{name}.onnx" for name in ("plain", "some", "every"))
    bijecta.export(flow, plain)
    int8(plain, some, features, everything=False)
    int8(plain, every, features, everything=True)
    yield "torch float32", torch_run(flow), None
    yield "torch bfloat16 weights", torch_run(rounded(flow)), None
    yield "torch bfloat16 autocast", torch_run(autocast(flow)), None
    yield "onnx float32", onnx_run(plain), plain.stat().st_size
    yield "onnx int8 conditioners", onnx_run(some), some.stat().st_size
    yield "onnx int8 everything", onnx_run(every), every.stat().st_size


def measured(data, pairs, epochs, *, timed):
    flow = fitted(pairs, epochs)
    x = torch.as_tensor(moons(100, pairs)[:ROWS], dtype=torch.float32)
    exact, _ = evaluated(torch_run(copy.deepcopy(flow).double()), x.double())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, run, size in variants(flow, Path(folder)):
            values, seconds = evaluated(run, x)
            change = values - exact
            row = {
                "data": data,
                "variant": name,
                "mean log_prob": float(values.mean()),
                "mean change": float(change.mean()),
                "99.9 % |change|": float(np.quantile(np.abs(change), 0.999)),
                "largest |change|": float(np.abs(change).max()),
                "bytes": size if size is not None else "",
            }
            rows.append(row | ({"seconds": seconds} if timed else {}))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--time", action="store_true", help="add seconds per 10,000 rows; for a quiet machine")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the quantiser advises a preparation that changes nothing here
    torch.set_num_threads(1)
    rows = measured("moons", 1, options.epochs, timed=options.time)
    rows += measured("20 columns", 10, options.epochs, timed=options.time)
    print_table(rows)
    keep("quantised", rows)


if __name__ == "__main__":
    main()
