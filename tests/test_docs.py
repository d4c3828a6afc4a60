"The site, the slides and the figures for print; make docs-check opens the whole site in a browser."

import ast
import json
import re
import shlex

import pytest

from benchmarks.house import ROOT, cell_text, exports, notebooks, read_cells
from dpcdvae.cli.app import parser

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install mkdocs-material")

from docs import api, check, figures, films, minutes, pages, site, slides, steps  # noqa: E402

MARKDOWN = sorted((ROOT / "nbs").rglob("*.md"))


def places(nav) -> list[str]:
    "All pages that a navigation names."
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [p for one in inner for p in places(one)]


def test_every_notebook_has_one_place_in_the_navigation():
    found = places(site.nav())
    assert len(found) == len(set(found))
    made = {"course/index.md", "reference/index.md", "labs/index.md", "films.md"}
    wanted = {pages.place_of(p) for p in (*notebooks(ROOT), *MARKDOWN)} | set(pages.OUTSIDE.values()) | made
    assert set(found) == wanted, set(found) ^ wanted


def test_the_configuration_is_valid_and_asks_nothing_of_other_machines(tmp_path, caplog):
    (tmp_path / "in").mkdir()
    config = site.configuration(tmp_path / "in", tmp_path / "out")
    assert config.strict and not caplog.records, caplog.text  # an unknown or wrong setting is reported there
    assert config.theme["font"] is False and not config.use_directory_urls
    named = [*config.extra_css, *config.extra_javascript, *config.extra["polyfills"]]
    assert named and not [x for x in named if "//" in str(x)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    "Every source as Markdown."
    folder = tmp_path_factory.mktemp("site")
    kept = site.write_pages(folder, made={})
    return folder, kept


def test_links_of_the_sources_lead_to_pages(written):
    folder, _ = written
    wrong = []
    for page in pages.pages().values():
        text = re.sub(r"^```.*?^```|`[^`\n]*`", "", (folder / page.place).read_text(), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path = (folder / page.place).parent / link.partition("#")[0]
            here = link.startswith(("#", "http", "mailto:")) or path.exists() or "images/" in link
            wrong += [] if here else [f"{page.source.name}: {link}"]
    assert not wrong, wrong


def test_each_public_name_has_a_card_with_a_link_to_its_line(written):
    folder, kept = written
    place = "crystal/00_lattice.md"
    cards = "".join(kept[place])
    assert "### `wrap` { #wrap .dp-symbol }" in (folder / place).read_text()
    line = int(re.search(r"dpcdvae/crystal/lattice\.py#L(\d+)'>source", cards)[1])
    source = (ROOT / "dpcdvae/crystal/lattice.py").read_text().splitlines()
    assert source[line - 1].startswith("def ")
    for path in notebooks(ROOT):
        if module := exports(path):
            code = (ROOT / f"dpcdvae/{module.replace('.', '/')}.py").read_text()
            listed = next(n for n in ast.parse(code).body if isinstance(n, ast.Assign))
            public = set(ast.literal_eval(listed.value))
            text = (folder / pages.place_of(path)).read_text()
            shown = set(re.findall(r"^### `(\w+)` \{ #", text, re.M))
            classes = {d.name for d in api.definitions(code)}
            assert shown == public & classes, (path.name, shown ^ (public & classes))


def test_figures_are_pictures_and_their_data_wait_in_the_page(written):
    folder, kept = written
    html = "".join(kept["course/02_noise.md"])
    assert html.count("<img") == 7 == len(list((folder / "course").glob("02_noise-*.png")))
    data = re.findall(r"<script type='application/json'>(.*?)</script>", html)
    assert len(data) == 6 and all(json.loads(d)["data"] for d in data)
    assert "plotly.js" not in html and len(html) < 300_000


def test_arguments_are_read_with_what_stands_after_them():
    code = """
def f(
    x: Tensor,  # (N,3) `frac`
    *rest,
    y=2,  # a <number>
) -> Tensor:  # (N,)
    "Do it."
class C:
    "Keep it."
    a: int = 1  # Å
    def m(self, b): "Run."
    def _hidden(self): pass
def _private(): pass
"""
    f, c = api.definitions(code)
    assert [(a.name, a.annotation, a.default, a.comment) for a in f.arguments] == [
        ("x", "Tensor", "", "(N,3) `frac`"),
        ("*rest", "", "", ""),
        ("y", "", "2", "a <number>"),
    ]
    assert (f.returns, f.returns_comment, f.doc) == ("Tensor", "(N,)", "Do it.")
    assert c.arguments[0].comment == "Å" and [m.name for m in c.methods] == ["m"]
    html = api.card(f, "where")
    assert (
        "a &lt;number&gt;" in html and "<code>frac</code>" in html and "f(x, *rest, y=2) -&gt; Tensor" in html
    )


def test_what_a_cell_printed_in_pieces_stands_in_one_block():
    piece = lambda text: dict(output_type="stream", name="stdout", text=[text])
    shown = dict(output_type="display_data", data={})
    found = pages.printed_together([piece("a\n"), piece("b\n"), shown, piece("c\n")])
    assert ["".join(o.get("text", "")) for o in found] == ["a\nb\n", "", "c\n"]


def test_directives_are_those_at_the_top_of_a_cell():
    assert pages.directives("#| exporti\n#|hide\nx = 1\n#| export\n") == {"exporti", "hide"}
    assert not pages.directives("x = 1\n#| export")


def test_markdown_of_notebooks_is_what_mkdocs_reads():
    page = pages.pages()[ROOT / "nbs/labs/f_twins.ipynb"]
    text = pages.prose("See [it](../nn/03_heads.ipynb#a) and:\n- one\n- two $a_i$ or $$x$$.", page)
    assert "](../nn/03_heads.md#a)" in text and "and:\n\n- one\n- two" in text and "$$\nx.\n$$" in text
    assert pages.prose("`minimum_image`", page) == "[`minimum_image`](../crystal/00_lattice.md#minimum_image)"
    assert pages.prose("`wrap` and `nn/03_heads`", page) == "`wrap` and [`nn/03_heads`](../nn/03_heads.md)"
    assert pages.prose("```\n- [a](b.ipynb)\n| `minimum_image` |\n```", page).count("](") == 1
    away = pages.prose("[x](../../share/cluster/sample.sbatch)", page)
    assert away == f"[x]({pages.repository()}/share/cluster/sample.sbatch)"


def small_site(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.html").write_text(text)
    return check.read(folder)


def test_a_broken_link_and_a_foreign_script_are_found(tmp_path):
    good = small_site(tmp_path, a="<a href='b.html#x'></a><img src='a.html'>", b="<p id=x><a href='#x'></a>")
    assert not check.broken(tmp_path, good) and not check.foreign(good)
    bad = "<a href='c.html'></a><a href='b.html#y'></a><script src='https://cdn.example/x.js'></script>"
    found = small_site(tmp_path, a=bad + "<link rel=stylesheet href='//fonts.example/f.css'>")
    assert len(check.broken(tmp_path, found)) == 2 and len(check.foreign(found)) == 2


def commands() -> list[tuple[str, str]]:
    "The lines of how-tos and of the course that call dpcdvae."
    blocks = [(p.name, b) for p in MARKDOWN for b in re.findall(r"```bash\n(.*?)```", p.read_text(), re.S)]
    found = [(name, c) for name, b in blocks for c in re.findall(r"dpcdvae (?!\.)[a-z][^&;\"\n]*", b)]
    return [(name, c.split(" & ")[0].strip()) for name, c in found if "-m dpcdvae" not in c]


@pytest.mark.parametrize("name, line", commands(), ids=lambda x: x[:40])
def test_commands_of_the_how_tos_are_commands(name, line):
    parser().parse_args(shlex.split(line.replace("$r", "0"))[1:])


def named_in_text() -> set[tuple[str, str]]:
    "The commands of dpcdvae that prose names in code spans: file, command."
    prose = {p.name: p.read_text() for p in [ROOT / "README.md", ROOT / "CHANGELOG.md", *MARKDOWN]}
    for p in notebooks(ROOT):
        cells = (c for c in read_cells(p) if c["cell_type"] == "markdown")
        prose[p.name] = "\n".join(map(cell_text, cells))
    return {(name, c) for name, text in prose.items() for c in re.findall(r"`dpcdvae ([a-z]+)", text)}


def test_commands_that_prose_names_are_there():
    there = next(a.choices for a in parser()._actions if a.choices)
    assert len(named_in_text()) > 20
    assert {(name, c) for name, c in named_in_text() if c not in there} == set()


@pytest.mark.parametrize("path", pages.lessons(), ids=lambda p: p.stem)
def test_slides_are_whole_and_need_no_network(path):
    html = slides.render(path)
    head = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", html, flags=re.S)
    assert not re.findall(r"<(?:script|link|img|iframe)\b[^>]*(?:src|href)=[\"'](?!data:)[^\"']*", head)
    assert "@import" not in html and not re.findall(
        r"url\((?!data:|#|\"?data:)[^)]+\)", html.split("<body>")[0]
    )
    deck = slides.deck(path)["cells"]
    kinds = [c["metadata"]["slideshow"]["slide_type"] for c in deck]
    sections = sum(cell_text(c).count("\n## ") + cell_text(c).startswith("## ") for c in read_cells(path))
    assert kinds[0] in ("slide", "subslide") and kinds.count("slide") >= sections
    exercises = [c for c in read_cells(path) if "exercise" in pages.directives(cell_text(c))]
    shown = "\n".join(c["source"] for c in deck)
    assert shown.count("### Solution") == len(exercises) and "#| exercise" not in shown
    assert head.count("<img") == len([d for d in figures.figures(path) if "image/png" in d])


@pytest.mark.parametrize(
    "text, short",
    [
        ("This has, in eq. 4 of Ho (2020. sic), more than sixty letters $a. b$ and `x. y`. Dropped.", -9),
        ("Why? Because the first sentence is a question, and says nothing by itself alone. Dropped.", -9),
        ("A **bold beginning that is long enough to stand alone on a slide. Really** it is.", 65),
        ("The lesson to keep is long enough: *what is seen may be chance. And not* more.", 63),
        ("Without an end", None),
    ],
)
def test_first_sentences_of_paragraphs(text, short):
    kept = slides.first_sentences(text)
    assert kept.rstrip("*").rstrip() == text[:short].rstrip() and kept.count("*") % 2 == 0


@pytest.mark.parametrize("name", steps.STEPS)
def test_pictures_of_the_readme_are_those_of_the_notebooks(name):
    from PIL import Image, ImageChops

    stored = Image.open(ROOT / f"nbs/images/{name}.png").convert("RGB")
    fresh = steps.picture(name)
    difference = ImageChops.difference(stored, fresh) if stored.size == fresh.size else fresh
    assert max(high for _, high in difference.getextrema()) < 80, "make readme"


def test_films_have_a_page_and_titles(tmp_path, monkeypatch):
    monkeypatch.setattr(films, "make", lambda name: ROOT / "README.md")
    text = films.write(tmp_path)
    assert text.count("<iframe") == len(films.FILMS) == len(list((tmp_path / "films").iterdir())) >= 2


def test_the_assignment_counts_what_the_lessons_have():
    from dpcdvae.course.grading import solutions

    text = (ROOT / "nbs/course/teacher.md").read_text()
    names = [n for p in pages.lessons() if p.stem[:2] in ("02", "03", "04") for n in solutions(p)]
    assert f"**Exercises** ({len(names)} points)" in text and f"| 1 exercises | {len(names)} |" in text
    assert all(f"`{n}`" in text for n in names)
    minutes = [tuple(map(int, m)) for m in re.findall(r"^\| (\d+)-(\d+) \|", text, re.M)]
    assert minutes[0][0] == 0 and minutes[-1][1] == 90
    assert all(a[1] == b[0] for a, b in zip(minutes, minutes[1:]))
    points = re.findall(r"^\| [1-4] \w+ \| (\d+)(?: × (\d))? \|", text, re.M)
    assert sum(int(a) * int(b or 1) for a, b in points) == 30


def test_the_minutes_of_lessons_are_up_to_date_and_their_core_path_fits_a_class():
    assert minutes.stale() == []


def lesson(path, *cells) -> None:
    kinds = [dict(cell_type="code" if "import" in c else "markdown", source=c, outputs=[]) for c in cells]
    path.write_text(json.dumps(dict(cells=kinds), ensure_ascii=False, indent=1) + "\n")


def test_minutes_are_counted_by_section_and_what_goes_further_is_apart(tmp_path):
    path = tmp_path / "a.ipynb"
    lesson(
        path,
        f"# Title\n\n{minutes.PROMISE.pattern.replace(chr(92) + 'd+', '1').replace(chr(92), '')}",
        "## One\n\n" + 300 * "word " + "$$x$$",
        "### Exercise 1: a (7 min)\n\n**Predict** it.",
        "import a\n" * 16,
        "## Two\n\n*Going further, after class.*\n\n" + 150 * "word ",
        "### Inside (4 min)",
        "## Three\n\n**Predict** and **write**.",
    )
    found = {s.title: (s.further, round(s.minutes, 1)) for s in minutes.sections(path)}
    assert found["One"] == (False, 4.0) and found["Exercise 1: a (7 min)"] == (False, 9.0)
    assert found["Two"] == (True, 1.0) and found["Inside (4 min)"] == (True, 4.0)
    assert minutes.measured(path) == (18, 5)
    once = minutes.budgeted(path)
    path.write_text(once)
    assert minutes.budgeted(path) == once and minutes.measured(path) == (18, 5)
    text = "\n".join("".join(c["source"]) for c in json.loads(once)["cells"])
    assert "## One\n\n*Minutes 2 to 15.*\n" in text and "About 18 minutes on the core path, 5 more" in text
    assert "## Two\n\n*Going further, after class: 5 minutes.*" in text and "Minutes 15 to 18" in text


def test_a_core_path_that_is_too_long_is_found(monkeypatch):
    monkeypatch.setattr(minutes, "MOST", 80)
    assert any("core path of" in line for line in minutes.stale())
