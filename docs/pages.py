"Notebooks and Markdown files as pages of the site: text, code, outputs, figures, cards of what is defined."

import ast
import base64
import json
import re
from collections import Counter
from configparser import ConfigParser
from functools import lru_cache
from html import escape, unescape
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import NamedTuple

from benchmarks.house import ROOT, cell_text, exports, read_cells

from .api import Definition, card, definitions

NBS = ROOT / "nbs"
FIGURE = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
ITEM = re.compile(r"^\s*([-*+]|\d+\.)\s")
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
NAME = re.compile(r"(?<![\[`])`([A-Za-z_][\w/]*)(\(\))?`(?![\]`])")
LARGE = 20_000  # characters of one output; the rest is in the notebook


class Page(NamedTuple):
    "One page: its source, its place in the site, and what the header of the browser says."

    source: Path
    place: str  # such as crystal/00_lattice.md
    title: str


@lru_cache
def repository() -> str:
    "Read where the sources are shown on the web."
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    return settings["DEFAULT"]["git_url"] + "/blob/" + settings["DEFAULT"]["branch"]


def directives(text: str) -> set[str]:
    "Read the directives at the top of a cell: export, hide, exercise and so on."
    top = re.match(r"(?:\s*#\|.*\n?)*", text)[0]
    return set(re.findall(r"#\|\s*(\w+)", top))


def without_directives(text: str) -> str:
    "Drop the lines of directives."
    return re.sub(r"^#\|.*\n?", "", text, flags=re.M).strip("\n")


def exported(text: str) -> list[Definition]:
    "Describe what a cell adds to the public names of its module."
    return definitions(without_directives(text)) if "export" in directives(text) else []


def place_of(path: Path) -> str:
    "Tell where a source stands in the site."
    if not path.is_relative_to(NBS):
        return OUTSIDE[path.relative_to(ROOT).as_posix()]
    return path.relative_to(NBS).with_suffix(".md").as_posix().replace("README.md", "format.md")


