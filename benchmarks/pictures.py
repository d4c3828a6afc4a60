"""A PNG for every plotly figure of a notebook, since GitHub shows only that: `make pictures`

The stored figure is drawn by plotly's own JavaScript in Chromium, reduced to a palette, and put into the same
output. It carries its figure's digest: one that stayed is not drawn again, and a test finds stale ones."""

import argparse
import base64
import hashlib
import io
import json
from pathlib import Path

from benchmarks.house import ROOT, notebooks
from benchmarks.player import chromium
from dpcdvae.data.files import atomic_write

PLOTLY, PNG = "application/vnd.plotly.v1+json", "image/png"
WIDTH, HEIGHT, COLORS = 700, 420, 64


def digest(figure: dict) -> str:
    "Name a figure by its content."
    return hashlib.sha256(json.dumps(figure, sort_keys=True).encode()).hexdigest()[:16]


def figure_outputs(book: dict) -> list[dict]:
    "List the outputs of a notebook that hold a plotly figure: their data."
    outputs = [o for c in book["cells"] for o in c.get("outputs", [])]
    return [o["data"] for o in outputs if PLOTLY in o.get("data", {})]


def drawn_from(png: str | list) -> str | None:
    "Read from a PNG, in base64, the digest of its figure."
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode("".join(png)))) as image:
        return image.info.get("plotly")


def is_fresh(data: dict) -> bool:
    "Tell whether an output has the picture of its figure."
    return PNG in data and drawn_from(data[PNG]) == digest(data[PLOTLY])


def squeeze(png: bytes, name: str) -> str:  # base64
    "Reduce a PNG to a palette and write its figure's digest into it."
    from PIL import Image, PngImagePlugin

    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    info, out = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text("plotly", name)
    image.save(out, "PNG", optimize=True, pnginfo=info)
    return base64.b64encode(out.getvalue()).decode()


DRAW = """async ([figure, width, height]) => {
  const { data, layout } = figure, div = document.getElementById('figure');
  await Plotly.newPlot(div, data, { ...layout, width, height }, { staticPlot: true });
  const url = await Plotly.toImage(div, { format: 'png', width, height });
  Plotly.purge(div);
  return url.split(',')[1];
}"""


def draw(page, figure: dict) -> str:  # base64
    "Draw a figure on a page that has loaded plotly.js."
    height = min(figure.get("layout", {}).get("height") or HEIGHT, 1200)
    return squeeze(base64.b64decode(page.evaluate(DRAW, [figure, WIDTH, height])), digest(figure))


def picture_book(path: Path, page) -> int:  # pictures drawn
    "Draw the figures of a notebook that have no picture or a stale one."
    book = json.loads(path.read_text(encoding="utf-8"))
    stale = [data for data in figure_outputs(book) if not is_fresh(data)]
    for data in stale:
        data[PNG] = draw(page, data[PLOTLY])
    if stale:
        text = json.dumps(book, sort_keys=True, indent=1, ensure_ascii=False)
        atomic_write(path, text + "\n")
    return len(stale)


def is_stale(path: Path) -> bool:
    "Tell whether a notebook has a figure without its picture."
    return not all(map(is_fresh, figure_outputs(json.loads(path.read_text(encoding="utf-8")))))


def pictures(paths: list[Path]) -> dict[str, int]:  # notebook -> pictures drawn
    "Draw what is missing or stale in notebooks."
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    paths = [path for path in paths if is_stale(path)]
    if paths and not chromium():
        raise FileNotFoundError("no chromium on this machine: apt-get install chromium")
    if not paths:
        return {}
    with sync_playwright() as p:
        page = p.chromium.launch(**chromium()).new_page(viewport=dict(width=WIDTH, height=HEIGHT))
        page.set_content("<div id='figure'></div>")
        page.add_script_tag(content=get_plotlyjs())
        return {path.name: picture_book(path, page) for path in paths}


def main(argv=None) -> None:
    "Draw the figures of some notebooks, or of all."
    p = argparse.ArgumentParser("python -m benchmarks.pictures", description=__doc__.splitlines()[0])
    p.add_argument("notebooks", nargs="*", type=Path, help="all of nbs if not given")
    for name, drawn in pictures(p.parse_args(argv).notebooks or notebooks(ROOT)).items():
        print(f"{name}: {drawn} drawn")


if __name__ == "__main__":
    main()
