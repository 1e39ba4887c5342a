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
        page.wait_for_timeout(2500)
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


MESSY = "x,y,copy,constant,name,gaps\n" + "".join(
    f"{k % 17 + 0.13 * k},{k * k % 23 + 0.07 * k},{k % 17 + 0.13 * k},7,person{k},{'' if k % 5 == 0 else k * 0.37}\n"
    for k in range(200)
)


def upload(page, name, content):
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content.encode()})


def test_a_table_is_judged_fitted_and_taken_home(open_page):
    page = open_page("your-data?recipe=realnvp&epochs=15")
    page.get_by_text("CSV or Parquet").wait_for()
    upload(page, "messy.csv", MESSY)
    page.get_by_text("Before a fit can begin").wait_for()
    shoot(page, "your-data-card")
    page.set_viewport_size({"width": 1280, "height": 1000})
    page.get_by_role("button", name="Leave out what cannot be fitted").click()
    page.get_by_text("Before a fit can begin").wait_for(state="detached")
    page.get_by_role("button", name="Take the example").click()
    page.get_by_text("2,000 rows, 6 columns").wait_for()
    page.get_by_role("button", name="Fit", exact=True).click()
    page.get_by_text("held-out NLL").wait_for(timeout=120_000 * patience())
    shoot(page, "your-data")
    for tab, name in (("Pairs", "pairs"), ("Unusual rows", "unusual"), ("Take home", "files")):
        page.get_by_role("tab", name=tab).click()
        shoot(page, f"your-data-{name}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Synthetic rows (CSV)").click()
    assert download.value.suggested_filename == "bijecta-synthetic.csv"
    assert "Traceback" not in page.content()