OUTSIDE = {  # pages that are no notebooks: source -> place
    "results/README.md": "results/index.md",
    "findings/README.md": "findings.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}


def title_of(path: Path) -> str:
    "Read the first heading of a notebook or a Markdown file."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join(cell_text(c) for c in json.loads(text)["cells"] if c["cell_type"] == "markdown")
    found = re.search(r"^# (.+)$", text, re.M)
    return re.sub(r"[`*]", "", found[1]).strip() if found else path.stem


def sources() -> list[Path]:
    "List everything that becomes a page."
    books = [p for p in sorted(NBS.rglob("*")) if p.suffix in (".ipynb", ".md")]
    hidden = (".ipynb_checkpoints", "_proc")
    return [p for p in books if not set(hidden) & set(p.parts)] + [ROOT / f for f in OUTSIDE]


@lru_cache
def pages() -> dict[Path, Page]:
    "Describe all pages by their source."
    return {p: Page(p, place_of(p), title_of(p)) for p in sources()}


def lessons() -> list[Path]:
    "List the lessons of the course."
    return [p for p in sorted((NBS / "course").glob("*.ipynb")) if not exports(p)]


@lru_cache
def symbols() -> dict[str, str]:
    "Find the page of each public name that is exported once."
    found = Counter()
    where = {}
    for path in pages():
        if path.suffix == ".ipynb" and exports(path):
            for d in (
                d for c in read_cells(path) if c["cell_type"] == "code" for d in exported(cell_text(c))
            ):
                found[d.name] += 1
                where[d.name] = place_of(path)
    return {name: place for name, place in where.items() if found[name] == 1}


@lru_cache
def lines(module: str) -> dict[str, int]:
    "Find the line of each definition in the exported module."
    path = ROOT / f"dpcdvae/{module.replace('.', '/')}.py"
    body = ast.parse(path.read_text(encoding="utf-8")).body if path.exists() else []
    return {n.name: n.lineno for n in body if hasattr(n, "name")}


def target(link: str, page: Page) -> str:
    "Follow a link of a source: to a page of the site, or to the repository where there is none."
    path, _, anchor = link.partition("#")
    if re.match(r"\w+:", link) or not path:
        return link
    file = Path(normpath(page.source.parent / path))
    file = file / "README.md" if file.is_dir() and file / "README.md" in pages() else file
    if file in pages():
        there = relpath(pages()[file].place, str(PurePosixPath(page.place).parent))
        return f"{there}#{anchor}" if anchor else there
    if file.is_relative_to(NBS / "images"):
        return relpath("images/" + file.name, str(PurePosixPath(page.place).parent))
    return f"{repository()}/{file.relative_to(ROOT).as_posix()}" + (f"#{anchor}" if anchor else "")


@lru_cache
def chapters() -> dict[str, str]:
    "Where notebooks are, by the name that prose gives them, such as nn/03_heads."
    return {p.relative_to(NBS).with_suffix("").as_posix(): p for p in pages() if p.suffix == ".ipynb"}


def linked(found: re.Match, page: Page) -> str:
    "Make a name in backticks a link, where it is a chapter or a name of the library."
    name, here = found[1], str(PurePosixPath(page.place).parent)
    if name in chapters():
        return f"[{found[0]}]({relpath(place_of(chapters()[name]), here)})"
    special = "_" in name or name != name.lower() or symbols().get(name) == page.place
    if special and name in symbols():
        return f"[{found[0]}]({relpath(symbols()[name], here)}#{name})"
    return found[0]


def spaced(text: str) -> str:
    "Set empty lines where Python's Markdown needs them: before lists and tables, around displayed formulas."
    out, fence, last = [], False, ""
    for line in text.split("\n"):
        fence ^= line.lstrip().startswith("```")
        starts = (ITEM.match(line) and not ITEM.match(last) and not last.startswith(" ")) or (
            line.startswith("|") and not last.startswith("|")
        )
        if starts and last.strip() and not fence:
            out.append("")
        out.append(line)
        last = line
    return re.sub(r"(?<!`)\$\$(.+?)\$\$([.,;]?)", displayed, "\n".join(out), flags=re.S)


def displayed(found: re.Match) -> str:
    "Give a displayed formula a paragraph of its own; a full stop after it goes inside."
    return f"\n\n$$\n{found[1].strip()}{found[2]}\n$$\n\n"


def outside_code(text: str, change) -> str:
    "Change a text, but not its blocks of code."
    parts = re.split(r"(^```.*?^```[^\n]*$)", text, flags=re.M | re.S)
    return "".join(p if p.startswith("```") else change(p) for p in parts)


def outside_formulas(text: str, change) -> str:
    "Change a text, but neither its blocks of code nor its headings nor its formulas."
    parts = re.split(r"(^```.*?^```[^\n]*$|\$\$.+?\$\$|\$[^$\n]+\$|^#[^\n]*$)", text, flags=re.M | re.S)
    return "".join(p if i % 2 else change(p) for i, p in enumerate(parts))


def prose(text: str, page: Page) -> str:
    "Make Markdown of a notebook fit for the site: links, lists, folded parts."
    text = outside_formulas(text, lambda t: LINK.sub(lambda m: target(m[0], page), t))
    text = outside_formulas(text, lambda t: NAME.sub(lambda m: linked(m, page), t))
    text = re.sub(r"<details>\s*<summary>", '<details markdown="1">\n<summary>', text)
    return outside_code(text, spaced)


def fenced(text: str, language: str = "") -> str:
    "Fence a block of code, or of text."
    marks = "`" * max(3, *(len(m) + 1 for m in re.findall(r"`{3,}", text) or [""]))
    return f"{marks}{language}\n{text.rstrip()}\n{marks}"


def caption(figure: dict) -> str:
    "Say in words what a figure shows: its title, or its axes."
    layout = figure.get("layout", {})
    text = lambda part: re.sub(r"<[^>]+>", " ", unescape((part or {}).get("title", {}).get("text", "") or ""))
    if text(layout):
        return text(layout)
    x, y = text(layout.get("xaxis")), text(layout.get("yaxis"))
    return f"{y or 'values'} against {x}" if x else "Figure"


def html_output(html: str) -> str:
    "Show an output of HTML; one that brings its own style gets a frame, so that the page keeps its own."
    if "<style" not in html:
        return f"<div class=dp-html>{html}</div>"
    return f'<iframe class=dp-frame loading=lazy title=output srcdoc="{escape(html, quote=True)}"></iframe>'


class Writer:
    "What one page is written with: the place of its pictures, and the HTML that Markdown must not touch."

    def __init__(self, page: Page, folder: Path):
        self.page, self.folder = page, folder
        self.number = 0
        self.html: list[str] = []

    def raw(self, html: str) -> str:
        "Keep HTML for later and leave a mark in its place."
        self.html.append(html)
        return f'<div class="dp-raw">{len(self.html) - 1}</div>'

    def picture(self, data: str) -> str:  # name
        "Write a PNG next to the page."
        self.number += 1
        name = f"{PurePosixPath(self.page.place).stem}-{self.number}.png"
        path = self.folder / PurePosixPath(self.page.place).parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))
        return name

    def figure(self, data: dict) -> str:
        "Show the stored picture of a figure; its data wait in the page for a click."
        found = data.get(FIGURE)
        words = escape(caption(found) if found else "A picture of a live view", quote=True)
        name = self.picture("".join(data["image/png"])) if "image/png" in data else ""
        image = f"<img src='{name}' alt='{words}' loading=lazy>" if name else f"<p>{words}</p>"
        if WIDGET in data:
            image += "<figcaption>A still picture: in Jupyter this view can be moved.</figcaption>"
        if found:
            payload = json.dumps({k: found[k] for k in ("data", "layout") if k in found}, ensure_ascii=False)
            payload = payload.replace("</", "<\\/")
            image += "<button type=button class=dp-live>interactive</button>"
            image += f"<script type='application/json'>{payload}</script>"
        return self.raw(f"<figure class=dp-figure>{image}</figure>")

    def output(self, out: dict) -> str:
        "Show one output in the richest form that a page can hold."
        data = out.get("data", {})
        if "image/png" in data or FIGURE in data:
            return self.figure(data)
        if "text/markdown" in data:
            return prose("".join(data["text/markdown"]), self.page)
        if "text/html" in data:
            return self.raw(html_output("".join(data["text/html"])))
        text = "".join(out.get("text", "")) or "".join(data.get("text/plain", ""))
        text = re.sub(r"\x1b\[[\d;]*m", "", text)
        if len(text) > LARGE:
            text = text[:LARGE] + "\n… (the notebook has the rest)"
        return (
            self.raw(f"<pre class=dp-text data-search-exclude>{escape(text.rstrip())}</pre>")
            if text.strip()
            else ""
        )


