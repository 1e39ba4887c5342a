"""A real browser in front of a real server."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
SHOTS = PROJECT / "runs" / "screenshots"


def patience():
    """How much longer things may take than on a quiet machine: by as much as its load is above its cores."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@pytest.fixture(scope="session")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is a development tool")
    names = [os.environ.get("CHROME_BIN", ""), "chromium", "chromium-browser", "google-chrome"]
    path = next((found for name in names if name and (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium found: set CHROME_BIN, or install the package chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """Start the app as users do, and say where it is and which process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    command = [sys.executable, "-m", "bijecta", "app", "--no-browser", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env={**os.environ, "OMP_NUM_THREADS": "1"})
    url = f"http://127.0.0.1:{port}"
    while True:
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()  # noqa: S310 (our own server)
            break
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    yield url, process
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()
    assert children(process.pid) == []


@pytest.fixture
def visit(chromium, server):
    """Open a page, and check at the end that nothing went wrong in it and nothing was asked from elsewhere."""
    opened, faults = [], []

    def open_page(query="", **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 1000}, **options})
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"script: {error}"))
        page.on("console", lambda message: message.type == "error" and faults.append(f"console: {message.text}"))
        page.on("request", lambda request: is_foreign(request.url, server[0]) and faults.append(request.url))
        page.goto(f"{server[0]}/{query}")
        page.wait_for_selector(".lab[data-frames]", timeout=60_000)
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()
    assert faults == []


def is_foreign(url, own):
    return not url.startswith((own, own.replace("http", "ws", 1), "data:", "blob:"))


def children(pid):
    """Ids of the processes that a process has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(status.parent.name))
    return found


def measured(name, value, wanted):
    """Say what was measured beside what is wanted; a shared machine may be slower, so no test fails for it."""
    sys.stderr.write(f"\n  {name}: {value:.2f} (wanted {wanted:g}, load {patience():.1f})")
