"""The map of one number that a visitor bends, as a Streamlit component; it runs in the browser alone."""

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

HERE = Path(__file__).parent


@cache
def _component() -> Any:
    html, css, code = ((HERE / f"warp.{kind}").read_text(encoding="utf8") for kind in ("html", "css", "js"))
    return st.components.v2.component("bijecta_warp", html=html, css=css, js=code)


def warp_view() -> None:
    """Show the map, the densities at its edges and the probe."""
    _component()(key="learn.warp")
