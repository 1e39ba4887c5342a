"""The reference: one page for every package, one entry for every name that it exports."""

import importlib
import inspect
import pkgutil

from prose import escape_prose

import bijecta

ORDER = "flows flows.images bijections bijections.univariate distributions training diagnostics diagnostics.plots "
ORDER += "data persistence estimators hep tuning adapters service functional nets reference errors"
MODULES = ("bijections.univariate", "diagnostics.plots", "errors", "flows.images")  # shown beside the packages
SHELLS = ("app", "cli")  # people use them, nobody imports them


def reference_pages() -> dict[str, str]:
    """Make a page for every package and the list of them."""
    pages = {f"api/{name}.rst": package_page(f"bijecta.{name}") for name in packages()}
    entries = "\n".join(f"   {name}" for name in packages())
    pages["api/index.rst"] = (
        "Names\n=====\n\nEverything that can be imported, by package. The names that most people need are in "
        f"``bijecta`` itself: {top_level()}.\n\n.. toctree::\n   :maxdepth: 1\n\n{entries}\n"
    )
    return pages


def packages() -> list[str]:
    """List the public packages, the ones that people meet first before the others."""
    found = [module for module in pkgutil.iter_modules(bijecta.__path__) if module.ispkg and module.name not in SHELLS]
    names = [*(module.name for module in found), *MODULES]
    return sorted(names, key=ORDER.split().index)


def top_level() -> str:
    """Name what ``import bijecta`` offers, each linked to where it is explained."""
    return ", ".join(f":obj:`~{_home(name)}`" for name in bijecta.__all__ if not name.startswith("_"))


def _home(name: str) -> str:
    item = getattr(bijecta, name)
    module = getattr(item, "__module__", "bijecta.flows").split(".")
    return ".".join([*module[:2], name])


def package_page(package: str) -> str:
    """Make the page of one package: its docstring, a table of its names, then every name in full."""
    module = importlib.import_module(package)
    exported = getattr(module, "__all__", None) or [
        name for name in vars(module) if inspect.isclass(vars(module)[name])
    ]
    names = [name for name in exported if _belongs(getattr(module, name), package)]
    lines = [package, "=" * len(package), "", *escape_prose((inspect.getdoc(module) or "").splitlines()), ""]
    lines += [".. list-table::", "   :widths: auto", ""]
    for name in names:
        lines += [
            f"   * - :obj:`~{package}.{name}`",
            f"     - {escape_prose([_first_sentence(getattr(module, name))])[0]}",
        ]
    for name in names:
        lines += ["", *_entry(package, name, getattr(module, name))]
    return "\n".join(lines) + "\n"


def _belongs(item: object, package: str) -> bool:
    """Whether this package, not one inside of it, is where the name is explained."""
    home = getattr(item, "__module__", package)
    return isinstance(home, str) and not (package == "bijecta.bijections" and ".univariate" in home)


def _first_sentence(item: object) -> str:
    documented = inspect.isclass(item) or inspect.isroutine(item)
    text = inspect.getdoc(item) if documented else ""
    return (text or "A value.").split("\n\n")[0].replace("\n", " ").strip()


def _entry(package: str, name: str, item: object) -> list[str]:
    if inspect.isclass(item):
        return [f".. autoclass:: {package}.{name}", "   :members:"]
    kind = "autofunction" if inspect.isroutine(item) else "autodata"
    return [f".. {kind}:: {package}.{name}", *(["   :no-value:"] if kind == "autodata" else [])]
