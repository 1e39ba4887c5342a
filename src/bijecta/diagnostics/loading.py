"""Measure whether a flow survives saving and loading: its state_dict has to hold all that it is."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from bijecta.diagnostics.measurement import Measurement
from bijecta.diagnostics.subject import Subject
from bijecta.distributions import Distribution
from bijecta.flows import build, inner_flow

NAME = "saved and loaded"


def save_and_load(subject: Subject) -> Measurement:
    """Rebuild the flow under another seed, load its state strictly, and compare log_prob bit for bit.

    With a recorded recipe the flow is rebuilt from it, so that everything drawn at construction and not saved, such
    as a permutation in a plain list, comes out different. Without one a deep copy takes its place, with scrambled
    weights and buffers; that cannot see lost Python values, so plain tensors among the attributes count as lost.
    """
    lost = unregistered_tensors(subject.whole)
    recipe: dict[str, Any] | None = getattr(subject.whole, "recipe", None)
    rebuilt = _rebuild(subject, recipe)
    rebuilt.load_state_dict(subject.whole.state_dict(), strict=True)
    inner = inner_flow(rebuilt.eval()) or rebuilt
    with torch.no_grad():
        before = subject.flow.log_prob(subject.x, subject.context)
        after = inner.log_prob(subject.x, subject.context)
    differing = int((before != after).logical_and(~(before.isnan() & after.isnan())).sum())
    note = "no recipe: a copy, lost Python values are not seen" if recipe is None else "rebuilt from its recipe"
    note += f"; not in the state: {', '.join(lost)}" if lost else ""
    values = {"rows that differ": float(differing), "tensors outside the state": float(len(lost))}
    return Measurement(NAME, values, 0.0, differing == 0 and not lost, note)


@torch.no_grad()
def _rebuild(subject: Subject, recipe: dict[str, Any] | None) -> Distribution:
    """Make the flow anew, different in all that its state does not decide."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(subject.seed + 12_345)
        if recipe is not None:
            return build(recipe["name"], recipe["arguments"]).to(subject.x)
        copy = deepcopy(subject.whole)
        for tensor in copy.state_dict().values():
            tensor.copy_(torch.rand_like(tensor) if tensor.is_floating_point() else torch.zeros_like(tensor))
    return copy


def unregistered_tensors(module: nn.Module) -> list[str]:
    """Name the tensors that are plain attributes, and so neither saved nor moved to another device or dtype."""
    return [
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, Tensor) and value.numel()
    ]
