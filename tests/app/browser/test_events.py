"""The page Events as a visitor meets it: truth, a fit, histograms, the asymmetry, files; with screenshots."""

import io

import numpy as np
import pytest

from app.browser.conftest import patience
from app.browser.test_pages_a import open_page, shoot  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow


def test_events_are_learned_and_taken_home(open_page):  # noqa: F811
    page = open_page("events?events=20000&seconds=6")
    page.get_by_text("This is the truth at 80 GeV").wait_for(timeout=60_000 * patience())
    shoot(page, "events-truth")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.get_by_role("button", name="Fit", exact=True).click()
    page.get_by_text("KL to the exact density").wait_for(timeout=120_000 * patience())
    shoot(page, "events")
    for tab in ("Asymmetry", "Take home"):
        page.get_by_role("tab", name=tab).click()
        shoot(page, f"events-{tab.split()[0].lower()}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Events at 80 GeV").click()
    assert download.value.suggested_filename == "bijecta-events.npz"
    with open(download.value.path(), "rb") as file:
        assert len(np.load(io.BytesIO(file.read()))["momenta"]) == 10_000
    link = page.evaluate("location.search")
    assert "process=muon-pairs" in link
    assert "Traceback" not in page.content()
