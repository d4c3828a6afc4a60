"A real browser on the built site: served as a host would, and pictures to look at."

import contextlib
import functools
import http.server
import re
import threading
from pathlib import Path

from .site import OUT


class Quiet(http.server.SimpleHTTPRequestHandler):
    "Serve files without a line for each."

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder: Path):
    "Serve a folder on a free port of this machine."
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()


@contextlib.contextmanager
def chromium():
    "Start the browser that tests use."
    from playwright.sync_api import sync_playwright

    from benchmarks.player import chromium as found

    if not found():
        raise FileNotFoundError("no chromium on this machine: apt-get install chromium")
    with sync_playwright() as p:
        browser = p.chromium.launch(**found())
        yield browser
        browser.close()


def look(places: list[str], to: Path, out: Path = OUT) -> None:
    "Take pictures of pages, light and dark, as wide as a desktop's and as a phone's."
    to.mkdir(parents=True, exist_ok=True)
    with served(out) as base, chromium() as browser:
        for scheme in ("light", "dark"):
            for width in (1280, 390):
                view = browser.new_context(viewport=dict(width=width, height=900), color_scheme=scheme)
                page = view.new_page()
                for place in places:
                    file, _, top = place.partition("@")
                    page.goto(base + file, wait_until="networkidle")
                    page.evaluate(f"window.scrollTo(0, {top or 0})")
                    page.wait_for_timeout(400)
                    name = re.sub(r"\W+", "-", place)
                    page.screenshot(path=to / f"{name}-{scheme}-{width}.png")
                view.close()
