"""Take a picture of every explorer, in a JupyterLab that runs the tour, and of a film's page.

`make screenshots` runs it. They go to runs/screenshots; small copies of those that README shows go to
nbs/images."""

import json
import tempfile
from pathlib import Path

from conftest import ROOT, Lab, until, watch
from hand import drag, player, settled
from PIL import Image
from playwright.sync_api import sync_playwright

from benchmarks.player import chromium

OUT, SMALL, WIDTH = (
    ROOT / "runs" / "screenshots",
    ROOT / "nbs" / "images",
    880,
)  # WIDTH: most pixels of a picture in README
README = ("forward", "sampler", "compare")
MORE = [
    "from dpcdvae.viz.player import FilmPlayer\nfrom dpcdvae.viz.view import view\nFilmPlayer(films, "
    "bonds=True, arrows=True, trails=True, target=True, supercell=1, frame=40)",
    "view(crystals[3], viewer='player', bonds=True)",
    "films[0].to_html('film.html')",
]


def tour() -> dict:
    "The tour, without outputs, and some cells more."
    book = json.loads((ROOT / "nbs/tutorials/00_tour.ipynb").read_text())
    book["cells"] += [
        dict(cell_type="code", id=f"more{i}", metadata={}, source=code) for i, code in enumerate(MORE)
    ]
    for c in book["cells"]:
        if c["cell_type"] == "code":
            c.update(outputs=[], execution_count=None)
    return book


class TrajectoryRecorder:
    "Finds the output of a cell by its code, waits until its player is still, and takes its picture."

    def __init__(self, lab, page):
        self.lab, self.page = lab, page

    def at(self, code: str) -> str:
        found = self.page.evaluate(
            """code => {
              const all = window.jupyterapp.shell.currentWidget.content.widgets;
              const holds = ({ type, sharedModel }) => type === 'code' && sharedModel.source.includes(code);
              const i = all.findIndex(w => holds(w.model));
              all[i].node.dataset.shot = i;
              all[i].node.scrollIntoView({ block: 'center' });
              return i;
            }""",
            code,
        )
        self.page.wait_for_timeout(300)
        return f'[data-shot="{found}"]'

    def press(self, at: str, name: str):
        self.page.click(f"{at} button:has-text('{name}')")

    def still(self, at: str):
        for i in range(self.page.locator(f"{at} .dpv").count()):
            view = f"document.querySelectorAll('{at} .dpv')[{i}].player"
            self.page.locator(f"{at} .dpv").nth(i).scroll_into_view_if_needed()
            until(self.page, f"{view}.session.drawn.atoms > 0 && !{view}.dirty")
        self.page.wait_for_timeout(1200)  # the smoothing of a picture that stands still, and plotly

    def take(self, at: str, name: str, what: str = ".jp-OutputArea-output"):
        self.still(at)
        self.page.mouse.move(2, 2)
        self.page.locator(f"{at} {what}").last.screenshot(path=OUT / f"{name}.png", animations="disabled")
        print(OUT / f"{name}.png", flush=True)


def drag_to(page, slider: str, part: float):
    "Drag the first of some sliders from its left end."
    handle, box = (
        page.locator(f"{slider} .noUi-handle").first.bounding_box(),
        page.locator(slider).first.bounding_box(),
    )
    y = handle["y"] + handle["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + part * box["width"], y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(2500)  # the crystal there is decoded


def explorers(lab, page):
    "Run the tour, move what can be moved, and take pictures."
    lab.open_book(page, "tour.ipynb", tour())
    page.evaluate("void window.jupyterapp.commands.execute('application:toggle-left-area')")
    lab.run_all(page)
    shot = TrajectoryRecorder(lab, page)
    at = shot.at("picker = ")
    page.click(f"{at} .dpcdvae-gallery button:has-text('(221)')")
    shot.take(at, "picker")
    shot.take(shot.at("forward = "), "forward")
    shot.take(shot.at("SchedulePlayground(picker"), "playground")
    at = shot.at("sampler = LiveSampler")
    shot.press(at, "Start")
    until(page, f"{player(at + ' .dpv')}.session.drawn.frame >= 30", 120000)
    shot.press(at, "Pause")
    shot.take(at, "sampler")
    shot.press(at, "Resume")
    until(page, f"{player(at + ' .dpv')}.session.drawn.frame === 60", 120000)
    shot.take(at, "sampler-end")
    at = shot.at("FilmCompare(films")
    page.locator(f"{at} .js-plotly-plot").scroll_into_view_if_needed()
    box = page.locator(f"{at} .js-plotly-plot").bounding_box()
    page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.5 * box["height"])
    shot.take(at, "compare")
    at = shot.at("scrubber = ")
    drag(page, 0.5, f"{at} .dpv")
    settled(page, 30, root=f"{at} .dpv")
    shot.take(at, "scrubber")
    shot.take(shot.at("film_strip"), "strip")
    at = shot.at("LatentExplorer(model")
    drag_to(page, f"{at} .noUi-target", 0.5)
    shot.take(at, "latent")
    shot.take(shot.at("FilmPlayer(films"), "player")
    shot.take(shot.at("view(crystals"), "view")


def a_page(browser, path: Path):
    "Take a picture of a film's page, half-way."
    page = browser.new_page(viewport=dict(width=900, height=900))
    page.goto(path.as_uri())
    settled(page, 0)
    drag(page, 0.5)
    until(page, f"!{player()}.dirty")
    page.wait_for_timeout(1000)
    page.screenshot(path=OUT / "page.png", full_page=True)


def shrink(name: str) -> Path:
    "Make the small copy for README."
    image = Image.open(OUT / f"{name}.png").convert("RGB")
    image.thumbnail((WIDTH, WIDTH), Image.LANCZOS)
    SMALL.mkdir(exist_ok=True)
    image.save(SMALL / f"{name}.webp", quality=80, method=6)
    return SMALL / f"{name}.webp"


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as p, tempfile.TemporaryDirectory() as folder:
        browser, lab = p.chromium.launch(**(chromium() or {})), Lab(Path(folder))
        try:
            page = watch(
                browser.new_context(viewport=dict(width=1250, height=1100)).new_page(),
                [lab.url, lab.url.replace("http", "ws")],
            )
            page.set_default_timeout(120000)
            explorers(lab, page)
            a_page(browser, Path(folder) / "work/film.html")
        finally:
            lab.end()
    for name in README:
        print(shrink(name), f"{(SMALL / f'{name}.webp').stat().st_size / 1000:.0f} kB")
