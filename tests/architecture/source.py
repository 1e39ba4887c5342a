"""The source as the architecture tests see it: files, functions, classes and exported names."""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import bijecta

ROOT = Path(bijecta.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf8")) for path in FILES}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """Every function and method as ("file:name", tree)."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield f"{path}:{node.name}", node


def length(function: Function) -> int:
    """Count the lines of a function without its docstring and without its decorators."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    is_docstring = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return lines - ((first.end_lineno or 0) - first.lineno + 1) * is_docstring


def without_docstrings(tree: ast.Module) -> str:
    """Return the source of a file without its comments and docstrings."""
    removed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            removed.update(range(node.lineno, (node.end_lineno or 0) + 1))
    path = next(path for path, known in TREES.items() if known is tree)
    lines = (ROOT / path).read_text(encoding="utf8").splitlines()
    kept = [line for number, line in enumerate(lines, 1) if number not in removed]
    return "\n".join(line for line in kept if not line.lstrip().startswith("#"))


def count_arguments(function: Function) -> int:
    """Count every argument but self and cls."""
    given = function.args
    names = [
        argument.arg
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
        if argument
    ]
    return len([name for name in names if name not in ("self", "cls")])


def packages() -> list[str]:
    """Every package with names for everybody, by its dotted name. Kernels are private."""
    found = [module.name for module in pkgutil.walk_packages([str(ROOT)], "bijecta.") if module.ispkg]
    public = ["bijecta", *(name for name in found if "kernels" not in name)]
    return [name for name in public if hasattr(importlib.import_module(name), "__all__")]


def exported() -> Iterator[tuple[str, object]]:
    """Every exported name as ("package.name", object)."""
    for package in packages():
        module = importlib.import_module(package)
        for name in module.__all__:
            yield f"{package}.{name}", getattr(module, name)
