"""The tab of a visitor, for all pages: runs belong to it, and end with it."""

import streamlit as st

from bijecta.app import registry
from bijecta.app.registry import Tab


def _depart(tab: Tab) -> None:
    registry.RUNS.depart(tab)


@st.cache_resource(scope="session", on_release=_depart, show_spinner=False)
def this_tab() -> Tab:
    """Return the record of the tab that runs this script; after a lost connection it is another one."""
    return registry.RUNS.enter()
