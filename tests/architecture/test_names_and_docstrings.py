"""Exported names are explicit, sorted and pinned; each has a docstring after the template, whose example runs."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import torch

import bijecta
from architecture.source import TREES, exported, packages

EXPORTED = dict(exported())
MODULES = [
    module.name for module in pkgutil.walk_packages(bijecta.__path__, "bijecta.") if "__main__" not in module.name
]
SHOWN_ELSEWHERE = {
    "bijecta.persistence.load": "the example of save loads the file again",
    "bijecta.persistence.load_into": "needs a file: see save",
    "bijecta.persistence.read_header": "needs a file: see save",
}
CALLABLES = {
    name: item
    for name, item in EXPORTED.items()
    if (inspect.isfunction(item) or inspect.isclass(item)) and name.count(".") > 1  # the top level repeats names
}


def owner_file(item: object) -> str:
    return inspect.getmodule(item).__name__.removeprefix("bijecta.").replace(".", "/") + ".py"


@pytest.mark.parametrize("package", packages())
def test_exported_names_are_explicit_and_sorted(package):
    module = importlib.import_module(package)
    names = list(module.__all__)
    assert names == sorted(names, key=_like_ruff)
    assert len(set(names)) == len(names)
    assert all(hasattr(module, name) for name in names)
    tree = TREES["/".join([*package.split(".")[1:], "__init__.py"])]
    assigned = [
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(assigned) == 1
    assert isinstance(assigned[0].value, ast.List), "a literal list, which tools can read"


def _like_ruff(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions: what ruff calls an isort-style sort."""
    return (0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2, name)


def test_exported_names_are_pinned():
    """A name that people can import is a promise: adding or removing one is done here too, on purpose."""
    pinned = (Path(__file__).parent / "exported_names.txt").read_text(encoding="utf8").split()
    assert sorted(EXPORTED) == pinned


@pytest.mark.parametrize("name", CALLABLES)
def test_exported_names_come_from_the_package_that_exports_them(name):
    assert CALLABLES[name].__module__.startswith(name.rpartition(".")[0])


@pytest.mark.parametrize("name", CALLABLES)
def test_docstring_begins_with_a_sentence(name):
    documentation = inspect.getdoc(CALLABLES[name]) or ""
    first = documentation.split("\n\n")[0].replace("\n", " ")
    assert first, "no docstring"
    assert re.match(r"[A-Z]", first)
    assert first.endswith((".", ":")), first


@pytest.mark.parametrize("name", CALLABLES)
def test_docstring_has_its_parts(name):
    item = CALLABLES[name]
    if inspect.isclass(item) and (
        issubclass(item, Exception | tuple) or inspect.isabstract(item) or is_dataclass(item)
    ):
        return  # errors, contracts and plain records: the sentence and the names of the fields say it
    documentation = inspect.getdoc(item) or ""
    parameters = [p for p in inspect.signature(item).parameters.values() if p.name not in ("args", "kwargs")]
    if parameters:
        assert re.search(r"^(Args|Attributes):", documentation, re.MULTILINE)
    for parameter in parameters:
        assert re.search(rf"\b{parameter.name}\b", documentation), f"{parameter.name} is not explained"
    assert ">>>" in documentation or name in SHOWN_ELSEWHERE, "no runnable example"
    if inspect.isfunction(item) and item.__annotations__.get("return") not in (None, "None"):
        assert re.search(r"^(Returns|Yields):", documentation, re.MULTILINE)
    if raises(item):
        assert re.search(r"^Raises:", documentation, re.MULTILINE)


def raises(item: object) -> bool:
    """Whether the function, or the constructor of the class, has a raise statement of its own."""
    tree = TREES[owner_file(item)]
    found = next((n for n in ast.walk(tree) if getattr(n, "name", None) == item.__name__), None)
    if isinstance(found, ast.ClassDef):
        found = next((n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
    return found is not None and any(isinstance(n, ast.Raise) and n.exc is not None for n in ast.walk(found))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        torch.manual_seed(0)
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
        runner.run(test, out=report.append)
        assert runner.failures == 0, "".join(report)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_it_is_about(name):
    first = (importlib.import_module(name).__doc__ or "").strip().splitlines()
    assert first
    assert first[0].endswith((".", ":", "?"))
