"""The site that `make docs` has built: links within it lead somewhere, pages fit wide and narrow screens."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from app.browser.conftest import chromium  # noqa: F401 (a fixture)

SITE = Path(__file__).parents[2] / "docs" / "_build" / "html"
PAGES = sorted(SITE.rglob("*.html"))
SHOWN = [path for path in PAGES if "_modules" not in path.parts and "_static" not in path.parts]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PAGES, reason="the site is not built: run make docs first"),
]


class Links(HTMLParser):
    """Collect what a page points to, and what can be pointed to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.anchors.update({named.get("id"), named.get("name")})
        self.targets += [named[key] for key in ("href", "src") if named.get(key) and tag != "form"]


def test_every_link_within_the_site_leads_somewhere():
    found = {path: Links(path.read_text(encoding="utf8")) for path in SHOWN}
    dead = []
    for path, links in found.items():
        for target in links.targets:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                continue
            there = (path.parent / unquote(address.path)).resolve() if address.path else path
            anchors = found[there].anchors if there in found else {unquote(address.fragment)}
            if not there.exists() or (address.fragment and unquote(address.fragment) not in anchors):
                dead.append((path.name, target))
    assert not dead


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_screen_and_show_their_pictures(chromium, width):  # noqa: F811 (the fixture)
    page = chromium.new_page(viewport={"width": width, "height": 900})
    faults = []
    page.on("pageerror", lambda error: faults.append((page.url, str(error))))
    page.on("request", lambda request: request.url.startswith("http") and faults.append((page.url, request.url)))
    for path in SHOWN:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth") > width:
            faults.append((path.name, "wider than the screen"))
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
        faults += [(path.name, source) for source in broken]
    page.close()
    assert not faults
