"""The script that Streamlit runs for every visitor: the frame around the pages."""

import numpy as np
import streamlit as st
from PIL import Image

from bijecta.app.colours import VIRIDIS
from bijecta.app.views import compare, events, lab, learn, your_data

# The canvas is the page: it gets the room that Streamlit leaves above and beside it.
STYLE = """<style>
.stMainBlockContainer { padding: 4.2rem 2rem 1.5rem; max-width: 92rem; }
@media (max-width: 700px) { .stMainBlockContainer { padding: 3.6rem 1rem 1rem; } }
</style>"""


def show() -> None:
    """Show the chosen page."""
    st.set_page_config(page_title="bijecta · the Lab", page_icon=_icon(), layout="wide")
    st.html(STYLE)
    pages = [
        st.Page(lab.page, title="Lab", icon=":material/science:", url_path="lab", default=True),
        st.Page(compare.page, title="Compare", icon=":material/compare:", url_path="compare"),
        st.Page(your_data.page, title="Your data", icon=":material/table:", url_path="your-data"),
        st.Page(events.page, title="Events", icon=":material/flare:", url_path="events"),
        st.Page(learn.page, title="Learn", icon=":material/school:", url_path="learn"),
    ]
    st.navigation(pages, position="top").run()


def _icon() -> Image.Image:
    """Draw a bent ridge of density as the icon of the tab: an icon by name would be fetched from elsewhere."""
    x, y = np.meshgrid(np.linspace(-1, 1, 32), np.linspace(1, -1, 32))
    ridge = np.exp(-((y - 0.6 * np.sin(3 * x)) ** 2) / 0.08)
    return Image.fromarray(VIRIDIS[(255 * ridge).astype(np.uint8)])


if __name__ == "__main__":
    show()
