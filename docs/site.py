"The whole site: sources to Markdown in a folder, navigation, mkdocs."

import logging
import os
import shutil
import time
from pathlib import Path

from benchmarks.house import ROOT, cell_text, exports, read_cells

from . import films, slides
from .minutes import measured
from .pages import NBS, exported, lessons, markdown, notebook, pages, place_of, put_in, split_title

HERE = Path(__file__).parent
OUT = ROOT / "_site"
WORK = ROOT / "runs/docs"
WHAT = dict(
    crystal="lattice, batches, neighbours, symmetry, random numbers",
    data="files, formats, data sets, loaders",
    diffusion="schedules, forward processes, samplers, trajectories",
    nn="bases, encoder, losses, heads, GemNet-T, a transformer, the denoiser",
    model="configuration, DP-CDVAE itself, prior, checkpoints, training",
    generation="decoding, constraints, jobs, optimisation",
    evaluation="validity, matching, fingerprints, metrics, reports",
    energy="relaxation, energies, hulls, stability",
    viz="plots, the player, explorers",
    cli="the command `dpcdvae`",
)


def of(folder: str) -> list[Path]:
    "List the sources of one folder of nbs, in order."
    return [p for p in pages() if p.parent == NBS / folder]


def subtitle(path: Path) -> str:
    "Read the line under the title of a notebook."
    first = next(c for c in read_cells(path) if c["cell_type"] == "markdown")
    return split_title(cell_text(first))[1]


def names(path: Path) -> list[str]:
    "List the public names that a chapter defines."
    cells = [cell_text(c) for c in read_cells(path) if c["cell_type"] == "code"]
    return [d.name for c in cells for d in exported(c)]


def entry(path: Path) -> dict[str, str]:
    "Name a page in the navigation."
    return {pages()[path].title: place_of(path)}


def listed(paths: list[Path]) -> str:
    "List notebooks with their subtitles, for a page of any folder."
    rows = [f"- [{pages()[p].title}](../{place_of(p)}): {subtitle(p)}" for p in paths]
    return "\n".join(rows)


def course_page() -> str:
    "Write the page that opens the course."
    decks = " · ".join(f'<a href="slides/{p.stem}.html">{p.stem[:2].lstrip("0")}</a>' for p in lessons())
    rows = ["| lesson | about | minutes |\n|---|---|---|"]
    for p in lessons():
        core, more = measured(p)
        rows[0] += f"\n| [{pages()[p].title}](../{place_of(p)}) | {subtitle(p)} | {core} (+{more}) |"
    return f"""# Course

Diffusion models of crystals, learnt by doing, on a laptop and off line.
The core path of a lesson takes 60 to 90 minutes, and a line below each heading counts them;
what is marked as going further is extra (in brackets). A lesson runs in under a minute on two cores.
Its exercises check themselves, and a hint names the mistake. Here lessons are to be read;
to work on one, open its notebook in Jupyter (`make setup`, then `make lab`).

{rows[0]}

Slides of the lessons: {decks}. The [glossary](glossary.md) has every term.
Teachers find a class of 90 minutes and an assignment in the [teacher's pack](teacher.md).
"""


def reference_page() -> str:
    "Write the page that opens the reference: all chapters with the names that they define."
    parts = ["# Reference", "A folder is a stage on the way of a crystal, a chapter is a module."]
    for folder in WHAT:
        rows = ["| chapter | defines |\n|---|---|"]
        for p in of(folder):
            defined = ", ".join(f"[`{n}`](../{place_of(p)}#{n})" for n in names(p))
            rows[0] += f"\n| [{pages()[p].title}](../{place_of(p)}) | {defined} |"
        parts += [f"## {folder}", WHAT[folder][0].upper() + WHAT[folder][1:] + ".", *rows]
    return "\n\n".join(parts) + "\n"


def section_page(title: str, text: str, paths: list[Path]) -> str:
    "Write the page that opens a section."
    return f"# {title}\n\n{text}\n\n{listed(paths)}\n"


