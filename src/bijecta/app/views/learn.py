"""The Learn page: one idea at a time, each with something to do."""

import streamlit as st

from bijecta.app.views import learn_breaks, learn_ideas, learn_models
from bijecta.app.views.learn_exercises import progress

IDEAS = {
    "Change of variables": learn_ideas.change_of_variables,
    "Couplings": learn_ideas.couplings,
    "Invertibility": learn_ideas.invertibility,
    "No tearing": learn_ideas.tearing,
    "What breaks": learn_breaks.gallery,
    "Other models": learn_models.other_models,
}
IDEA = "idea"


def page() -> None:
    """Draw the page."""
    st.markdown(
        f"#### Learn  \n:gray[Theory beside the Lab: one idea at a time, something to do with each. {progress()}]"
    )
    names = list(IDEAS)
    chosen = st.segmented_control(
        "Idea", names, default=names[0], required=True, key=IDEA, bind="query-params", label_visibility="collapsed"
    )
    here = chosen if isinstance(chosen, str) else names[0]
    IDEAS[here]()
    _onwards(names, names.index(here))


def _onwards(names: list[str], here: int) -> None:
    st.divider()
    back, _, on = st.columns([2, 1, 2])
    if here > 0:
        back.button(f"← {names[here - 1]}", on_click=_go, args=(names[here - 1],), width="stretch")
    if here + 1 < len(names):
        on.button(f"{names[here + 1]} →", on_click=_go, args=(names[here + 1],), width="stretch", type="primary")


def _go(idea: str) -> None:
    st.session_state[IDEA] = idea
