"""The Lab page: settings at the left, the flow that learns in the middle."""

import streamlit as st

from bijecta.app.component import live_view
from bijecta.app.forms import settings_form
from bijecta.app.registry import RUNS, Run
from bijecta.app.settings import OPENING, RunSettings
from bijecta.app.tabs import this_tab
from bijecta.app.trainer import FINAL
from bijecta.errors import BijectaError

SETTINGS, SHOWN, PENDING = "lab.settings", "lab.shown", "lab.pending"


def page() -> None:
    """Draw the page. On the first visit the flow comes before the widgets: it is what a visitor waits for."""
    st.markdown("#### Watch a flow learn  \n:gray[A flow bends a simple base until it has the density of the data.]")
    first, settings = SETTINGS not in st.session_state, _settings_of_link()
    if first:
        _show(settings)
    with st.sidebar:
        chosen = settings_form(settings)
    st.session_state[SETTINGS] = chosen
    if st.query_params.to_dict() != chosen.to_query():
        st.query_params.from_dict(chosen.to_query())
    if not first:
        _show(chosen)
    elif chosen != settings:
        st.rerun()


def _show(settings: RunSettings) -> None:
    shown, pending = _runs(settings)
    note = "The settings have changed. Restart begins again with them." if pending else ""
    live_view(shown.key, pending=pending.key if pending else None, note=note, key="lab.live")


def _settings_of_link() -> RunSettings:
    """Take the settings from the session; at first, from the link."""
    if SETTINGS in st.session_state:
        return st.session_state[SETTINGS]
    try:
        return RunSettings.from_query(st.query_params.to_dict())
    except BijectaError as error:
        st.error(f"This link asks for something impossible. {error} Here is the opening run instead.")
        return OPENING


def _runs(settings: RunSettings) -> tuple[Run, Run | None]:
    """Find or make the run to show, and the one that Run starts where settings changed while it trains."""
    pending = RUNS.runs.get(st.session_state.get(PENDING, ""))
    if pending is not None and pending.training:
        _drop(SHOWN)
        st.session_state[SHOWN] = st.session_state.pop(PENDING)
    shown = RUNS.runs.get(st.session_state.get(SHOWN, ""))
    if shown is None or (shown.settings != settings and not _is_busy(shown)):
        _drop(SHOWN)
        shown = RUNS.open(settings, this_tab())
        st.session_state[SHOWN] = shown.key
    shown.tab = this_tab()  # after a lost connection it is another one
    return shown, _pending(shown, settings)


def _pending(shown: Run, settings: RunSettings) -> Run | None:
    pending = RUNS.runs.get(st.session_state.get(PENDING, ""))
    if pending is not None and (shown.settings == settings or pending.settings != settings):
        _drop(PENDING)
        pending = None
    if pending is None and shown.settings != settings:
        pending = RUNS.open(settings, this_tab())
        st.session_state[PENDING] = pending.key
    return pending


def _is_busy(run: Run) -> bool:
    return run.training and run.trainer.state not in FINAL


def _drop(name: str) -> None:
    RUNS.close(st.session_state.pop(name, ""))
