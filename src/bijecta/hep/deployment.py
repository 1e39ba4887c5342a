"""Event flows as ONNX files: latents and conditions in, four-momenta out; four-momenta in, log density out.

Everything outside is in double precision and in GeV; inside, the flow computes in float32 and the kinematics in double.
"""

import copy
import hashlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bijecta import __version__
from bijecta.bijections import Bijection
from bijecta.data import Finding, write_atomically
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.hep.coordinates import EventCoordinates
from bijecta.hep.coordinates_collider import log_energy
from bijecta.hep.decay import describe
from bijecta.hep.event_flow import Coordinates, coordinates_of
from bijecta.hep.events import Events
from bijecta.hep.files_layout import arrays_of, numbered_conditions
from bijecta.hep.rambo_on_diet import RamboMasses
from bijecta.hep.schema import Condition
from bijecta.persistence import Exported, load, read_header
from bijecta.persistence.export_onnx import onnx_bytes, run_onnx
from bijecta.persistence.export_program import batched, quiet
from bijecta.persistence.exporting import TOLERANCE
from bijecta.persistence.tabular import model_path

SAMPLER, DENSITY = "events.onnx", "log_prob.onnx"
FACTS = ("data_sha256", "events", "ranges", "condition_ranges")
_EXAMPLE_ROWS = 8
_EXAMPLE_ENERGY = 1000.0  # GeV, where a model does not say at which energies it was trained
_FARTHEST = 20.0  # on the logit scale: float32 has no latent whose mass is farther from its ends
_NEWTON_STEPS = 6  # the function is nearly straight on the logit scale: exact in double for up to 12 particles

aten = torch.ops.aten


def export_events(
    model: Flow | str | os.PathLike[str], folder: str | os.PathLike[str], *, facts: Mapping[str, Any] | None = None
) -> tuple[Exported, Exported]:
    r"""Write a flow of events as two ONNX files that run without bijecta, in C++ for example.

    ===============  ============================================  ===================================================
    file             inputs                                        output
    ===============  ============================================  ===================================================
    events.onnx      z (n, D) [, condition (n, C)]                 momenta (n, k, 4) in GeV, energy first
    log_prob.onnx    momenta (n, k, 4) [, condition (n, C)]        log_prob (n,) in nats
    ===============  ============================================  ===================================================

    The caller draws z. Conditions are in the units of the events, such as the energy in GeV; one that is a label enters
    as its number among the values of the schema, counted from 0. The log density is that of the flow: per unit of its
    coordinates, GeV and radians. Both files hold the same properties:

    - ``schema`` and ``coordinates`` as JSON, ``ranges`` (JSON): the least and the largest value in training of each;
    - ``latent``: a line "uniform LOW HIGH COLUMN" or "normal MEAN DEVIATION COLUMN" per column of z;
    - ``conditions``: a line "LOW HIGH NAME" per column of the condition: where the model was trained;
    - ``data_sha256``, ``events``: of the training; ``versions``.

    Args:
        model: what `event_flow` returned, fitted; or where it was saved.
        folder: where the two files go; it is made if it is not there.
        facts: what `training_facts` gave (default: what the saved model holds).

    Returns:
        What was written: the sampler, the density.

    Raises:
        InputError: the flow was not built by `event_flow`, or ONNX cannot express it.
        MissingDependencyError: a package of ``bijecta[onnx]`` is not installed.

    Reference:
        Bai, Lu, Zhang et al. (2019), "ONNX: Open Neural Network Exchange".

    Example:
        >>> export_events("no_model", "deployed")  # of a run of `bijecta hep fit`, it writes deployed/events.onnx
        Traceback (most recent call last):
        bijecta.errors.InputError: There is no model file no_model. ...
    """
    flow, facts = _opened(model, facts)
    flow = _traceable(flow)
    coordinates = coordinates_of(flow)
    condition = _example_condition(coordinates, facts.get("condition_ranges", {}))
    latent = flow.base.sample((_EXAMPLE_ROWS,), generator=torch.Generator().manual_seed(0)).double()
    sampler, density = EventSampler(flow, coordinates), EventDensity(flow, coordinates)
    properties = _properties(coordinates, facts)
    findings = _findings(flow, facts)
    momenta = sampler(latent, *condition)
    files = [
        _translated(sampler, (latent, *condition), ("z", "momenta"), properties),
        _translated(density, (momenta, *condition), ("momenta", "log_prob"), properties),
    ]
    Path(folder).mkdir(parents=True, exist_ok=True)
    return (
        _written(files[0], Path(folder) / SAMPLER, properties, findings),
        _written(files[1], Path(folder) / DENSITY, properties, findings),
    )


