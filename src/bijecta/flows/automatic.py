"""Which recipe suits a table, and why: the rules behind recipe="auto"."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bijecta.data.schema import KINDS, Schema
from bijecta.errors import InputError
from bijecta.flows.parts import choose

AUTO = "auto"
ENOUGH_ROWS = 1_000
DISCRETE = ("category", "integer")
_STEP_BY_STEP = {"density": True, "sampling": False, "both": False}
_SIZE = "The default size, because smaller networks lost more on some tables than they gained on others."


@dataclass(frozen=True)
class Choice:
    """A recipe with its arguments, and one sentence for each thing that was chosen."""

    recipe: str
    arguments: Mapping[str, Any]
    reasons: tuple[str, ...]


def choose_recipe(
    columns: Schema | Mapping[str, Any] | Sequence[str], rows: int | None, *, context: int = 0, fast: str = "density"
) -> Choice:
    """Choose the recipe of the continuous columns of a table, by rules that were measured.

    Args:
        columns: a `Schema`, what its ``to_json`` gives, or the kinds of the columns.
        rows: number N of rows to train on; None if it is not known, which counts as many.
        context: number C of context features. The rules so far do not depend on it.
        fast: what must not take one step after another for every column: "density", "sampling" or "both".

    Returns:
        The recipe, its arguments where they are not defaults, and the reasons.

    Raises:
        InputError: an unknown kind or direction, no columns, or a negative context.

    References:
        C. Durkan, A. Bekasov, I. Murray, G. Papamakarios (2019), Neural Spline Flows.

    Example:
        >>> from bijecta.flows import choose_recipe
        >>> choice = choose_recipe(["real"] * 9, 4_000)
        >>> choice.recipe
        'nsf_autoregressive'
        >>> choose_recipe(["real"] * 9, 4_000, fast="sampling").recipe
        'nsf'
    """
    kinds = _kinds(columns)
    if context < 0:
        raise InputError(f"choose_recipe expects a number of context features, 0 or more; got {context}.")
    autoregressive = choose("fast", fast, _STEP_BY_STEP)
    continuous = [kind for kind in kinds if kind not in DISCRETE]
    couplings = _why_couplings(continuous, rows, step_by_step=autoregressive)
    reason = couplings or (
        f"Autoregressive layers, because they describe {len(continuous)} columns better, and samples may take one "
        "step per column."
    )
    return Choice("nsf" if couplings else "nsf_autoregressive", {}, (reason, _SIZE))


def _kinds(columns: Schema | Mapping[str, Any] | Sequence[str]) -> list[str]:
    if isinstance(columns, Mapping):
        columns = Schema.from_json(dict(columns))
    kinds = [column.kind for column in columns.columns] if isinstance(columns, Schema) else list(columns)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise InputError(f"choose_recipe expects kinds of columns, each one of {', '.join(KINDS)}; got {kinds!r}.")
    return kinds


def _why_couplings(continuous: Sequence[str], rows: int | None, *, step_by_step: bool) -> str:
    """Return the reason for couplings, or "" where autoregressive layers are better."""
    count = len(continuous)
    if "periodic" in continuous:
        return "Couplings, because only they have a form for periodic columns."
    if count < 3:
        number = ("no column is", "one column is", "two columns are")[count]
        return f"Couplings, because {number} continuous: autoregressive layers gain little or nothing there."
    if not step_by_step:
        return f"Couplings, because autoregressive layers sample {count} columns one after another."
    if rows is not None and rows < ENOUGH_ROWS:
        return f"Couplings, because with {rows:,} rows, fewer than {ENOUGH_ROWS:,}, neither kind is always better."
    return ""
