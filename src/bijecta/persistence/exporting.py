"""Export: one function of a flow as a file that runs without bijecta."""

import io
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bijecta.data.files import write_atomically
from bijecta.data.findings import Finding
from bijecta.distributions import Dequantised, Distribution, StudentT
from bijecta.errors import InputError
from bijecta.flows import Flow
from bijecta.persistence.export_onnx import onnx_bytes, run_onnx
from bijecta.persistence.export_program import INPUTS, OUTPUTS, Traced, continuous, noise_kinds, quiet, trace

FORMATS = ("onnx", "torch", "aoti")
FUNCTIONS = tuple(INPUTS)
TOLERANCE = 1e-4
METADATA_FILE = "metadata.json"


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        path: the file.
        inputs: names of its inputs, in order.
        output: name of its output.
        error: largest ``|a - b| / (1 + |b|)`` between file (a) and flow (b) on a few rows, both in float32.
        metadata: what the file says about itself.
        findings: what to know before using it.
    """

    path: Path
    inputs: tuple[str, ...]
    output: str
    error: float
    metadata: dict[str, Any]
    findings: tuple[Finding, ...]


def export(
    flow: Distribution,
    path: str | os.PathLike[str],
    to: str = "onnx",
    *,
    what: str = "log_prob",
    metadata: Mapping[str, Any] | None = None,
) -> Exported:
    r"""Write one function of a flow into one file that runs without bijecta, in float32, for batches of any size.

    ===========  =====================================  =======================
    ``what``     inputs                                 output
    ===========  =====================================  =======================
    "log_prob"   x (N, D) [, context (N, C)]            log_prob (N,) in nats
    "to_data"    z (N, D) [, context (N, C)]            x (N, D)
    "sample"     noise (N, K) [, context (N, C)]        x (N, D)
    ===========  =====================================  =======================

    No file draws random numbers: the caller does, and owns the generator. ``noise`` holds standard normal and uniform
    numbers, column by column as the property "noise" of the file says; for a standard normal base it is z itself.
    Of a dequantised flow, log_prob is the continuous density: add uniform noise to whole numbers first; samples are
    whole. The written file is read again and compared with the flow.

    Args:
        flow: a flow, or a dequantised one; of any other distribution that knows the shape of its events, log_prob. It
            stays as it is.
        path: the file, ``*.pt2`` or, by convention, ``*.onnx``; an existing one is replaced in one step.
        to: "onnx"; "torch" (a `torch.export` program, for `torch.export.load`); or "aoti" (compiled for this processor
            by `torch._inductor.aoti_compile_and_package`, to load from C++; needs a C++ compiler and a minute).
        what: "log_prob", "to_data" or "sample".
        metadata: JSON-able facts to write into the file, such as schema, context and ranges seen in training.

    Returns:
        What was written.

    Raises:
        InputError: an argument is unknown, the folder does not exist, or the flow cannot be exported: the message
            says why.
        MissingDependencyError: a package of ``bijecta[onnx]`` is missing.

    References:
        J. Bai, F. Lu, K. Zhang et al. (2019), ONNX: Open Neural Network Exchange.

    Example:
        >>> import tempfile, os, torch
        >>> from bijecta.flows import nice
        >>> from bijecta.persistence import export
        >>> path = os.path.join(tempfile.mkdtemp(), "density.pt2")
        >>> written = export(nice(2, layers=1), path, "torch", what="log_prob")
        >>> print(written.findings[0])
        warning: this flow was never initialised from data. Unless that is how it was trained, fit it first.
        >>> torch.export.load(path).module()(torch.zeros(5, 2)).shape
        torch.Size([5])
    """
    _check_arguments(path, to, what)
    facts = _facts(flow, what, dict(metadata or {}))
    traced = trace(flow, what)
    names = (INPUTS[what], "context")[: len(traced.inputs)]
    if to == "onnx":
        data = onnx_bytes(traced.program, traced.inputs, names, OUTPUTS[what], _as_texts(facts))
        found = run_onnx(data, traced.inputs)
    else:
        data, found = (_program_bytes if to == "torch" else _compiled_bytes)(traced, facts)
    write_atomically(path, lambda file: file.write(data))
    error = float(((found - traced.expected).abs() / (1 + traced.expected.abs())).max())
    return Exported(Path(path), names, OUTPUTS[what], error, facts, tuple(_findings(flow, what, error)))


def _check_arguments(path: str | os.PathLike[str], to: str, what: str) -> None:
    """Fail before the work, which takes seconds to minutes."""
    for name, value, known in (("to", to, FORMATS), ("what", what, FUNCTIONS)):
        if value not in known:
            raise InputError(f"export expects {name} to be one of {', '.join(known)}; got {value!r}.")
    if to != "onnx" and Path(path).suffix != ".pt2":
        raise InputError(f"torch loads only programs named *.pt2; got {Path(path).name}.")
    if not (folder := Path(path).resolve().parent).is_dir():
        raise InputError(f"There is no folder {folder} to write {Path(path).name} into. Make it first.")


def _facts(flow: Distribution, what: str, given: dict[str, Any]) -> dict[str, Any]:
    """Collect what the file says about itself."""
    from bijecta import __version__

    try:
        json.dumps(given, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"export expects metadata of JSON types with finite numbers: {error}.") from error
    record = getattr(flow, "recipe", None) or {"name": "", "arguments": {}}
    facts = {
        **given,
        "what": what,
        "recipe": record["name"],
        "arguments": record["arguments"],
        "versions": {"bijecta": __version__, "torch": str(torch.__version__)},
    }
    if isinstance(flow, Dequantised):
        facts["integers"] = flow.discrete.tolist()
    if isinstance(inner := continuous(flow), Flow) and what != "log_prob":
        facts |= _latent_facts(inner.base, what)
    return facts


def _latent_facts(base: Distribution, what: str) -> dict[str, Any]:
    """Say what the caller has to draw."""
    if what == "sample":
        return {"noise": noise_kinds(base)}
    degrees = {"degrees": base.degrees.tolist()} if isinstance(base, StudentT) else {}
    return {"base": type(base).__name__, **degrees}


def _findings(flow: Distribution, what: str, error: float) -> list[Finding]:
    findings = []
    if not all(bool(layer.initialised) for layer in flow.modules() if hasattr(layer, "initialised")):
        message = "this flow was never initialised from data. Unless that is how it was trained, fit it first."
        findings.append(Finding("warning", (), message))
    if isinstance(flow, Dequantised) and what == "log_prob":
        message = (
            "log_prob is that of the continuous flow inside: add uniform noise from [0, 1) to the integer columns "
            f"{flow.discrete.tolist()} of x; its mean is then a lower bound."
        )
        findings.append(Finding("note", (), message))
    if not error <= TOLERANCE:
        message = (
            f"file and flow differ by up to {error:.2g} (1 + |{OUTPUTS[what]}|) on a few rows, more than "
            f"{TOLERANCE:g}: float32 is coarse for this flow. Compare both with flow.double()."
        )
        findings.append(Finding("warning", (), message))
    return findings


def _as_texts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Write what is not a text as JSON, for formats that keep texts only."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def _program_bytes(traced: Traced, facts: Mapping[str, Any]) -> tuple[bytes, Tensor]:
    with io.BytesIO() as file, quiet():
        torch.export.save(traced.program, file, extra_files={METADATA_FILE: json.dumps(facts)})
        file.seek(0)
        return file.getvalue(), torch.export.load(file).module()(*traced.inputs)


def _compiled_bytes(traced: Traced, facts: Mapping[str, Any]) -> tuple[bytes, Tensor]:
    with tempfile.TemporaryDirectory() as folder, torch.no_grad(), quiet():
        target = str(Path(folder) / "model.pt2")
        settings = {"aot_inductor.metadata": _as_texts(facts)}
        try:
            torch._inductor.aoti_compile_and_package(traced.program, package_path=target, inductor_configs=settings)
        except RuntimeError as error:
            cause = str(error).strip().splitlines()[0]
            raise InputError(f"Compiling needs a C++ compiler that works: {cause}. Or use to='torch'.") from error
        return Path(target).read_bytes(), torch._inductor.aoti_load_package(target)(*traced.inputs)
