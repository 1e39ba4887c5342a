"""Pages that are made from the package itself, so that they can't go stale: names, families, commands, measurements."""

from pathlib import Path

from benchmarks_page import benchmarks_page
from cli_page import cli_page
from families_page import families_page
from reference_pages import reference_pages
from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]


def write(app: Sphinx) -> None:
    """Write docs/_generated; a page that has not changed keeps its date, so that it is not built again."""
    pages = {
        **reference_pages(),
        "families.md": families_page(),
        "cli.md": cli_page(),
        "benchmarks.md": benchmarks_page(),
        **develop_pages(),
    }
    folder = DOCS / "_generated"
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf8") != text:
            path.write_text(text, encoding="utf8")
    for path in folder.rglob("*.*"):
        if path.relative_to(folder).as_posix() not in pages:
            path.unlink()


def develop_pages() -> dict[str, str]:
    """Show the files of the repository's root as pages."""
    pages = {}
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (DOCS.parent / f"{name}.md").read_text(encoding="utf8")
        pages[f"{name.lower()}.md"] = text
    decisions = sorted((DOCS / "develop" / "decisions").glob("[0-9]*.md"))
    entries = "\n".join(f"/develop/decisions/{path.stem}" for path in decisions)
    pages["decisions.md"] = (
        "# Decisions\n\nChoices that someone will ask about later, each with what was measured.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{entries}\n```\n"
    )
    return pages


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the pages before Sphinx looks for its sources."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
