"""Exercises on the Learn page: a number to find, a check, a hint, a solution."""

import streamlit as st

from bijecta.app.learning.exercises import EXERCISES

SOLVED = "learn.solved"


def show_exercises(*names: str) -> None:
    """Show the exercises that belong to an idea."""
    st.markdown("##### Check yourself")
    for name in names:
        with st.container(border=True):
            _show(name)


def progress() -> str:
    """Say how many exercises have been solved; nothing before the first."""
    solved = st.session_state.get(SOLVED, frozenset())
    return f"{len(solved)} of {len(EXERCISES)} exercises solved." if solved else ""


def _show(name: str) -> None:
    exercise = EXERCISES[name]
    st.markdown(exercise.question)
    given = st.number_input(
        "Your answer", value=None, step=None, format="%g", placeholder="a number, then Enter",
        key=f"learn.exercise.{name}", persist_state="session",
    )  # fmt: skip
    if given is not None:
        _say(name, exercise.check(float(given)))
    left, right = st.columns(2)
    left.expander("Hint").markdown(exercise.hint)
    right.expander("Solution").markdown(exercise.solution)


def _say(name: str, wrong: str) -> None:
    if wrong:
        st.warning(f"Not yet. {wrong}", icon=":material/restart_alt:")
        return
    st.success("Right.", icon=":material/check:")
    solved = st.session_state.get(SOLVED, frozenset())
    if name not in solved:
        st.session_state[SOLVED] = solved | {name}
        st.rerun()  # the count stands above
