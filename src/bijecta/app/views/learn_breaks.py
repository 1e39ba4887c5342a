"""The gallery of what breaks: each failure one click into the Lab, its cure another."""

import streamlit as st

from bijecta.app.learning.gallery import GALLERY, Breakage, lab_link
from bijecta.app.views.learn_exercises import show_exercises


def gallery() -> None:
    """Show what breaks a flow."""
    st.markdown(
        "A flow that fails says why, if one knows where to look. **Guess first** what you will see; then open the "
        "failure, press Run, and read the verdict. Then its cure."
    )
    for start in range(0, len(GALLERY), 2):
        for column, breakage in zip(st.columns(2), GALLERY[start : start + 2], strict=False):
            with column.container(border=True):
                _card(breakage)
    show_exercises("volume")


def _card(breakage: Breakage) -> None:
    st.markdown(f"**{breakage.title}**  \n{breakage.why}")
    st.markdown(f":material/visibility: {breakage.look}")
    link = lab_link(breakage.broken, breakage.points)
    st.link_button("Break it in the Lab", link, icon=":material/heart_broken:", width="stretch")
    st.markdown(f":material/healing: {breakage.cure}")
    link = lab_link(breakage.cured, breakage.points)
    st.link_button("Cure it in the Lab", link, icon=":material/healing:", width="stretch")
