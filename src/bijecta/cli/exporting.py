"""The command that writes a model for use without bijecta."""

from pathlib import Path

import typer

from bijecta.cli.console import show, tell
from bijecta.persistence import export, load_table_model
from bijecta.persistence.exporting import FORMATS, FUNCTIONS

BOTH = ("log_prob", "sample")


def run_export(path: Path, to: str, what: str, out: Path) -> None:
    """Write one file, or for "both" one for each of density and samples."""
    if to not in FORMATS:
        raise typer.BadParameter(f"expected --to {', '.join(FORMATS)}; got {to!r}.")
    if what not in (*FUNCTIONS, "both"):
        raise typer.BadParameter(f"expected --what {', '.join(FUNCTIONS)} or both; got {what!r}.")
    model = load_table_model(path)
    known = model.header["metadata"]
    kept = {key: known[key] for key in ("data", "ranges") if key in known}
    metadata = {"schema": model.schema.to_json(), "context": list(model.context), **kept}
    for function in BOTH if what == "both" else (what,):
        target = out.with_stem(f"{out.stem}_{function}") if what == "both" else out
        written = export(model.flow, target, to, what=function, metadata=metadata)
        for finding in written.findings:
            tell(str(finding), "yellow")
        show(f"{target}: {', '.join(written.inputs)} -> {written.output}, largest difference {written.error:.1e}")
