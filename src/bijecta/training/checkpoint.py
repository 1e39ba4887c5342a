"""Checkpoints: everything that a run needs to go on as if it had never stopped."""

import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from bijecta.data.files import write_atomically
from bijecta.errors import FileFormatError, InputError

FORMAT = "bijecta-checkpoint-2"


def write_checkpoint(path: str | os.PathLike[str], tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Write tensors and a JSON record into one file, completely or not at all."""
    # Copies: the weights of a run are views of one piece of memory, which safetensors refuses.
    data = save({name: t.detach().clone().contiguous() for name, t in tensors.items()}, {FORMAT: json.dumps(record)})
    write_atomically(path, lambda file: file.write(data))


def read_checkpoint(path: str | os.PathLike[str], device: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Raises:
        FileFormatError: the file is truncated or not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt", device=device) as file:
            record = (file.metadata() or {}).get(FORMAT)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise FileFormatError(
            f"{Path(path).name} is not a complete checkpoint ({error}). Delete it to start the run again."
        ) from error
    if record is None:
        raise FileFormatError(f"{Path(path).name} is not a checkpoint of bijecta. Give the file of an unfinished run.")
    return tensors, json.loads(record)


def same_run(record: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise an InputError unless a checkpoint belongs to the run that is to be continued."""
    for key, value in expected.items():
        if record.get(key) != value:
            raise InputError(
                f"The checkpoint belongs to another run: its {key} differ(s), {_short(record.get(key))} there and "
                f"{_short(value)} here. Resume with the same data and settings, or start with a new checkpoint file."
            )


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return the state of an optimiser as named tensors."""
    state = optimiser.state_dict()["state"]
    return {f"optimiser.{number}.{key}": t for number, entry in state.items() for key, t in entry.items()}


def restore_optimiser(optimiser: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimiser."):
            _, number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
