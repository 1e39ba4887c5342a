"""The page Events: a flow learns collision events, and is held against the exact density at any energy."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from bijecta.app.charts import curves_chart, show_chart
from bijecta.app.collisions import COLLISIONS, Collision
from bijecta.app.event_charts import truth_chart
from bijecta.app.event_fit import EventFit
from bijecta.app.event_lesson import EventSettings
from bijecta.app.table_runs import FitTrainer
from bijecta.app.tabs import this_tab
from bijecta.app.views.event_results import panels, results, show_pairs
from bijecta.errors import BijectaError

FIT = "events.fit"
SECONDS_BETWEEN = 0.5
LEAST_EVENTS, MOST_EVENTS, MOST_SECONDS = 1_000, 200_000, 600
FIRST_ENERGY = {"muon-pairs": 80.0, "drell-yan": 1960.0, "three-jets": 91.2}


def page() -> None:
    """Draw the page."""
    st.markdown(
        "#### Events  \n:gray[A flow learns to generate collisions, and is held against the exact density, energy by "
        "energy.]"
    )
    settings = _form()
    chosen = COLLISIONS[settings.process]
    fit = st.session_state.get(FIT)
    if fit is not None:
        fit.trainer.tab = this_tab()  # after a lost connection it is another one
        st.fragment(_progress, run_every=SECONDS_BETWEEN if fit.going else None)(fit)
    energy = st.select_slider(
        "Energy of the collision (GeV)", chosen.energies, FIRST_ENERGY[settings.process],
        key=f"energy.{settings.process}", format_func=lambda value: f"{value:g}", bind="query-params",
    )  # fmt: skip
    if fit is not None and fit.has_result and fit.settings.process == settings.process:
        results(fit, float(energy))
    else:
        _truth(chosen, float(energy), settings, going=fit is not None and fit.going)


def _form() -> EventSettings:
    columns = st.columns([3, 1.4, 1.1, 1, 1, 1], vertical_alignment="bottom")
    bound: Mapping[str, Any] = {"bind": "query-params"}
    names, given = list(COLLISIONS), st.query_params.get("process", "")
    process = columns[0].selectbox(
        "Process", names, names.index(given) if given in names else 0, key="process",
        format_func=lambda name: COLLISIONS[name].title,
    )  # fmt: skip
    st.query_params["process"] = process  # bound by itself, it would stand there by its title
    events = columns[1].number_input("Events", LEAST_EVENTS, MOST_EVENTS, 50_000, 1000, key="events", **bound)
    seconds = columns[2].number_input("Seconds", 1, MOST_SECONDS, 20, key="seconds", **bound)
    seed = columns[3].number_input("Seed", 0, 2**31, 0, key="seed", **bound)
    settings = EventSettings(process, events, float(seconds), seed)
    fit = st.session_state.get(FIT)
    going = fit is not None and fit.going
    columns[4].button(
        "Fit", type="primary", on_click=_fit, args=(settings,), key="events.start", width="stretch", disabled=going
    )
    columns[5].button("Stop", on_click=_stop, disabled=not going, key="events.stop", width="stretch")
    if fit is not None and not going and fit.settings != settings:
        st.caption("The settings have changed since the last fit. Press Fit to learn with these.")
    return settings


def _fit(settings: EventSettings) -> None:
    if FIT in st.session_state:
        st.session_state.pop(FIT).trainer.close()
    try:
        trainer = FitTrainer("event_worker", {"settings": settings.to_json()}, this_tab())
        st.session_state[FIT] = EventFit(settings, trainer)
    except BijectaError as error:
        st.error(str(error), icon=":material/error:")


def _stop() -> None:
    st.session_state[FIT].trainer.stop()


def _progress(fit: EventFit) -> None:
    """Show how far a fit is; draw the whole page again when it has ended."""
    if fit.trainer.latest is None:
        st.progress(0.0, "The process that fits is starting.")
        return
    facts = fit.facts
    if fit.trainer.state == "failed":
        st.error(str(facts["message"]), icon=":material/error:")
    else:
        done = facts.get("seconds", 0.0) / fit.settings.seconds
        st.progress(min(done, 1.0) if fit.going else 1.0, _progress_text(fit))
        if fit.going and len(facts.get("validation", ())) > 1:
            show_chart(curves_chart([facts["validation"]], ["event_flow"], None), "events.curve")
    if not fit.going and not fit.seen:
        fit.seen = True
        st.rerun()


def _progress_text(fit: EventFit) -> str:
    facts = fit.facts
    if "events" not in facts:
        return f"{fit.settings.events:,} events are being drawn"
    best = f", best validation NLL {facts['best']:.4f} nats per event" if facts.get("best") is not None else ""
    return f"{facts['state']}: {fit.collision.title}, epoch {facts['epoch']}, {facts['seconds']:.0f} s{best}"


def _truth(chosen: Collision, energy: float, settings: EventSettings, *, going: bool) -> None:
    low, high = chosen.energies[0], chosen.energies[-1]
    plan = (
        f"Press Fit: a flow then learns for {settings.seconds:g} s from {settings.events:,} events at energies from "
        f"{low:g} to {high:g} GeV, and is compared with the truth here."
    )
    wait = "A flow is learning; when it has ended, it is compared with the truth here."
    st.info(f"This is the truth at {energy:g} GeV. {wait if going else plan}")
    show_pairs(panels(settings.process, energy, None), truth_chart, "events.truth")