def training_facts(coordinates: Coordinates, events: Events) -> dict[str, Any]:
    """Measure what a user of a fitted flow wants to know of its data: which they were, and where they lay.

    Args:
        coordinates: those of the flow.
        events: what it was trained on.

    Returns:
        "events" (their number), "data_sha256", and the least and largest value of each coordinate ("ranges", in GeV and
        radians) and of each condition ("condition_ranges"), as JSON takes them.

    Raises:
        InputError: there are no events.

    Reference:
        Mitchell et al. (2019), "Model cards for model reporting".

    Example:
        >>> from bijecta.hep import MuonPairs, measure_coordinates
        >>> events = MuonPairs().sample(100, energy=91.2, seed=0)
        >>> training_facts(measure_coordinates(events), events)["condition_ranges"]
        {'energy': [91.2, 91.2]}
    """
    if not len(events):
        raise InputError("There are no events to measure. Give those that the flow was trained on.")
    digest = hashlib.sha256()
    for name, array in sorted(arrays_of(events).items()):
        digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    columns = dict(zip(coordinates.columns, coordinates.rows(events)[0].numpy().T, strict=True))
    return {
        "events": len(events),
        "data_sha256": digest.hexdigest(),
        "ranges": {name: _range(values) for name, values in columns.items()},
        "condition_ranges": {name: _range(values) for name, values in numbered_conditions(events).items()},
    }


class EventSampler(nn.Module):
    """Compute four-momenta from latents and conditions, all of them in double precision.

    Args:
        flow: a flow of events, without gradients.
        coordinates: those of its rows.
    """

    def __init__(self, flow: Flow, coordinates: EventCoordinates) -> None:
        super().__init__()
        self.flow, self.coordinates = flow, coordinates

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        context = context_of_columns(self.coordinates, condition)
        rows = self.flow.to_data(z.float(), None if context is None else context.float())
        return self.coordinates.momenta(rows.double(), context)


class EventDensity(nn.Module):
    """Compute the log density of four-momenta given conditions, all of them in double precision.

    Args:
        flow: a flow of events, without gradients.
        coordinates: those of its rows.
    """

    def __init__(self, flow: Flow, coordinates: EventCoordinates) -> None:
        super().__init__()
        self.flow, self.coordinates = flow, coordinates

    def forward(self, momenta: Tensor, condition: Tensor | None = None) -> Tensor:
        rows = describe(self.coordinates.decay, momenta, self.coordinates.root).float()
        context = context_of_columns(self.coordinates, condition)
        return self.flow.log_prob(rows, None if context is None else context.float()).double()


def context_of_columns(coordinates: EventCoordinates, condition: Tensor | None) -> Tensor | None:
    """Compute contexts (n, F) from conditions (n, C) in the units of the events: `context_of` for tensors."""
    if condition is None:
        return None
    parts: list[Tensor] = []
    for values, each in zip(condition.unbind(-1), coordinates.schema.condition, strict=True):
        if each.kind == "one_hot":
            parts += [(values == number).to(values.dtype) for number in _numbers(each)]
        else:
            parts.append(values.log() if each.kind == "log_energy" else values)
    return torch.stack(parts, -1)


