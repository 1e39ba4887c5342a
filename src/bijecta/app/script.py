"""Write a run as a Python script that gives the same numbers."""

from collections.abc import Sequence
from typing import Any

from bijecta.app.settings import PICTURE, TABLE, RunSettings

PROLOGUE = '''"""{title}, as it was run in the Lab."""

import torch
{imports}

torch.set_num_threads(1)  # sums in another order differ in the last digits
torch.manual_seed({seed})
flow = build({recipe!r}, {arguments})
{rows}
{hook}result = fit(flow, x, config={config})
print(f"{{result.best_loss:.9f}}")  # validation loss of the best epoch, in nats per row
'''

HOOK = '''
# The learning rate was changed while it ran: (step, factor). Settings alone do not give these numbers.
CHANGES = {changes}
steps = 0


def change_rate(optimiser, *_):
    """Multiply the learning rate as it was done by hand."""
    global steps
    factor = next((factor for step, factor in reversed(CHANGES) if step <= steps), 1.0)
    for group in optimiser.param_groups:
        group["lr"] *= factor
    steps += 1


register_optimizer_step_pre_hook(change_rate)
'''

TABLE_ROWS = """# The two columns that were uploaded, in their order, with incomplete rows dropped; put your file here.
columns = read_table("data.csv").columns
x = np.stack([np.asarray(columns[name], dtype=float) for name in ("x", "y")], axis=1)
x = x[np.isfinite(x).all(axis=1)]"""

PICTURE_ROWS = """# The picture: 48 x 48 pixels of 16 shades, row by row from the top, one letter each.
PIXELS = (
{letters}
)
brightness = np.array([int(letter, 16) for letter in PIXELS], dtype=float).reshape(48, 48)
x = image(brightness).sample({rows}, {seed})"""


def script_of(settings: RunSettings, factors: Sequence[tuple[int, float]] = ()) -> str:
    """Write the script that repeats a run.

    Args:
        settings: of the run.
        factors: changes of the learning rate while it ran, as (step, factor).

    Returns:
        A Python program. It prints the validation loss of the best epoch, that of the Lab up to rounding.
    """
    config = {**settings.training, "seed": settings.seed}
    return PROLOGUE.format(
        title=f"{settings.recipe} on {settings.data}",
        imports="\n".join(_imports(settings, bool(factors))),
        seed=settings.seed,
        recipe=settings.recipe,
        arguments={"features": 2, **settings.to_json().get("arguments", {})},
        rows=_rows(settings),
        hook=HOOK.format(changes=[tuple(change) for change in factors]) if factors else "",
        config=f"FitConfig({', '.join(f'{name}={value!r}' for name, value in config.items())})",
    )


def _imports(settings: RunSettings, hooked: bool) -> list[str]:  # noqa: FBT001 (private)
    from_data = {PICTURE: "image", TABLE: "read_table"}.get(settings.data, "toy")
    lines = ["from torch.optim.optimizer import register_optimizer_step_pre_hook"] if hooked else []
    lines += ["", f"from bijecta.data import {from_data}", "from bijecta.flows import build"]
    lines += ["from bijecta.training import FitConfig, fit"]
    return ["import numpy as np", *lines] if settings.data in (PICTURE, TABLE) else lines


def _rows(settings: RunSettings) -> str:
    if settings.data == TABLE:
        return TABLE_ROWS
    if settings.data == PICTURE:
        return PICTURE_ROWS.format(letters=_letters(settings.picture), rows=settings.rows, seed=settings.seed)
    call = [repr(settings.data), *([] if settings.noise is None else [f"noise={settings.noise!r}"])]
    return f"x = toy({', '.join(call)}).sample({settings.rows}, {settings.seed})"


def _letters(picture: str) -> str:
    from bijecta.app.datasets import decode_picture

    pixels: Any = decode_picture(picture)
    return "\n".join(f'    "{"".join(f"{shade:x}" for shade in row)}"' for row in pixels)