def folded(summary: str, code: str) -> str:
    "Fold code away."
    head = '<details class="dp-source" markdown="1" data-search-exclude>'
    return f"{head}\n<summary>{summary}</summary>\n\n{code}\n\n</details>"


def count(text: str) -> str:
    n = text.count("\n") + 1
    return f"{n} line{'s' * (n > 1)}"


def cards(text: str, module: str, write: Writer) -> list[str]:
    "Write a heading and a card for each public definition of a cell."
    parts = []
    for d in exported(text):
        line = lines(module).get(d.name, 1)
        link = f"{repository()}/dpcdvae/{module.replace('.', '/')}.py#L{line}"
        parts += [f"### `{d.name}` {{ #{d.name} .dp-symbol }}", write.raw(card(d, link))]
    return parts


def printed_together(outputs: list[dict]) -> list[dict]:
    "Join what a cell printed in several pieces, which only the time of printing made."
    made = []
    for out in outputs:
        text = "".join(out.get("text", ""))
        if made and out["output_type"] == made[-1]["output_type"] == "stream":
            made[-1] = made[-1] | dict(text="".join(made[-1]["text"]) + text)
        else:
            made.append(out)
    return made


def code(cell: dict, module: str | None, write: Writer) -> list[str]:
    "Write a cell of code: cards and folded source of what is exported, examples as they are, then outputs."
    text, marks = cell_text(cell), directives(cell_text(cell))
    body = without_directives(text)
    if marks & {"hide", "default_exp"} or not body:
        return []
    parts = cards(text, module, write) if module else []
    block = fenced(body, "python")
    if parts:
        parts.append(folded(f"Source, {count(body)}", block))
    elif marks & {"export", "exporti"}:
        imports = all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in ast.parse(body).body)
        parts.append(folded(f"{'Imports' if imports else 'Helpers'}, {count(body)}", block))
    elif "echo" not in marks:
        parts.append(block)
    if body.startswith("check("):
        return parts  # marks are for the student's own copy
    return parts + [o for o in map(write.output, printed_together(cell["outputs"])) if o]


def first_lines(page: Page, module: str | None) -> str:
    "Write the line under the title: where the notebook and the module are."
    name = page.source.name
    place = page.source.relative_to(ROOT).as_posix()
    parts = [f"<a href='{name}' download>notebook</a>", f"<a href='{repository()}/{place}'>on GitHub</a>"]
    if module:
        parts.append(f"<code>dpcdvae.{module}</code>")
    return f"<p class=dp-links>{' · '.join(parts)}</p>"


def split_title(text: str) -> tuple[str, str, str]:  # title, subtitle, rest
    "Take the title and the `>` line under it off the first cell."
    found = re.match(r"\s*# (.+)\n+(?:> ?(.+)\n?)?", text + "\n")
    return (found[1], found[2] or "", text[found.end() :]) if found else ("", "", text)


def notebook(page: Page, folder: Path) -> tuple[str, list[str]]:  # Markdown, HTML to be put in
    "Write a notebook as Markdown."
    write, module = Writer(page, folder), exports(page.source)
    cells = read_cells(page.source)
    first = next((c for c in cells if c["cell_type"] == "markdown"), None)
    if first is None:
        raise ValueError(f"{page.source.relative_to(ROOT)} has no text: begin with a cell `# Title`")
    title, subtitle, rest = split_title(cell_text(first))
    parts = [f"# {title}", f"{prose(subtitle, page)}\n{{ .dp-subtitle }}" if subtitle else ""]
    parts.append(write.raw(first_lines(page, module)))
    for c in cells:
        if c["cell_type"] == "markdown":
            parts.append(prose(rest if c is first else cell_text(c), page))
        if c["cell_type"] == "code":
            parts += code(c, module, write)
    head = "---\nhide:\n  - navigation\n---\n\n" if page.place == "index.md" else ""
    return head + "\n\n".join(parts) + "\n", write.html


def markdown(page: Page, folder: Path) -> tuple[str, list[str]]:
    "Take over a Markdown file."
    return prose(page.source.read_text(encoding="utf-8"), page), []


def put_in(html: str, kept: list[str]) -> str:
    "Put the HTML back that Markdown did not touch."
    return re.sub(r'<div class="dp-raw">(\d+)</div>', lambda m: kept[int(m[1])], html)