LABS = (
    "Each lab asks one question of several models; the answers come from stored runs, which can be repeated."
)


def made(folder: Path) -> dict[str, str]:
    "Write the pages that no source stands behind: place -> Markdown."
    return {
        "course/index.md": course_page(),
        "reference/index.md": reference_page(),
        "labs/index.md": section_page("Labs", LABS, of("labs")),
        "films.md": films.write(folder),
    }


def course_nav() -> list:
    checks = [entry(p) for p in of("course") if p.suffix == ".ipynb" and exports(p)]
    texts = [entry(p) for p in of("course") if p.suffix == ".md" and p.name != "README.md"]
    return [
        "course/index.md",
        *map(entry, lessons()),
        *texts,
        {"Checks": [*checks, entry(NBS / "course/README.md")]},
    ]


def nav() -> list:
    "Build the navigation from what is there."
    return [
        {"Home": "index.md"},
        {"Course": course_nav()},
        {"How to": [entry(p) for p in sorted((*of("howto"), *of("tutorials")), key=lambda p: p.name)]},
        {"Reference": ["reference/index.md", *({f: [entry(p) for p in of(f)]} for f in WHAT)]},
        {"Labs": ["labs/index.md", *map(entry, of("labs"))]},
        {"Results": ["results/index.md", *map(entry, of("results")), {"Findings": "findings.md"}]},
        {"Films": "films.md"},
        {"Project": [{"Contributing": "contributing.md"}, {"Changelog": "changelog.md"}]},
    ]


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_pages(folder: Path, made: dict[str, str]) -> dict[str, list[str]]:  # place -> HTML to be put in
    "Write all sources and what was made as Markdown, with notebooks and pictures next to them."
    kept = {}
    for page in pages().values():
        render = notebook if page.source.suffix == ".ipynb" else markdown
        text, kept[page.place] = render(page, folder)
        put(folder / page.place, text)
        if page.source.suffix == ".ipynb":
            shutil.copy(page.source, folder / Path(page.place).parent)
    for place, text in made.items():
        put(folder / place, text)
    return kept


def assets(folder: Path) -> None:
    "Copy style, scripts, fonts and pictures; plotly.js comes from the installed plotly."
    import plotly

    shutil.copytree(HERE / "assets", folder / "assets")
    shutil.copytree(HERE / "vendor/katex", folder / "assets/katex")
    shutil.copy(HERE / "vendor/iframe-worker/iframe-worker.js", folder / "assets")
    shutil.copytree(NBS / "images", folder / "images")
    shutil.copy(Path(plotly.__file__).parent / "package_data/plotly.min.js", folder / "assets")


class Raw:
    "A plugin of mkdocs that puts the kept HTML of each page back."

    def __init__(self, kept: dict[str, list[str]]):
        self.kept = kept

    def on_page_content(self, html, page, **_):
        return put_in(html, self.kept.get(page.file.src_uri, []))


def configuration(folder: Path, out: Path):
    "Load mkdocs.yml and add what depends on the repository."
    from mkdocs.config import load_config

    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    return load_config(
        str(HERE / "mkdocs.yml"), docs_dir=str(folder), site_dir=str(out), nav=nav(), strict=True
    )


def build(out: Path = OUT) -> None:
    "Build the site; a broken link is an error."
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.plugins import BasePlugin

    start = time.perf_counter()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    shutil.rmtree(WORK, ignore_errors=True)
    kept = write_pages(WORK, made(WORK))
    assets(WORK)
    slides.write(WORK / "course/slides", lessons())
    config = configuration(WORK, out)
    plugin = type("RawPlugin", (Raw, BasePlugin), {})(kept)
    config.plugins["raw"] = plugin
    mkdocs_build(config)
    files = [p for p in out.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files) / 1e6
    number = len(list(out.rglob("*.html")))
    print(f"{out.name}: {number} pages, {size:.1f} MB, {time.perf_counter() - start:.0f} s")
