"""The Lab as a visitor meets it: speed, probe, steering, links, cards, screenshots."""

import re
import subprocess
import sys
import time

import pytest

from app.browser.conftest import SHOTS, children, measured, patience

pytestmark = pytest.mark.slow

QUICK = "?recipe=realnvp&layers=3&hidden=16,16&rows=1000&epochs=8"
LONG = "?recipe=nsf&layers=4&hidden=32,32&epochs=2000&patience=0"


def number(page, name):
    return float(page.get_attribute(".lab", f"data-{name}"))


def state(page, wanted, seconds=60):
    page.wait_for_selector(f"#state[data-state={wanted}]", timeout=1000 * seconds * patience())


def run(page):
    page.wait_for_selector("#state[data-state]")
    page.click("#run")
    state(page, "running")


def test_the_first_paint_is_a_trained_moving_flow(visit):
    visit().context.close()  # the server has answered before: what follows is the page alone
    began = time.monotonic()
    page = visit()
    measured("first paint / s", time.monotonic() - began, 3)
    assert page.inner_text("#state") == "trained"
    assert "above the best possible" in page.inner_text("#verdict")
    first = page.input_value("#depth")
    page.wait_for_timeout(1500)
    assert page.input_value("#depth") != first, "it moves by itself"


def test_frames_come_fast_and_clicks_are_answered(visit):
    page = visit(LONG)
    run(page)
    page.wait_for_timeout(1500)
    before, began = number(page, "frames"), time.monotonic()
    page.wait_for_timeout(4000)
    frames = number(page, "frames") - before
    assert frames > 0
    measured("density frames / s while training", frames / (time.monotonic() - began), 10)
    began = time.monotonic()
    page.click("#pause")
    state(page, "paused")
    measured("answer to a click / s", time.monotonic() - began, 0.3)
    numbers = page.inner_text("#numbers")
    page.click("#step")
    page.wait_for_timeout(500)
    assert page.inner_text("#numbers") != numbers, "one step on"
    page.click("#pause")
    state(page, "running")
    began = time.monotonic()
    page.click("#stop")
    state(page, "stopped")
    measured("stop / s", time.monotonic() - began, 1)


def test_the_probe_adds_up_to_log_prob(visit):
    page = visit(QUICK)
    page.click("#run")
    state(page, "done", 120)
    view = page.locator("#view").bounding_box()
    for x, y in ((0.3, 0.4), (0.5, 0.5), (0.72, 0.6)):
        page.mouse.move(view["x"] + x * view["width"], view["y"] + y * view["height"])
        page.wait_for_timeout(400)
        assert number(page, "sum") == pytest.approx(number(page, "log-prob"), abs=1e-5)
    assert page.locator("#probe tr").count() == 5, "base, three layers, sum"
    page.focus("#view")
    before = page.get_attribute(".lab", "data-probe")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(400)
    assert page.get_attribute(".lab", "data-probe") != before


def finished(page):
    page.click("#run")
    state(page, "done", 120)
    return page.inner_text("#numbers"), page.inner_text("#verdict")


def test_a_link_gives_the_same_controls_and_numbers_and_its_script_too(visit, server, tmp_path):
    page = visit(QUICK)
    first = finished(page)
    values = re.findall(r"validation NLL\s+([\d.]+)", first[0])
    query = page.evaluate("location.search")
    assert query == QUICK
    page.reload()
    page.wait_for_selector(".lab[data-frames]", timeout=60_000)
    assert page.evaluate("location.search") == query
    second = finished(page)
    assert re.findall(r"validation NLL\s+([\d.]+)", second[0]) == values
    assert first[1] == second[1]
    with page.expect_download() as download:
        page.click("#files a[data-name='run.py']")
    path = tmp_path / "run.py"
    download.value.save_as(path)
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    assert f"{float(done.stdout):.3f}" == values[0]


def test_a_learning_rate_of_ten_gives_a_readable_answer(visit):
    page = visit(QUICK + "&learning_rate=10")
    page.click("#run")
    page.wait_for_selector("#state[data-state=done], #state[data-state=failed]", timeout=120_000)
    said = page.inner_text("#verdict") + page.inner_text("#card")
    assert "learning rate" in said
    assert "Traceback" not in page.content()


def test_history_can_be_scrubbed(visit):
    page = visit(QUICK)
    page.click("#run")
    state(page, "done", 120)
    kept = int(page.get_attribute("#past", "max"))
    assert kept >= 1
    page.locator("#past").fill("0")
    page.wait_for_timeout(500)
    assert page.is_enabled("#now")
    page.click("#now")
    assert page.is_disabled("#now")


def test_the_worker_ends_with_its_tab_and_tabs_do_not_meddle(visit, server):
    first, second = visit(LONG), visit(QUICK)
    run(first)
    finished(second)
    assert first.get_attribute("#state", "data-state") == "running"
    assert children(server[1].pid), "somebody trains"
    first.context.close()
    second.context.close()
    time.sleep(10)
    assert children(server[1].pid) == []


def test_a_drawn_density_becomes_data_and_part_of_the_link(visit):
    page = visit("?recipe=realnvp&layers=2")
    page.locator("[data-testid=stSelectbox]").first.get_by_role("combobox").click()
    page.get_by_role("option", name="Your picture").click()
    pad = page.locator("canvas[aria-label^='Drawing pad']")
    pad.wait_for()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"], steps=20)
    page.mouse.up()
    page.wait_for_function("location.search.includes('picture=')", timeout=60_000)
    link = page.evaluate("location.search")
    assert len(link) < 1000
    page.reload()
    page.wait_for_selector(".lab[data-frames]", timeout=60_000)
    assert page.evaluate("location.search") == link
    run(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_screenshots(visit, scheme, width):
    page = visit(color_scheme=scheme, viewport={"width": width, "height": 900 if width > 1000 else 1950})
    page.wait_for_timeout(1200)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.click("#play")
    page.locator("#depth").fill("4")
    page.click("#show-samples")
    page.wait_for_timeout(700)
    page.screenshot(path=SHOTS / f"lab-{scheme}-{width}.png", full_page=True)
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "nothing sticks out"
