"""The live view as a Streamlit component: plain JavaScript, no build step, no request to anywhere else."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


@cache
def _live_view() -> Any:
    text = {name: (HERE / name).read_text(encoding="utf8") for name in ("component.html", "component.css")}
    code = "\n".join((HERE / name).read_text(encoding="utf8") for name in ("drawing.js", "component.js"))
    return st.components.v2.component("bijecta_live", html=text["component.html"], css=text["component.css"], js=code)


def live_view(run: str, *, pending: str | None = None, note: str = "", key: str = "live") -> None:
    """Show a run: canvas, controls, curves, probe.

    Args:
        run: its id.
        pending: id of the run that the button Run starts instead, where settings have changed.
        note: a sentence to show above the canvas.
        key: of the widget; one per view on a page.
    """
    _live_view()(key=key, data={"run": run, "next": pending, "note": note})
