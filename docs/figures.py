"The figures of the lessons for print: SVG, PDF and PNG, drawn by plotly's own JavaScript in a browser."

import base64
from pathlib import Path
from urllib.parse import unquote

from benchmarks.house import ROOT, read_cells

from .browser import chromium
from .pages import FIGURE, WIDGET, lessons

OUT = ROOT / "_figures"
WIDTH, HEIGHT = 700, 420  # px, where a figure does not say
SCALE = 3  # pixels of a PNG for one of the figure
DRAW = """async ([figure, width, height, format, scale]) => {
  const layout = { ...figure.layout, width, height, paper_bgcolor: "white" };
  return Plotly.toImage({ data: figure.data, layout }, { format, width, height, scale });
}"""
PAGE = "<style>@page{{size:{}px {}px;margin:0}}body{{margin:0}}svg{{display:block}}</style>{}"


def figures(path: Path) -> list[dict]:
    "List what is drawn in a lesson: data of plotly, or the still picture of a live view."
    outputs = [o.get("data", {}) for c in read_cells(path) for o in c.get("outputs", [])]
    return [d for d in outputs if FIGURE in d or WIDGET in d and "image/png" in d]


def as_svg(tab, figure: dict, size: tuple[int, int]) -> str:
    "Draw a figure as SVG; three-dimensional scenes are pictures inside it."
    return unquote(tab.evaluate(DRAW, [figure, *size, "svg", 1]).split(",", 1)[1])


def draw(drawer, printer, figure: dict, stem: Path) -> list[Path]:
    "Write one figure in three formats."
    layout = figure.get("layout", {})
    size = (int(layout.get("width") or WIDTH), int(layout.get("height") or HEIGHT))
    svg = as_svg(drawer, figure, size)
    stem.with_suffix(".svg").write_text(svg, encoding="utf-8")
    png = drawer.evaluate(DRAW, [figure, *size, "png", SCALE]).split(",", 1)[1]
    stem.with_suffix(".png").write_bytes(base64.b64decode(png))
    printer.set_content(PAGE.format(*size, svg))
    printer.pdf(path=stem.with_suffix(".pdf"), prefer_css_page_size=True, print_background=True)
    return [stem.with_suffix(s) for s in (".svg", ".png", ".pdf")]


def write(folder: Path = OUT, paths: list[Path] | None = None) -> list[Path]:
    "Write the figures of lessons, numbered as they stand there."
    from plotly.offline import get_plotlyjs

    folder.mkdir(parents=True, exist_ok=True)
    made = []
    with chromium() as browser:
        drawer, printer = browser.new_page(), browser.new_page()
        drawer.add_script_tag(content=get_plotlyjs())
        for path in paths or lessons():
            for i, data in enumerate(figures(path), 1):
                stem = folder / f"{path.stem}-{i}"
                if FIGURE in data:
                    made += draw(drawer, printer, data[FIGURE], stem)
                else:
                    stem.with_suffix(".png").write_bytes(base64.b64decode("".join(data["image/png"])))
                    made.append(stem.with_suffix(".png"))
    return made
