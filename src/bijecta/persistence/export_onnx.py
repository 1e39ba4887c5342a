"""From a traced program to the bytes of an ONNX file, and back to numbers by onnxruntime."""

from collections.abc import Mapping, Sequence
from operator import attrgetter, getitem
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from bijecta.errors import InputError, require
from bijecta.persistence.export_program import batched, quiet

aten = torch.ops.aten


def onnx_bytes(
    program: ExportedProgram, inputs: tuple[Tensor, ...], names: Sequence[str], output: str, metadata: Mapping[str, str]
) -> bytes:
    """Translate a program to ONNX.

    Args:
        program: the traced function.
        inputs: an example of its inputs.
        names: what the inputs are called.
        output: what the output is called.
        metadata: properties of the file.

    Returns:
        The bytes of one file, weights included.

    Raises:
        InputError: ONNX has no operation for one of the program's.
        MissingDependencyError: a package of ``bijecta[onnx]`` is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, extra="onnx", purpose="Writing and checking ONNX files")
    with torch.no_grad(), quiet():
        folded = fold_constants(program.run_decompositions(_rewritten()).module())
        program = torch.export.export(folded, inputs, dynamic_shapes=batched(inputs))
        try:
            found: Any = torch.onnx.export(
                program,
                input_names=list(names),
                output_names=[output],
                dynamic_shapes=batched(inputs),
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = str(error.__cause__ or error).strip().splitlines()[0]
            raise InputError(f"ONNX can't express this flow: {cause}. Export it for torch instead.") from error
    for node in found.model.graph.all_nodes():
        node.metadata_props.clear()  # where in which source file an operation came from: of no use, and not public
    found.model.metadata_props.clear()
    found.model.metadata_props.update({**metadata, "opset": str(found.model.opset_imports[""])})
    model = found.model_proto
    # Shapes of intermediate values are optional, and onnxruntime's quantiser stumbles over those of the weights.
    del model.graph.value_info[:]
    return model.SerializeToString()


def run_onnx(data: bytes, inputs: Sequence[Tensor]) -> Tensor:
    """Evaluate the bytes of an ONNX file."""
    runtime = require("onnxruntime", extra="onnx", purpose="Running an ONNX file")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    values = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    return torch.from_numpy(session.run(None, values)[0])


def _rewritten() -> dict[Any, Any]:
    """Say operations that ONNX does not know by others that it does."""
    return {
        aten.copysign.Tensor: lambda size, sign: torch.where(sign < 0, -size.abs(), size.abs()),
        aten.hypot.default: _hypot,
        aten.linalg_slogdet.default: _sign_and_ladj,
    }


def _hypot(a: Tensor, b: Tensor) -> Tensor:
    large, small = torch.maximum(a.abs(), b.abs()), torch.minimum(a.abs(), b.abs())
    return large * (1 + (small / large.clamp_min(1e-30)).square()).sqrt()  # no square of a large number


def _sign_and_ladj(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Determinants of contractions of up to 16 features, which is where they are used, do not leave float32."""
    determinant = torch.linalg.det(matrix)
    return determinant.sign(), determinant.abs().log()


def fold_constants(module: GraphModule) -> GraphModule:
    r"""Compute once what depends on the weights alone, and make triangular solves products.

    ``A^{-1} b`` with a constant A becomes a product with its inverse, taken in double precision. ONNX can't solve, nor
    does it know the special functions that only weights go through.

    Args:
        module: a graph without mutation; it is changed.

    Returns:
        The same module.
    """
    constants: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            module.graph.erase_node(node)  # checks of the shapes, which the traced program has too
        elif node.op == "get_attr":
            constants[node] = attrgetter(node.target)(module)
        elif _depends_on(node, constants):
            given = map_arg((node.args, node.kwargs), constants.__getitem__)
            constants[node] = node.target(*given[0], **given[1])
        elif node.target is aten.linalg_solve_triangular.default and node.args[0] in constants:
            _multiply_instead(module, node, constants[node.args[0]])
    for number, (node, value) in enumerate(constants.items()):
        if node.op != "get_attr" and any(user not in constants for user in node.users):
            _replace(module, node, f"constant{number}", value)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _depends_on(node: Node, constants: Mapping[Node, Any]) -> bool:
    pure = node.target is getitem or (
        isinstance(node.target, OpOverload) and torch.Tag.nondeterministic_seeded not in node.target.tags
    )
    return node.op == "call_function" and pure and all(given in constants for given in node.all_input_nodes)


def _multiply_instead(module: GraphModule, node: Node, matrix: Tensor) -> None:
    identity = torch.eye(matrix.shape[-1], dtype=torch.float64)
    inverse = torch.linalg.solve_triangular(matrix.double(), identity, **node.kwargs).to(matrix)
    with module.graph.inserting_before(node):
        module.register_buffer(f"inverse_{node.name}", inverse)
        factor = module.graph.get_attr(f"inverse_{node.name}")
        node.replace_all_uses_with(module.graph.call_function(aten.matmul.default, (factor, node.args[1])))
    module.graph.erase_node(node)


def _replace(module: GraphModule, node: Node, name: str, value: Tensor) -> None:
    module.register_buffer(name, value)
    with module.graph.inserting_before(node):
        node.replace_all_uses_with(module.graph.get_attr(name))
