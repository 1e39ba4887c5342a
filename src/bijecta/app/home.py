"""The script that Streamlit runs for every visitor: the frame around the pages."""

import streamlit as st

from bijecta.app.pages import lab


def show() -> None:
    """Show the chosen page."""
    st.set_page_config(page_title="bijecta · the Lab", page_icon=":material/blur_on:", layout="wide")
    pages = [st.Page(lab.page, title="Lab", icon=":material/science:", url_path="lab", default=True)]
    st.navigation(pages, position="top").run()


if __name__ == "__main__":
    show()
