"""The commands that pass a model on: serve, card."""

import sys
from pathlib import Path

from bijecta.cli.console import show, tell
from bijecta.cli.folder import write_text
from bijecta.errors import InputError, require
from bijecta.persistence import load_table_model, model_card, read_header
from bijecta.persistence.hub import CARD
from bijecta.persistence.tabular import model_path
from bijecta.service import ServiceSettings, create_app
from bijecta.service.server import listen, serve


def run_serve(path: Path, host: str, port: int, settings: ServiceSettings, *, log: bool) -> None:
    """Serve a model until it is told to stop."""
    require("uvicorn", extra="serve", purpose="The command serve")
    app = create_app(load_table_model(path), settings)
    with listen(host, port) as listener:
        name = f"[{host}]" if ":" in host else host
        tell(f"Serving {path} on http://{name}:{listener.getsockname()[1]} (stop it with Ctrl-C)")
        serve(app, listener, settings, sys.stdout if log else None)


def run_card(path: Path, name: str | None, out: str | None) -> None:
    """Write the model card of a model, beside it if nothing else is said and nothing is there."""
    file = model_path(path)
    card = model_card(read_header(file), name=name)
    if out == "-":
        show(card.rstrip("\n"))
        return
    target = file.parent / CARD if out is None else Path(out)
    if out is None and target.exists():
        raise InputError(f"{target} exists, and may be more than a card. Replace it with --out {target}.")
    write_text(target, card)
    tell(f"wrote {target}")
