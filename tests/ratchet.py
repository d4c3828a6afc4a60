"""What must not get worse: chapters, pictures, words, formatting, long functions, docstrings.

Each check counts what is wrong, item by item. `ratchet.json` holds how much is still allowed; more fails,
and `python tests/ratchet.py` lowers the numbers to what is there now. It never raises them: after files were
moved, remove the list and let it be written anew."""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from words import FOREIGN, readable  # noqa: E402

from benchmarks.house import (  # noqa: E402
    cell_text,
    every_function,
    exports,
    length,
    modules,
    notebooks,
    read_cells,
    source,
    without_shape,
)
from benchmarks.pictures import figure_outputs, is_fresh  # noqa: E402

LIST = Path(__file__).with_suffix(".json")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def code_cells(path: Path) -> list[dict]:
    "The cells of code that run when a notebook is tested."
    cells = [c for c in read_cells(path) if c["cell_type"] == "code"]
    return [
        c
        for c in cells
        if not re.search(r"^#\|\s*(eval: *false|hide|exporti?\b|slow|gpu)", cell_text(c), re.M)
    ]


def pictures() -> dict:
    "Figures of plotly without a PNG, or with one of an older figure (run `make pictures`)."
    books = {p: json.loads(p.read_text()) for p in notebooks(ROOT)}
    return {relative(p): sum(not is_fresh(d) for d in figure_outputs(b)) for p, b in books.items()}


def has_figure(path: Path) -> bool:
    outputs = [o.get("data", {}) for c in read_cells(path) for o in c.get("outputs", [])]
    kinds = {k for data in outputs for k in data}
    drawn = any(
        "<svg" in "".join(d.get("text/html", "")) or "<img" in "".join(d.get("text/html", ""))
        for d in outputs
    )
    return drawn or any("plotly" in k or k.startswith("image/") for k in kinds)


def figures() -> dict:
    "Chapters without a figure."
    return {relative(p): 1 for p in notebooks(ROOT) if exports(p) and not has_figure(p)}


SHOWN = (
    ast.Name,
    ast.Attribute,
    ast.Subscript,
    ast.BinOp,
    ast.Compare,
    ast.Dict,
    ast.List,
    ast.Tuple,
    ast.JoinedStr,
)
SHOWN += (ast.ListComp, ast.DictComp, ast.Constant)


def should_show(text: str) -> bool:
    "Whether a cell ends with a value that a notebook shows, or prints where it stands."
    try:
        body = ast.parse(re.sub(r"^#\|.*$|^[%!].*$", "", text, flags=re.M)).body
    except SyntaxError:
        return False
    last = body[-1] if body else None
    if isinstance(last, ast.Expr) and isinstance(last.value, SHOWN) and not text.rstrip().endswith(";"):
        return True
    calls = [n.value.func for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)]
    return any(isinstance(f, ast.Name) and f.id in ("print", "Markdown", "display") for f in calls)


def missing_outputs() -> dict:
    "Cells that show something, without an output (run the notebook)."
    wrong = Counter()
    for path in notebooks(ROOT):
        wrong[relative(path)] += sum(should_show(cell_text(c)) and not c["outputs"] for c in code_cells(path))
    return wrong


def warnings() -> dict:
    "Outputs that hold a warning or come from stderr."
    wrong = Counter()
    for path in notebooks(ROOT):
        for o in (o for c in read_cells(path) for o in c.get("outputs", [])):
            text = "".join(o.get("text", "")) + "".join(o.get("data", {}).get("text/plain", ""))
            wrong[relative(path)] += o.get("name") == "stderr" or bool(re.search(r"\w*Warning: ", text))
    return wrong


def is_prose(text: str) -> bool:
    "Whether a cell of code holds what belongs in a cell of text: Markdown, or a paragraph of comments."
    comments = re.sub(r"^#\|.*$", "", text, flags=re.M)
    blocks = re.findall(r"(?:^#(?!\|).*\n?)+", comments, re.M)
    long = any(len(b.split()) > 45 for b in blocks)
    markup = re.search(r"^#\s*\*\*|^#.*\]\((?:#|\.\.|http)|^#\s*$", comments, re.M)
    try:
        body = ast.parse(re.sub(r"^\s*[%!].*$", "", comments, flags=re.M)).body
    except SyntaxError:
        return True
    alone = [n for n in body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)]
    return bool(long or markup or any(len(str(n.value.value).split()) > 12 for n in alone))


def prose_in_code() -> dict:
    "Prose in cells of code."
    books = {p: [c for c in read_cells(p) if c["cell_type"] == "code"] for p in notebooks(ROOT)}
    return {relative(p): sum(is_prose(cell_text(c)) for c in cells) for p, cells in books.items()}


def words() -> dict:
    "Words that the field does not use for these things, see words.py."
    return {f: sum(len(FOREIGN.findall(text)) for text in texts) for f, texts in readable(ROOT).items()}


WRITTEN = "nbs tests benchmarks docs data dpcdvae/__init__.py dpcdvae/_aliases.py".split()  # not exported


def ruff(*command) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, *WRITTEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.stdout


def lint() -> dict:
    "What `ruff check` finds, a file."
    found = json.loads(ruff("check", "--output-format", "json"))
    return Counter(relative(Path(f["filename"])) for f in found)


def formatting() -> dict:
    "Files that `ruff format` would change."
    lines = ruff("format", "--check", "--output-format", "concise")
    return Counter(re.findall(r"^(\S+?\.(?:py|ipynb)):.*unformatted", lines, re.M))


def long_functions() -> dict:
    "Lines of functions over 60, docstring not counted."
    wrong = {}
    for m in modules(ROOT):
        tree = ast.parse(source(ROOT, m).read_text())
        wrong |= {f"{m}.{f.name}": length(f) for f in every_function(tree) if length(f) > 60}
    return wrong


def long_modules() -> dict:
    "Lines of modules over 500."
    lines = {m: len(source(ROOT, m).read_text().splitlines()) for m in modules(ROOT)}
    return {m: n for m, n in lines.items() if n > 500}


def shapes() -> dict:
    "Public functions of tensors without shape or unit, a module."
    return Counter(name.rsplit(".", 1)[0] for name in without_shape(ROOT))


CHECKS = [pictures, figures, missing_outputs, warnings, prose_in_code, words, lint, formatting]
CHECKS += [long_functions, long_modules, shapes]


def found(check) -> dict[str, int]:
    return {k: int(n) for k, n in sorted(check().items()) if n}


def allowed() -> dict[str, dict[str, int]]:
    return json.loads(LIST.read_text()) if LIST.exists() else {}


def lower() -> None:
    "Lower the list to what is there; only a check that has no list yet gets one."
    old, new = allowed(), {}
    for check in CHECKS:
        name, now = check.__name__, found(check)
        most = old.get(name, now)
        new[name] = {k: min(n, most[k]) for k, n in now.items() if k in most}
        if more := {k: n for k, n in now.items() if n > most.get(k, 0)}:
            print(f"{name}: worse than allowed: {more}")
    LIST.write_text(json.dumps(new, indent=1) + "\n")
    print({k: sum(v.values()) for k, v in new.items()})


if __name__ == "__main__":
    lower()
