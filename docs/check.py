"Whether the built site holds what it promises: links, requests, formulas, search, films, size."

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote, urlsplit

from .browser import chromium, served
from .site import OUT

LIMIT = 60e6  # bytes


class Links(HTMLParser):
    "Collect what a page points to, what it loads, and the anchors that it has."

    def __init__(self, text: str):
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        a = dict(attrs)
        self.anchors |= {v for k in ("id", "name") if (v := a.get(k))}
        if tag == "a" and a.get("href"):
            self.links.add(a["href"])
        loads = a.get("src") or (a.get("href") if tag == "link" and a.get("rel") != "canonical" else None)
        if loads:
            self.loads.add(loads)


def read(out: Path) -> dict[str, Links]:
    "Read all pages of a site; films are single files that are tried in the browser."
    found = {p.relative_to(out).as_posix(): p for p in sorted(out.rglob("*.html"))}
    return {name: Links(p.read_text(encoding="utf-8")) for name, p in found.items()}


def broken(out: Path, pages: dict[str, Links]) -> list[str]:
    "List links to files or anchors that are not there."
    wrong = []
    for name, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or link.startswith("//") or name == "404.html":
                continue
            file = normpath(f"{Path(name).parent}/{unquote(parts.path)}") if parts.path else name
            anchor = unquote(parts.fragment)
            if not (out / file).is_file():
                wrong.append(f"{name}: {link}: no such file")
            elif anchor and file in pages and anchor not in pages[file].anchors | {"__skip", "top"}:
                wrong.append(f"{name}: {link}: no such place")
    return wrong


def foreign(pages: dict[str, Links]) -> list[str]:
    "List what pages would load from elsewhere."
    outside = re.compile(r"(?:https?:)?//")
    return [f"{name}: {x}" for name, page in pages.items() for x in page.loads if outside.match(x)]


def visit(pages: list[str], base: str, browser) -> tuple[list[str], int]:  # what is wrong, formulas
    "Open every page: nothing is asked of another machine, no script fails, every formula is set."
    wrong, formulas = [], 0
    tab = browser.new_page(viewport=dict(width=390, height=800))  # a phone, the narrowest
    here = [""]
    tab.on(
        "request", lambda r: r.url.startswith((base, "data:", "blob:")) or wrong.append(f"{here[0]}: {r.url}")
    )
    tab.on("pageerror", lambda e: wrong.append(f"{here[0]}: {e}"))
    tab.on("response", lambda r: r.status < 400 or wrong.append(f"{here[0]}: {r.status} {r.url}"))
    for name in pages:
        here[0] = name
        tab.goto(base + name, wait_until="load")
        there = tab.locator(".arithmatex").count()
        if there:
            tab.wait_for_function("document.documentElement.dataset.formulas")
        bad = tab.locator(".katex-error").count()
        wrong += [f"{name}: {bad} formulas are not set"] * bool(bad)
        wide = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
        wrong += [f"{name}: {wide} px too wide"] * (wide > 1)
        formulas += there
    tab.close()
    return wrong, formulas


def search(base: str, browser, words: str = "Niggli") -> int:  # results
    "Type into the search box and count what is found."
    tab = browser.new_page()
    tab.goto(base + "index.html")
    tab.click("label[for=__search].md-search__icon, .md-search__input")
    tab.fill(".md-search__input", words)
    tab.wait_for_selector(".md-search-result__item", timeout=20_000)
    number = tab.locator(".md-search-result__item").count()
    assert words.lower() in tab.locator(".md-search-result__item").first.inner_text().lower()
    tab.close()
    return number


def film(base: str, browser) -> tuple[str, str]:  # read-out before and after
    "Play the first film of the page of films."
    tab = browser.new_page()
    tab.goto(base + "films.html")
    frame = tab.frame_locator("iframe").first
    button = frame.locator("button[aria-label=Play]")
    button.wait_for(timeout=20_000)
    text = lambda: frame.locator(".dpv-count").inner_text()
    before = text()
    button.click()
    tab.wait_for_timeout(3000)
    after = text()
    tab.close()
    return before, after


def figure(base: str, browser) -> int:  # lines drawn
    "Make a figure interactive."
    tab = browser.new_page()
    tab.goto(base + "course/02_noise.html")
    tab.locator("button.dp-live").first.click()
    tab.wait_for_selector(".dp-plot .scatterlayer .trace", timeout=20_000)
    number = tab.locator(".dp-plot .scatterlayer .trace").count()
    tab.close()
    return number


def check(out: Path = OUT) -> None:
    "Check the whole site; what is wrong is listed, and is an error."
    pages = read(out)
    wrong = broken(out, pages) + [f"loaded from elsewhere: {x}" for x in foreign(pages)]
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    wrong += [f"{size / 1e6:.0f} MB are more than {LIMIT / 1e6:.0f}"] * (size > LIMIT)
    links = sum(len(p.links) for p in pages.values())
    print(f"{len(pages)} pages, {links} links, {size / 1e6:.1f} MB", flush=True)
    with served(out) as base, chromium() as browser:
        more, formulas = visit([n for n in pages if n != "404.html"], base, browser)
        wrong += more
        print(f"{formulas} formulas", flush=True)
        print(f"{search(base, browser)} pages are found for Niggli", flush=True)
        before, after = film(base, browser)
        print(f"film: {before!r}, after three seconds {after!r}", flush=True)
        wrong += ["the film does not play"] * (before == after)
        print(f"figure: {figure(base, browser)} curves", flush=True)
    if wrong:
        sys.exit("\n".join(wrong))
