"""Cards that say what happened and what to do: no visitor ever sees a traceback."""

import logging

import streamlit as st

from bijecta.errors import BijectaError


def show_error(error: Exception) -> bool:
    """Show a card instead of a traceback.

    Args:
        error: what a page raised.

    Returns:
        True: the error has been shown.
    """
    if isinstance(error, BijectaError):
        st.error(str(error), icon=":material/error:")
        return True
    logging.getLogger(__name__).error("A page of the Lab failed", exc_info=error)
    st.error(
        f"Something in the Lab broke ({type(error).__name__}). Reload the page: the link keeps your settings. "
        "The terminal that runs the Lab shows the details.",
        icon=":material/error:",
    )
    return True
