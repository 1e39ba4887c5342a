"""The pages Compare and Your data as a visitor meets them, with screenshots."""

import pytest

from app.browser.conftest import SHOTS, is_foreign, patience

pytestmark = pytest.mark.slow

SHAPES = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]


@pytest.fixture
def open_page(chromium, server):
    """Open a page, and check at the end that nothing went wrong in it and nothing was asked from elsewhere."""
    opened, faults = [], []

    def open_one(path):
        context = chromium.new_context(viewport={"width": 1280, "height": 1000})
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("request", lambda request: is_foreign(request.url, server[0]) and faults.append(request.url))
        page.goto(f"{server[0]}/{path}")
        opened.append(context)
        return page

    yield open_one
    for context in opened:
        context.close()
    assert faults == []


def shoot(page, name):
    """Take pictures light and dark, wide and narrow, and check that nothing sticks out."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    for scheme, width in SHAPES:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 1000})
        page.wait_for_timeout(1500)
        height = page.evaluate("document.querySelector('.stMainBlockContainer').scrollHeight")
        page.set_viewport_size({"width": width, "height": int(height) + 60})
        page.wait_for_timeout(1000)
        page.screenshot(path=SHOTS / f"{name}-{scheme}-{width}.png")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"something sticks out at {width} px"


def test_two_runs_are_compared(open_page):
    page = open_page("compare?runs=2&recipe=nsf&layers=2&hidden=32,32&rows=2000&epochs=15"
                     "&2.recipe=nsf&2.layers=2&2.hidden=32,32&2.epochs=15&2.base=mixture")  # fmt: skip
    page.get_by_role("button", name="Train").click()
    page.get_by_text("NLL (nats per row)", exact=True).wait_for(timeout=120_000 * patience())
    page.get_by_text("done, epoch").nth(1).wait_for(timeout=120_000 * patience())
    page.get_by_text("Picture (PNG)").wait_for()
    assert page.get_by_text("base: normal → mixture").count() == 1
    with page.expect_download() as download:
        page.get_by_text("Table (CSV)").click()
    assert download.value.suggested_filename == "bijecta-comparison.csv"
    link = page.evaluate("location.search")
    shoot(page, "compare")
    page.reload()
    page.get_by_text("base: normal → mixture").wait_for()
    assert page.evaluate("location.search") == link
