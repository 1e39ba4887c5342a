"""The Learn page in a real browser: the probe's numbers, links into the Lab, screenshots."""

import json
import math

import pytest

from app.browser.conftest import SHOTS, is_foreign

pytestmark = pytest.mark.slow
IDEAS = ("Change of variables", "Couplings", "Invertibility", "No tearing", "What breaks", "Other models")


@pytest.fixture
def learn(chromium, server):
    """Open the page, and check at the end that nothing went wrong in it and nothing was asked from elsewhere."""
    opened, faults = [], []

    def open_page(idea=IDEAS[0], **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda message: is_fault(message) and faults.append(f"console: {message.text}"))
        page.on("request", lambda request: is_foreign(request.url, server[0]) and faults.append(request.url))
        page.goto(f"{server[0]}/learn?idea={idea.replace(' ', '+')}")
        page.get_by_text("Check yourself").wait_for(timeout=60_000)
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert faults == []


def is_fault(message):
    """Streamlit looks for itself below the address of a page first, and says that it is not there."""
    return message.type == "error" and "/learn/_stcore/" not in message.location["url"]


def numbers(page):
    names = ("x", "z", "base", "slope", "product", "area-base", "area-data", "total")
    return {name: float(page.get_attribute(".warp", f"data-{name}")) for name in names}


def test_the_probe_adds_up_and_areas_are_kept(learn):
    page = learn()
    page.wait_for_selector(".warp[data-total]")
    page.focus("canvas")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowLeft")
        now = numbers(page)
        assert now["base"] == pytest.approx(math.exp(-(now["z"] ** 2) / 2) / math.sqrt(2 * math.pi), rel=1e-9)
        assert now["product"] == pytest.approx(now["base"] * now["slope"], rel=1e-9)
        assert now["area-data"] == pytest.approx(now["area-base"], abs=1e-5)
        assert now["total"] == pytest.approx(1, abs=1e-4)
    shown = [float(page.inner_text(f"#{name}")) for name in ("base", "slope", "product")]
    assert shown == pytest.approx([now[name] for name in ("base", "slope", "product")], abs=5.1e-5)


def test_the_slope_is_that_of_the_map(learn):
    page = learn()
    page.wait_for_selector(".warp[data-total]")
    page.focus("canvas")
    seen = []
    for _ in range(3):
        page.keyboard.press("ArrowRight")
        seen.append(numbers(page))
    before, here, after = seen
    assert after["x"] - before["x"] == pytest.approx(0.1)
    assert here["slope"] == pytest.approx((after["z"] - before["z"]) / 0.1, rel=0.02)


def test_points_are_dragged_and_moved_by_keys_and_the_map_stays_monotone(learn):
    page = learn()
    page.get_by_role("button", name="identity").click()
    assert numbers(page)["slope"] == pytest.approx(1)
    assert numbers(page)["z"] == pytest.approx(numbers(page)["x"])
    box = page.locator("canvas").bounding_box()
    plot, left = 0.8 * box["width"], box["x"] + 0.2 * box["width"]
    middle = (left + plot / 2, box["y"] + plot / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0], middle[1] - plot, steps=8)  # far above the next point: it must stop below it
    page.mouse.up()
    points = json.loads(page.get_attribute(".warp", "data-points"))
    heights = [z for _, z in points]
    assert heights == sorted(heights)
    assert heights[2] == pytest.approx(heights[3] - 0.08)
    assert numbers(page)["total"] == pytest.approx(1, abs=1e-4)
    page.focus("canvas")
    page.keyboard.press("2")
    page.keyboard.press("ArrowDown")
    assert json.loads(page.get_attribute(".warp", "data-points"))[1][1] == pytest.approx(points[1][1] - 0.05)


def test_a_failure_opens_in_the_lab_and_its_cure_too(learn):
    page = learn("What breaks")
    for name in ("Break it in the Lab", "Cure it in the Lab"):
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=name).nth(1).click()  # tails: on rows that no toy set has
        lab = opened.value
        lab.wait_for_selector(".lab[data-frames]", timeout=60_000)
        assert "table=" in lab.url
        assert lab.get_by_text("asks for something impossible").count() == 0
    assert "base=student" in lab.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_screenshots(learn, scheme, width):
    SHOTS.mkdir(parents=True, exist_ok=True)
    for number, idea in enumerate(IDEAS, 1):
        page = learn(idea, color_scheme=scheme, viewport={"width": width, "height": 1700 if width > 1000 else 3400})
        page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')")
        page.wait_for_timeout(1000)
        page.screenshot(path=SHOTS / f"learn-{number}-{scheme}-{width}.png")
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, "nothing sticks out"
        page.context.close()
