"How long a lesson takes: reading, looking, exercises; a running budget below each heading."

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.house import cell_text

from .pages import NBS, directives, lessons

WORDS = 150  # read in a minute
LINES = 8  # of code read in a minute
FORMULA = 2  # minutes for a displayed formula
PREDICTION = 3  # minutes for a prediction outside an exercise; an exercise states its own
START = 2  # minutes to open a lesson and wait for all its cells
FIGURE = 1  # minute for a figure
LEAST, MOST = 60, 90  # minutes of the core path of a lesson

BUDGET = re.compile(r"^\*(?:Minutes \d+ to \d+|Going further, after class(?:: \d+ minutes)?)\.\*\n+", re.M)
FURTHER = "*Going further, after class"
STATED = re.compile(r" \((\d+) min\)$")
PROMISE = re.compile(r"About \d+ minutes on the core path, \d+ more for what is marked \*going further\*")
ROW = re.compile(r"^(\| `(0\d_\w+)` \| [^|]+ \|) \d+ \| \d+ \|", re.M)
ALONE = ("Summary", "Further reading")  # headings without a budget


@dataclass
class Section:
    "A heading with what stands under it."

    level: int
    title: str
    further: bool = False  # off the core path
    words: int = 0
    lines: int = 0
    seen: int = 0  # minutes for displayed formulas and figures
    predictions: int = 0

    @property
    def minutes(self) -> float:
        "Estimate the time that a student needs."
        if self.title == "Further reading":
            return 0.0
        stated = STATED.search(self.title)
        others = self.predictions - bool(stated and self.predictions)  # the first is part of the exercise
        doing = PREDICTION * others + (int(stated[1]) if stated else 0)
        return self.words / WORDS + self.lines / LINES + self.seen + doing

    def read(self, text: str) -> None:
        "Count a piece of prose."
        formulas = re.findall(r"\$\$.+?\$\$", text, re.S)
        self.words += len(re.sub(r"\$\$.+?\$\$", "", text, flags=re.S).split())
        self.seen += FORMULA * len(formulas)
        self.predictions += len(re.findall(r"\*\*(?:Predict|Write|Fill in|Answer)", text))

    def look(self, cell: dict) -> None:
        "Count a cell of code and its figures; the stub of an exercise and its check are no reading."
        code = cell_text(cell)
        if "exercise" in directives(code) or code.startswith("check("):
            return
        self.lines += len([line for line in code.splitlines() if line.strip()])
        self.seen += FIGURE * sum("image/png" in o.get("data", {}) for o in cell["outputs"])


def split(text: str) -> list[tuple[str, str]]:  # (heading line or nothing, text under it)
    "Split the text of a cell at its headings of the second and third level."
    found = re.split(r"^(#{2,3} .+)$", text, flags=re.M)
    return [("", found[0]), *zip(found[1::2], found[2::2])]


def opened(heading: str, text: str, around: bool) -> Section:
    "Begin a section; what stands in one that is off the core path is off it, too."
    marks, title = heading.split(" ", 1)
    marked = text.lstrip().startswith(FURTHER)
    return Section(len(marks), title, marked or (len(marks) == 3 and around))


def sections(path: Path) -> list[Section]:
    "Measure the sections of a lesson, the first being what stands above all headings."
    found, around = [Section(1, path.stem)], False
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            found[-1].look(cell)
        elif not cell_text(cell).startswith("<details>"):
            for heading, text in split(cell_text(cell)):
                if heading:
                    found.append(opened(heading, text, around))
                    around = found[-1].further if found[-1].level == 2 else around
                found[-1].read(BUDGET.sub("", text.lstrip("\n")))
    return found


def measured(path: Path) -> tuple[int, int]:  # minutes of the core path, minutes of the rest
    "Add up the two parts of a lesson."
    all_of = sections(path)
    core = START + sum(s.minutes for s in all_of if not s.further)
    return round(core), round(sum(s.minutes for s in all_of if s.further))


def budgets(path: Path) -> list[str]:
    "Write the line below each heading; nothing where none belongs."
    all_of, now, lines = sections(path), START, []
    for i, s in enumerate(all_of):
        inside = [s]
        for later in all_of[i + 1 :]:
            if later.level <= s.level:
                break
            inside.append(later)
        core = sum(x.minutes for x in inside if not x.further) if s.level == 2 else 0
        if s.title in ALONE or s.level == 1:
            lines.append("")
        elif s.further and (s.level == 2 or not around_of(all_of, i).further):
            lines.append(f"{FURTHER}: {max(1, round(sum(x.minutes for x in inside)))} minutes.*\n\n")
        else:
            lines.append(f"*Minutes {round(now)} to {round(now + core)}.*\n\n" if s.level == 2 else "")
        now += core if s.level == 2 else s.minutes if s.level == 1 else 0
    return lines


def around_of(all_of: list[Section], i: int) -> Section:
    "Find the section of the second level in which a section stands."
    return next((s for s in all_of[i::-1] if s.level == 2), all_of[0])


def budgeted(path: Path) -> str:  # the notebook as text
    "Write the lines of a lesson anew, and the promise of its introduction."
    book, lines = json.loads(path.read_text(encoding="utf-8")), iter(budgets(path)[1:])
    core, more = measured(path)
    promise = f"About {core} minutes on the core path, {more} more for what is marked *going further*"
    for cell in book["cells"]:
        if cell["cell_type"] != "markdown" or cell_text(cell).startswith("<details>"):
            continue
        text = ""
        for heading, under in split(PROMISE.sub(promise, cell_text(cell))):
            line = next(lines) if heading else ""
            under = "\n\n" + line + BUDGET.sub("", under.lstrip("\n")) if heading else under
            text += heading + under
        cell["source"] = text.rstrip("\n").splitlines(keepends=True)
    return json.dumps(book, ensure_ascii=False, indent=1) + "\n"


def listed(text: str) -> str:  # the table of a Markdown file
    "Write the minutes into the table of lessons."
    minutes = {p.stem: measured(p) for p in lessons()}
    return ROW.sub(lambda m: f"{m[1]} {minutes[m[2]][0]} | {minutes[m[2]][1]} |", text)


README = NBS / "course/README.md"


def stale() -> list[str]:
    "List what is wrong: a lesson whose lines are old, or whose core path is too long or too short."
    wrong = [f"{p.name}: python -m docs minutes" for p in lessons() if budgeted(p) != p.read_text("utf-8")]
    wrong += ["README.md: python -m docs minutes"] * (
        listed(README.read_text("utf-8")) != README.read_text("utf-8")
    )
    for p in lessons():
        core, _ = measured(p)
        wrong += [f"{p.name}: core path of {core} minutes"] * (not LEAST <= core <= MOST)
        titles = [s.title for s in sections(p) if s.title.startswith("Exercise")]
        wrong += [f"{p.name}: {t} states no minutes" for t in titles if not STATED.search(t)]
    return wrong


def write() -> None:
    "Bring all lessons and the table up to date, and print it."
    for p in lessons():
        p.write_text(budgeted(p), encoding="utf-8")
        print(f"{p.stem:16} core {measured(p)[0]:3} minutes, going further {measured(p)[1]:3}")
    README.write_text(listed(README.read_text("utf-8")), encoding="utf-8")
    if wrong := stale():
        sys.exit("\n".join(wrong))
