"Slides from the lessons: first sentences, formulas, figures, exercises; the whole text is in the notes."

import base64
import json
import re
from pathlib import Path

from benchmarks.house import ROOT, cell_text, read_cells

from .minutes import BUDGET
from .pages import directives, lessons, without_directives

HERE = Path(__file__).parent
OUT = ROOT / "_slides"
SHORT = 60  # letters: a first sentence that is shorter says too little alone
FULL = 520  # letters on a slide; a formula counts as 120
BELOW = 200  # letters below a figure


def first_sentences(text: str) -> str:
    "Take the first sentence of a paragraph, and the next where it is short or a question."
    hidden = re.sub(r"\$[^$]*\$|`[^`]*`|\([^()]*\)|\[[^\]]*\]\([^)]*\)", lambda m: "x" * len(m[0]), text)
    hidden = re.sub(r"\b(eqs?|e\.g|i\.e|Fig|al|vs|ch)\.", lambda m: "x" * len(m[0]), hidden)
    ends = [m.end() for m in re.finditer(r"[.?!](?=[\s*_]|$)", hidden)]
    enough = [e for e in ends if e > SHORT and hidden[e - 1] != "?"]
    return closed(text[: enough[0]]) if enough else text


def closed(text: str) -> str:
    "Close emphasis that was cut."
    for mark, pattern in (("**", r"\*\*"), ("*", r"(?<!\*)\*(?!\*)")):
        text += mark * (len(re.findall(pattern, re.sub(r"`[^`]*`|\$[^$]*\$", "", text))) % 2)
    return text


def paragraphs(text: str) -> list[str]:
    "Split Markdown at empty lines, formulas being paragraphs of their own."
    text = re.sub(r"\$\$.+?\$\$", lambda m: f"\n\n{' '.join(m[0].split())}\n\n", text, flags=re.S)
    return [p.strip() for p in re.split(r"\n\s*\n", text) if p.strip()]


def short(paragraph: str) -> str:
    "Shorten a paragraph for a slide: formulas, lists, tables and what begins in bold stay."
    if re.match(r"\$\$|[-*>] |\||(\d+|[a-z])\. ", paragraph):
        return paragraph
    return paragraph if paragraph.startswith("**") else first_sentences(paragraph)


def cell(kind: str, source: str, slide: str, outputs=()) -> dict:
    "Make a cell of a deck: slide, subslide, notes, or - to go on."
    made = dict(cell_type=kind, source=source, metadata=dict(slideshow=dict(slide_type=slide)))
    return made | (dict(outputs=list(outputs), execution_count=None) if kind == "code" else {})


def sections(text: str) -> list[tuple[str, str]]:  # (heading line or nothing, text under it)
    "Split the text of a cell at its headings."
    parts = re.split(r"^(#{1,3} .+)$", text, flags=re.M)
    found = [("", parts[0])] if parts[0].strip() else []
    return found + list(zip(parts[1::2], parts[2::2]))


def weight(paragraph: str) -> int:
    "Estimate how much of a slide a paragraph takes, in letters."
    return 120 if paragraph.startswith("$$") else len(paragraph)


def groups(points: list[str], first: int) -> list[list[str]]:
    "Divide paragraphs among slides; what announces a formula stays with it."
    found, room = [[]], first
    for i, point in enumerate(points):
        last_and_short = i == len(points) - 1 and weight(point) < 120 and room > -60
        if found[-1] and weight(point) > room and not found[-1][-1].endswith(":") and not last_and_short:
            found.append([])
            room = FULL
        found[-1].append(point)
        room -= weight(point)
    return found


