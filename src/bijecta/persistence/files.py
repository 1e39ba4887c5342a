"""Models as files: one safetensors file, its header JSON, nothing that could run code."""

import json
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from bijecta.data.files import write_atomically
from bijecta.distributions import Distribution
from bijecta.errors import BijectaError, FileFormatError, InputError
from bijecta.flows import build

FORMAT_VERSION = 1
HEADER = "bijecta"
# arguments that older files lack, with what was meant then
ADDED = {"table": {"integers": "dequantised"}, "made": {"conditionals": "normal"}}

Built = TypeVar("Built", bound=Distribution)


def save(flow: Distribution, path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a flow into one file, completely or not at all.

    The file holds every parameter and buffer, and a JSON header with the format version, the recipe with its
    arguments, and the metadata. It is a safetensors file: reading it can't run code.

    Args:
        flow: what to save. A flow that a recipe built can be loaded by `load` alone; one built by hand needs the
            code that built it, and its weights.
        path: the file, by convention ``*.safetensors``; an existing one is replaced.
        metadata: JSON-able facts to keep with the flow, such as schema, history and metrics.

    Raises:
        InputError: the metadata is not JSON-able, or the folder does not exist.

    Example:
        >>> import tempfile, os, torch
        >>> from bijecta.flows import realnvp
        >>> from bijecta.persistence import load, save
        >>> flow = realnvp(2)
        >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
        >>> save(flow, path)
        >>> bool((load(path).log_prob(torch.ones(2)) == flow.log_prob(torch.ones(2))).all())
        True
    """
    header = {"format": FORMAT_VERSION, "recipe": getattr(flow, "recipe", None), "metadata": dict(metadata or {})}
    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"save expects metadata of JSON types with finite numbers: {error}.") from error
    # A tensor may share memory with another one (safetensors refuses that) or be a view: write plain copies.
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in flow.state_dict().items()}
    data = to_bytes(tensors, {HEADER: text})
    write_atomically(path, lambda file: file.write(data))


def load(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Distribution:
    """Read a flow that `save` wrote.

    Args:
        path: the file.
        device: where the flow shall be.

    Returns:
        The flow in eval mode, with the dtype it was saved with; ``log_prob`` is the same bit for bit.

    Raises:
        InputError: the file does not exist, or the flow was built by hand (use `load_into`).
        FileFormatError: the file is truncated, not a model of bijecta, or inconsistent.
    """
    header, tensors = _read(path)
    record = header["recipe"]
    if record is None:
        raise InputError(
            f"{Path(path).name} holds a flow that was built by hand, not by a recipe. "
            "Build it again and use load_into(flow, path)."
        )
    return _fill(_rebuild(path, record, tensors), path, tensors).to(device)


def load_into(flow: Built, path: str | os.PathLike[str]) -> Built:
    """Read the weights of a file into a flow of the same structure.

    Args:
        flow: a flow built in the same way as the one that was saved.
        path: the file.

    Returns:
        The flow, in eval mode.

    Raises:
        InputError: the file does not exist.
        FileFormatError: the file is truncated, not a model of bijecta, or of another structure.
    """
    device = next(flow.parameters()).device
    return _fill(flow, path, _read(path)[1]).to(device)


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what is written in a model file beside the weights.

    Args:
        path: the file.

    Returns:
        A dictionary with ``format``, ``recipe`` and ``metadata``, and ``n_values``, the number of stored values.

    Raises:
        InputError: the file does not exist.
        FileFormatError: the file is truncated or not a model of bijecta.
    """
    header, tensors = _read(path)
    return {**header, "n_values": sum(tensor.numel() for tensor in tensors.values())}


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    name = Path(path).name
    if not Path(path).is_file():
        raise InputError(f"There is no model file {path}. A run folder of `bijecta fit` holds it as model.safetensors.")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(HEADER)
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise FileFormatError(f"{name} is not a complete safetensors file ({error}). Copy or save it again.") from error
    if text is None:
        raise FileFormatError(f"{name} is a safetensors file, but not a model of bijecta: it has no bijecta header.")
    return _check_header(name, text), tensors


def _check_header(name: str, text: str) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{name} has a header that is not JSON ({error}).") from error
    if not isinstance(header, dict) or not isinstance(header.get("format"), int) or "recipe" not in header:
        raise FileFormatError(f"{name} has a header without format and recipe.")
    if header["format"] > FORMAT_VERSION:
        raise FileFormatError(
            f"{name} has format {header['format']}, this bijecta reads up to {FORMAT_VERSION}: pip install -U bijecta"
        )
    return {"metadata": {}, **header}


def _rebuild(path: str | os.PathLike[str], record: Any, tensors: dict[str, Tensor]) -> Distribution:
    """Build the flow of a header, which may come from anywhere: nothing larger than the file itself is made."""
    name, stored = Path(path).name, sum(tensor.numel() for tensor in tensors.values())
    if not isinstance(record, dict) or not isinstance(record.get("arguments"), dict):
        raise FileFormatError(f"{name} has a recipe without name and arguments.")
    if _largest(record["arguments"]) > max(stored, 64):
        raise FileFormatError(f"{name} asks for a flow larger than the {stored} values that it holds.")
    recipe = str(record.get("name"))
    try:
        # The weights come from the file: building must not disturb the caller's random numbers.
        with torch.random.fork_rng(devices=[]):
            return build(recipe, {**ADDED.get(recipe, {}), **record["arguments"]})
    except (BijectaError, TypeError, ValueError, AttributeError, KeyError, RuntimeError, ArithmeticError) as error:
        raise FileFormatError(f"{name} has a recipe that can't be built: {error}") from error


def _largest(value: Any) -> float:
    """Bound the size of what arguments ask for: every integer is a count, neighbours in a list make a matrix."""
    if isinstance(value, dict):
        return max(map(_largest, value.values()), default=0)
    if isinstance(value, list):
        products = (a * b for a, b in pairwise(value) if isinstance(a, int) and isinstance(b, int))
        return max([*map(_largest, value), *products, len(value)], default=0)
    return abs(value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _fill(flow: Built, path: str | os.PathLike[str], tensors: dict[str, Tensor]) -> Built:
    expected = flow.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected or tensors[name].shape != expected[name].shape:
            found = tuple(tensors[name].shape) if name in tensors else "missing"
            wanted = tuple(expected[name].shape) if name in expected else "not in this flow"
            raise FileFormatError(
                f"{Path(path).name} does not fit the flow: {name} is {found} in the file, {wanted} expected."
            )
        if tensors[name].is_floating_point() != expected[name].is_floating_point():
            raise FileFormatError(f"{Path(path).name} does not fit the flow: {name} holds {tensors[name].dtype}.")
    floating = next((t.dtype for t in tensors.values() if t.is_floating_point()), torch.float32)
    if next(flow.parameters()).dtype != floating:
        flow = flow.to(floating)
    flow.load_state_dict(tensors)
    return _proven(flow.eval(), path)


def _proven(flow: Built, path: str | os.PathLike[str]) -> Built:
    """Draw one sample: a foreign file may hold indices that point nowhere."""
    like = next(flow.parameters())
    context = torch.zeros(flow.context).to(like) if flow.context else None
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            flow.sample((), context)
    except (IndexError, RuntimeError) as error:
        raise FileFormatError(f"{Path(path).name} holds values that make no flow: {error}") from error
    return flow
