"""Rules of style that a machine can see: names, assertions, globals, data-dependent control flow."""

import ast
import re

import pytest

from architecture.source import TREES, functions

FORMULAS = tuple(p for p in TREES if p.startswith(("functional/", "bijections/")) and "/kernels/" not in p)
every_file = pytest.mark.parametrize("path", TREES)
LAST_RESORT = re.compile(r"(^|_)(utils?|common|helpers?|misc)(_|$)")
OTHER_SPELLINGS = re.compile(r"log_?abs_?det|log_?det(?!erminant)|ldj|lad\b", re.IGNORECASE)


@every_file
def test_no_assert_in_the_source(path):
    """User errors are exceptions; `python -O` removes assertions."""
    assert [node.lineno for node in ast.walk(TREES[path]) if isinstance(node, ast.Assert)] == []


@every_file
def test_modules_are_named_after_what_they_hold(path):
    assert not any(LAST_RESORT.search(part.removesuffix(".py")) for part in path.split("/"))


@every_file
def test_the_log_determinant_is_called_ladj(path):
    """The reference is exempt where it computes determinants as such."""
    if path == "reference/determinants.py" or path == "reference/__init__.py":
        return
    names = {node.id for node in ast.walk(TREES[path]) if isinstance(node, ast.Name)}
    names |= {node.arg for node in ast.walk(TREES[path]) if isinstance(node, ast.arg)}
    names |= {node.name for node in ast.walk(TREES[path]) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert sorted(name for name in names if OTHER_SPELLINGS.search(name)) == []


@every_file
def test_no_global_statement_and_no_mutable_default(path):
    tree = TREES[path]
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)] == []
    defaults = [default for _, f in functions() for default in (*f.args.defaults, *f.args.kw_defaults)]
    assert [item.lineno for item in defaults if isinstance(item, ast.List | ast.Dict | ast.Set)] == []


@pytest.mark.parametrize("path", FORMULAS)
def test_no_data_dependent_reads_where_formulas_are(path):
    """`.item()` of data waits for the GPU and breaks compilers; constructors may look at their settings."""
    allowed = {"__init__", "__post_init__", "initialise", "columns", "extra_repr", "_select", "_shown", "_measure"}
    found = [
        f"{function.name}:{node.lineno}"
        for function in ast.walk(TREES[path])
        if isinstance(function, ast.FunctionDef) and function.name not in allowed
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr in ("item", "nonzero", "numpy", "searchsorted")
    ]
    assert found == []


@every_file
def test_no_bare_except_and_no_print(path):
    tree = TREES[path]
    assert [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ExceptHandler) and n.type is None] == []
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert [n.lineno for n in calls if n.func.id == "print"] == [] or path.startswith("cli/")