def text_slides(heading: str, text: str, section: str, below: bool) -> list[dict]:
    """Write the slides of one section, each with the whole text in its notes.

    The first goes below a figure if it is short; slides without a heading repeat that of their section."""
    whole = heading.startswith("### ")  # an exercise or a task is read out in full
    points = [p if whole else short(p) for p in paragraphs(text) if not p.startswith("Next:")]
    below = below and not heading and bool(points) and weight(points[0]) < 1.3 * BELOW
    kinds = iter(["-" if below else "slide" if heading and not whole else "subslide"])
    titles = iter([heading or ("" if below else section)])
    made = []
    for group in groups(points, BELOW if below else FULL):
        title = next(titles, heading if whole else section)
        made.append(cell("markdown", "\n\n".join([title, *group]).strip(), next(kinds, "subslide")))
        made.append(cell("markdown", text.strip(), "notes"))
    return made


def figures(outputs: list[dict]) -> list[dict]:
    "Keep the pictures of a cell."
    pictures = ["".join(o["data"]["image/png"]) for o in outputs if "image/png" in o.get("data", {})]
    one = dict(output_type="display_data", metadata={})
    return [one | dict(data={"image/png": p.replace("\n", "")}) for p in pictures]


def deck(path: Path) -> dict:  # notebook
    "Make the deck of a lesson: a notebook whose cells say which slide they are."
    made, section = [], ""
    for c in read_cells(path):
        text = BUDGET.sub("", cell_text(c))  # the clock of a slide is the teacher's
        if c["cell_type"] == "markdown" and "<details>" in text:
            made += solution(text)
        elif c["cell_type"] == "markdown":
            for heading, under in sections(text):
                section = heading if heading.startswith("## ") else section
                made += text_slides(heading, under, section, bool(made and made[-1].get("outputs")))
        elif "exercise" in directives(text):
            made.append(cell("code", without_directives(text), "-"))
        elif shown := figures(c["outputs"]):
            made.append(cell("code", "", "subslide", shown))
    title = next(cell_text(c).strip().split("\n")[0].lstrip("# ") for c in read_cells(path))
    return dict(cells=made, metadata=dict(title=title), nbformat=4, nbformat_minor=4)


def solution(text: str) -> list[dict]:
    "Put a folded solution on a slide of its own."
    code = re.search(r"```python\n(.*?)```", text, re.S)
    return (
        [cell("markdown", f"### Solution\n\n```python\n{code[1].rstrip()}\n```", "subslide")] if code else []
    )


def fonts(css: str) -> str:
    "Put the fonts of KaTeX into its style sheet."
    folder = HERE / "vendor/katex/fonts"
    css = re.sub(r",url\([^)]+\.(?:woff|ttf)\) format\(\"(?:woff|truetype)\"\)", "", css)
    data = lambda m: f"url(data:font/woff2;base64,{base64.b64encode((folder / m[1]).read_bytes()).decode()})"
    return re.sub(r"url\(fonts/([^)]+\.woff2)\)", data, css)


def resources() -> dict[str, str]:
    "Read all scripts and styles that a deck needs."
    read = lambda name: (HERE / name).read_text(encoding="utf-8")
    styles = ["vendor/reveal/reset.css", "vendor/reveal/reveal.css"]
    css = [*map(read, styles), fonts(read("vendor/katex/katex.min.css")), read("template/slides.css")]
    scripts = ["vendor/reveal/reveal.js", "vendor/katex/katex.min.js", "vendor/katex/auto-render.min.js"]
    js = [read(s).replace("</script", "<\\/script") for s in [*scripts, "template/slides.js"]]
    return dict(css="\n".join(css), js=";\n".join(js))


def render(path: Path) -> str:  # HTML
    "Write a lesson's slides as one file that needs no network."
    import nbformat
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(template_name="dpcdvae", extra_template_basedirs=[str(HERE / "template")])
    book = nbformat.from_dict(json.loads(json.dumps(deck(path))))
    return exporter.from_notebook_node(book, resources=dict(deck=resources()))[0]


def write(folder: Path = OUT, paths: list[Path] | None = None) -> list[Path]:
    "Write the slides of lessons."
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in paths or lessons():
        made.append(folder / f"{path.stem}.html")
        made[-1].write_text(render(path), encoding="utf-8")
    return made