class UnrolledRambo(Bijection):
    """Do what `RamboMasses` does with a fixed number of Newton's steps, as a graph of operations needs it.

    Args:
        masses: the map; its forward direction is used as it is.
    """

    def __init__(self, masses: RamboMasses) -> None:
        super().__init__()
        self.masses = masses

    def forward_and_ladj(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.masses.forward_and_ladj(x, context)

    def inverse_and_ladj(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        wide = None if context is None else context.double()
        energy = log_energy(wide, self.masses.energy_column, z.double())
        target = torch.logit((z.double() + 1.0) / 2.0).clamp(-_FARTHEST, _FARTHEST)
        position = torch.full_like(target, _FARTHEST / 2.0)
        for _ in range(_NEWTON_STEPS):
            value, log_slope = self.masses._logit_share(position)
            position = position - (value - target) * (-log_slope).exp()
        x = (energy + nn.functional.logsigmoid(position).cumsum(-1)).exp()
        return x.to(z.dtype), -self.masses.forward_and_ladj(x, wide)[1].to(z.dtype)


def _opened(model: Flow | str | os.PathLike[str], facts: Mapping[str, Any] | None) -> tuple[Flow, Mapping[str, Any]]:
    if isinstance(model, str | os.PathLike):
        path = model_path(model)
        flow, known = load(path), read_header(path)["metadata"]
        facts = {key: known[key] for key in FACTS if key in known} if facts is None else facts
    else:
        flow = model
    if not isinstance(flow, Flow):
        raise InputError(f"export_events expects a flow that event_flow built; got {type(flow).__name__}.")
    return flow, facts or {}


def _traceable(flow: Flow) -> Flow:
    """Copy a flow without gradients, with fixed steps for what searches."""
    flow = copy.deepcopy(flow).cpu().float().eval().requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    for module in list(flow.modules()):
        for name, child in module.named_children():
            if isinstance(child, RamboMasses):
                setattr(module, name, UnrolledRambo(child))
    return flow


def _translated(
    module: nn.Module, inputs: tuple[Tensor, ...], names: tuple[str, str], properties: Mapping[str, str]
) -> tuple[bytes, tuple[str, ...], str, float]:
    """Translate a module to ONNX, and measure by how much the result differs from it: relative to 1 and its size."""
    given = (names[0], "condition")[: len(inputs)]
    with torch.no_grad(), quiet():
        expected = module(*inputs)
        try:
            program = torch.export.export(module, inputs, dynamic_shapes=batched(inputs)).run_decompositions(_REWRITTEN)
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[0]
            raise InputError(f"The {names[1]} of this flow can't be exported: {cause}.") from error
    content = onnx_bytes(program, inputs, given, names[1], properties)
    found = run_onnx(content, inputs)
    difference = torch.where(found == expected, 0.0, (found - expected).abs() / (1.0 + expected.abs()))
    return content, given, names[1], float(difference.max())


def _written(
    translated: tuple[bytes, tuple[str, ...], str, float],
    path: Path,
    properties: Mapping[str, str],
    findings: tuple[Finding, ...],
) -> Exported:
    content, inputs, output, error = translated
    write_atomically(path, lambda file: file.write(content))
    if not error <= TOLERANCE:
        message = f"file and flow differ by up to {error:.2g} (1 + |{output}|) on a few rows: compare on your own rows."
        findings = (*findings, Finding("warning", (), message))
    return Exported(path, inputs, output, error, dict(properties), findings)


def _properties(coordinates: EventCoordinates, facts: Mapping[str, Any]) -> dict[str, str]:
    """Collect what the files say about themselves; lines of words where C++ has to read them."""
    ranges = facts.get("condition_ranges", {})
    latents = [f"{_DRAWN[kind]} {name}" for name, kind in zip(coordinates.columns, coordinates.kinds, strict=True)]
    conditions = [
        "{!r} {!r} {}".format(*ranges.get(name, _ANYWHERE), name) for name in coordinates.schema.condition_names
    ]
    described = coordinates.to_json()
    return {
        "schema": json.dumps(described.pop("schema")),
        "coordinates": json.dumps({"columns": coordinates.columns, **described}),
        "latent": "\n".join(latents),
        "conditions": "\n".join(conditions),
        "versions": json.dumps({"bijecta": __version__, "torch": str(torch.__version__)}),
        **{key: _as_text(facts[key]) for key in FACTS if key in facts and key != "condition_ranges"},
    }


_DRAWN = {
    "box": "uniform -1.0 1.0",
    "angle": f"uniform {-math.pi!r} {math.pi!r}",
    "turn": f"uniform {-math.pi!r} {math.pi!r}",
    "real": "normal 0.0 1.0",
}
_ANYWHERE = (-math.inf, math.inf)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _range(values: Any) -> list[float]:
    return [float(values.min()), float(values.max())]


def _numbers(condition: Condition) -> list[float]:
    """Return what the values of a condition are called in a column of numbers: texts are counted from 0."""
    return [float(k if isinstance(value, str) else value) for k, value in enumerate(condition.values)]


def _example_condition(coordinates: EventCoordinates, ranges: Mapping[str, Any]) -> tuple[Tensor, ...]:
    """Return conditions to try the files at, in the middle of what was seen; nothing for a flow without conditions."""
    if not coordinates.schema.condition:
        return ()
    row = []
    for each in coordinates.schema.condition:
        if each.kind == "one_hot":
            row.append(_numbers(each)[0])
        elif each.name in ranges:
            row.append(0.5 * sum(ranges[each.name]))
        else:
            row.append(_EXAMPLE_ENERGY if each.kind == "log_energy" else 0.0)
    return (torch.tensor([row] * _EXAMPLE_ROWS, dtype=torch.float64),)


def _findings(flow: Flow, facts: Mapping[str, Any]) -> tuple[Finding, ...]:
    findings = []
    if not flow.initialised:
        message = "this flow was never initialised from data. Unless that is how it was trained, fit it first."
        findings.append(Finding("warning", (), message))
    if "ranges" not in facts:
        message = "the files do not say on which ranges the flow was trained: pass facts=training_facts(...)."
        findings.append(Finding("warning", (), message))
    return tuple(findings)


# ---------------------------------------------------------------- what ONNX runtimes lack, mostly in double precision


def _cosh(x: Tensor) -> Tensor:
    return 0.5 * (x.exp() + (-x).exp())


def _sinh(x: Tensor) -> Tensor:
    return 0.5 * (x.exp() - (-x).exp())


def _asinh(x: Tensor) -> Tensor:
    size = x.abs()
    return x.sign() * torch.log(size + (size * size + 1.0).sqrt())


def _atan2(y: Tensor, x: Tensor) -> Tensor:
    """Improve the angle of single precision: the tangent of what is missing is known in double precision."""
    if y.dtype != torch.float64:
        return NotImplemented
    rough = torch.atan2(y.float(), x.float()).double()
    cosine, sine = rough.cos(), rough.sin()
    along = x * cosine + y * sine
    missing = (y * cosine - x * sine) / torch.where(along > 0.0, along, 1.0)
    return rough + missing


def _sum(x: Tensor, dim: Sequence[int], keepdim: bool = False, **options: Any) -> Tensor:  # noqa: FBT001, FBT002
    """Say that the sum of nothing is zero, such as that of the daughters' masses where there are none."""
    if options or list(dim) != [-1] or not isinstance(x.shape[-1], int) or x.shape[-1] > 0:
        return NotImplemented
    return x.new_zeros([*x.shape[:-1], 1] if keepdim else x.shape[:-1])


_REWRITTEN: dict[Any, Any] = {
    aten.sum.dim_IntList: _sum,
    aten.cosh.default: _cosh,
    aten.sinh.default: _sinh,
    aten.asinh.default: _asinh,
    aten.arcsinh.default: _asinh,
    aten.atan2.default: _atan2,
    aten.arctan2.default: _atan2,
}
