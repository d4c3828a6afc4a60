"""The code in numbers: modules, imports, lines, functions, docstrings and names, before and after"""

import ast
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = "crystal data diffusion nn model generation evaluation energy viz cli course".split()


def notebooks(root: Path) -> list[Path]:
    "List the notebooks of a checkout."
    found = sorted((Path(root) / "nbs").rglob("*.ipynb"))
    return [p for p in found if ".ipynb_checkpoints" not in p.parts and "_proc" not in p.parts]


def read_cells(path: Path) -> list[dict]:
    "Read the cells of a notebook."
    return json.loads(Path(path).read_text(encoding="utf-8"))["cells"]


def cell_text(cell: dict) -> str:
    "Join the lines of a cell."
    return "".join(cell["source"])


def exports(path: Path) -> str | None:  # such as crystal.lattice
    "Tell which module a notebook exports, if any."
    for c in read_cells(path):
        found = re.search(r"^#\|\s*default_exp\s+(\S+)", cell_text(c), re.M)
        if c["cell_type"] == "code" and found:
            return found[1]
    return None


def place(path: Path) -> tuple[int, int]:  # (layer, number)
    "Tell where a notebook stands: its folder's layer, and its number there; flat notebooks are one layer."
    layer = FOLDERS.index(path.parent.name) if path.parent.name in FOLDERS else 0
    return layer, int(path.name.split("_")[0])


@lru_cache
def modules(root: Path) -> dict[str, tuple[int, int]]:
    "Find the modules that notebooks make: name -> (layer, number)."
    return {m: place(p) for p in notebooks(root) if (m := exports(p))}


class Import(NamedTuple):
    "One import of a module of the package."

    target: str
    inside: bool  # a function


def package_names(root: Path) -> dict[str, str]:  # name -> module
    "Read what `from dpcdvae import name` reaches."
    init = ast.parse((Path(root) / "dpcdvae/__init__.py").read_text(encoding="utf-8"))
    for n in ast.walk(init):
        if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "_HOME":
            return {k.arg: k.value.value for k in n.value.keywords}
    return {}


def _targets(node, module: str, known, names: dict[str, str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name.removeprefix("dpcdvae.") for a in node.names if a.name.startswith("dpcdvae.")]
    if not isinstance(node, ast.ImportFrom):
        return []
    inner = (node.module or "").split(".")
    if node.level:
        base = [*module.split(".")[: -node.level], *filter(None, inner)]
    elif inner[0] == "dpcdvae":
        base = inner[1:]
    else:
        return []
    if base and (".".join(base) in known or base[0] not in FOLDERS or len(base) > 1):
        return [".".join(base)]
    called = [a.name for a in node.names if not a.name.startswith("_")]
    return [f"{base[0]}.{n}" if base else names.get(n, n) for n in called]


def functions_of(tree) -> list:
    "List all functions of a syntax tree, lambdas too."
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return [n for n in ast.walk(tree) if isinstance(n, kinds)]


def imports(path: Path, module: str, root: Path = ROOT) -> list[Import]:
    "List the imports of siblings in a module's file."
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    known, names = modules(root), package_names(root)
    inside = {id(n) for f in functions_of(tree) for n in ast.walk(f)}
    return [Import(t, id(n) in inside) for n in ast.walk(tree) for t in _targets(n, module, known, names)]


def reachable(arrows: dict[str, set], start: str) -> set[str]:
    "Follow arrows from a module."
    seen, waiting = set(), [start]
    while waiting:
        for other in arrows.get(waiting.pop(), ()):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def circles(arrows: dict[str, set]) -> list[set[str]]:
    "Find the sets of modules that import each other in a circle."
    reach = {m: reachable(arrows, m) for m in arrows}
    found = defaultdict(set)
    for m in arrows:
        if m in reach[m]:
            found[frozenset(o for o in reach[m] if m in reach.get(o, ()))].add(m)
    return [set(c) for c in found]


def all_imports(root: Path) -> dict[str, list[Import]]:
    "List the imports of every module."
    return {m: imports(source(root, m), m, root) for m in modules(root)}


def source(root: Path, module: str) -> Path:
    "Find a module's file."
    return Path(root) / f"dpcdvae/{module.replace('.', '/')}.py"


def measure_imports(root: Path) -> dict:
    "Count modules, and the imports between them."
    where, found = modules(root), all_imports(root)
    arrows = {m: {i.target for i in many} - {m} for m, many in found.items()}
    pairs = [(m, t) for m, many in arrows.items() for t in many if t in where]
    folders = {(m.split(".")[0], t.split(".")[0]) for m, t in pairs if "." in m}
    return dict(
        modules=len(where),
        imports=len(pairs),
        imports_between_folders=len([1 for a, b in folders if a != b]),
        imports_up=len([1 for m, t in pairs if where[t] >= where[m]]),
        circles=len(circles(arrows)),
        modules_in_circles=sum(map(len, circles(arrows))),
        longest_module=max(len(source(root, m).read_text().splitlines()) for m in where),
    )


def code_lines(root: Path) -> list[str]:
    "Collect the lines of code that people write: cells, tests and programs."
    files = [p for d in ("tests", "benchmarks", "data") for p in sorted((Path(root) / d).rglob("*.py"))]
    cells = [c for p in notebooks(root) for c in read_cells(p) if c["cell_type"] == "code"]
    texts = [p.read_text(encoding="utf-8") for p in files] + [cell_text(c) for c in cells]
    return [line for text in texts for line in text.splitlines()]


def public_functions(tree) -> list:  # functions and methods that a user may call
    "List functions and methods without an underscore, and every forward."
    found = []
    for n in tree.body:
        if isinstance(n, ast.FunctionDef) and not n.name.startswith("_"):
            found.append(n)
        if isinstance(n, ast.ClassDef) and not n.name.startswith("_"):
            methods = [f for f in n.body if isinstance(f, ast.FunctionDef)]
            found += [f for f in methods if not f.name.startswith("_") and "overload" not in ast.dump(f)]
    return found


def length(function) -> int:  # lines
    "Count the lines of a function without its docstring."
    lines = function.end_lineno - function.lineno + 1
    doc = function.body[0]
    if isinstance(doc, ast.Expr) and isinstance(getattr(doc, "value", None), ast.Constant):
        lines -= doc.end_lineno - doc.lineno + 1
    return lines


def every_function(tree) -> list:
    "List functions and methods; what is defined inside a function counts with it."
    classes = [n for n in tree.body if isinstance(n, ast.ClassDef)]
    bodies = [tree.body, *(c.body for c in classes)]
    return [n for body in bodies for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


SHAPE = re.compile(
    r"[(\[](?:[A-Z]\w*|\d+|\.\.\.)(?: ?[,·+*] ?[A-Za-z0-9+*/.·…-]+)+,?[)\]]"  # (N,3), (B,), [N,K,H]
    r"|[(\[](?:[A-Z],?|\d+,)[)\]]|\bscalar\b"
)
UNIT = re.compile(r"Å|\beV\b|GPa|\bdegrees?\b|°|\bradians?\b|\bseconds\b|g/cm|\[0, ?1")


def has_tensors(function) -> bool:
    "Tell whether a function is annotated with tensors, or is a forward."
    notes = [a.annotation for a in [*function.args.args, *function.args.kwonlyargs]] + [function.returns]
    return function.name == "forward" or any("Tensor" in ast.unparse(n) for n in notes if n)


def says_shape(function, lines: list[str]) -> bool:
    "Tell whether signature and docstring give a shape or a unit."
    head = "\n".join(lines[function.lineno - 1 : function.body[0].lineno - 1])
    comments = " ".join(re.findall(r"#(.*)", head))
    words = f"{comments} {ast.get_docstring(function) or ''}"
    return bool(SHAPE.search(words) or UNIT.search(words))


def without_shape(root: Path) -> list[str]:  # module.function
    "List the public functions of tensors whose docstring gives neither shape nor unit."
    missing = []
    for m in modules(root):
        text = source(root, m).read_text(encoding="utf-8")
        for f in public_functions(ast.parse(text)):
            if has_tensors(f) and not says_shape(f, text.splitlines()):
                missing.append(f"{m}.{f.name}")
    return missing


def measure_functions(root: Path) -> dict:
    "Measure the functions of the package, which is formatted already."
    trees = [ast.parse(source(root, m).read_text(encoding="utf-8")) for m in modules(root)]
    lengths = [length(f) for t in trees for f in every_function(t)]
    tensors = [f for t in trees for f in public_functions(t) if has_tensors(f)]
    return dict(
        functions=len(lengths),
        median_lines=statistics.median(lengths),
        longest_function=max(lengths),
        functions_over_60=len([n for n in lengths if n > 60]),
        functions_of_tensors=len(tensors),
        with_shape_or_unit=len(tensors) - len(without_shape(root)),
    )


def exported(root: Path) -> dict[str, list[str]]:  # module -> names
    "Read the public names of every module."
    found = {}
    for m in modules(root):
        for n in ast.parse(source(root, m).read_text(encoding="utf-8")).body:
            if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__":
                found[m] = [x for x in ast.literal_eval(n.value) if not x.startswith("_")]
    return found


def prose(root: Path) -> int:  # words
    "Count the words of the chapters that export."
    chapters = [p for p in notebooks(root) if exports(p)]
    cells = [c for p in chapters for c in read_cells(p) if c["cell_type"] == "markdown"]
    return sum(len(cell_text(c).split()) for c in cells)


def measure_names(root: Path) -> dict:
    "Count exported names, those with two meanings, and the prose about them."
    names = Counter(n for many in exported(root).values() for n in many)
    return dict(
        exported_names=sum(names.values()),
        names_with_two_meanings=len([n for n, k in names.items() if k > 1]),
        words_per_exported_name=round(prose(root) / sum(names.values()), 1),
    )


def formatted(root: Path, folder: Path) -> Path:  # a copy
    "Copy a checkout's code and format it as the tree is."
    import shutil

    skip = shutil.ignore_patterns("__pycache__", "weights", "static", ".ipynb_checkpoints")
    for part in ("nbs", "dpcdvae"):
        shutil.copytree(Path(root) / part, folder / part, ignore=skip)
    command = [sys.executable, "-m", "ruff", "format", "-q", "--line-length", "110", str(folder / "dpcdvae")]
    subprocess.run(command, check=True)
    return folder


def measure_house(root: Path = ROOT) -> dict:
    "Measure a checkout: lines as they stand, functions and names after formatting."
    lines = code_lines(root)
    with tempfile.TemporaryDirectory() as folder:
        copy = formatted(root, Path(folder))
        return dict(
            **measure_imports(copy),
            lines=len(lines),
            lines_over_110=len([1 for line in lines if len(line) > 110]),
            longest_line=max(map(len, lines)),
            **measure_functions(copy),
            **measure_names(copy),
        )


BEFORE = "681f39c"  # the last commit of the flat package


def measure_commit(commit: str, root: Path = ROOT) -> dict:
    "Measure a commit of this repository."
    with tempfile.TemporaryDirectory() as folder:
        packed = subprocess.run(["git", "archive", commit], cwd=root, capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
        return measure_house(Path(folder))


def house(before: str = BEFORE) -> dict:
    "Measure a commit and the tree as it is."
    from benchmarks.speed import circumstances

    return dict(
        name="house",
        commit=before,
        before=measure_commit(before),
        after=measure_house(),
        made_on=circumstances(),
    )


def house_table(result: dict) -> str:  # markdown
    "Put the measures before and after into a table."
    rows = [f"| | commit {result['commit']} | now |", "|---|---|---|"]
    before, after = result["before"], result["after"]
    rows += [f"| {k.replace('_', ' ')} | {before[k]:,} | {after[k]:,} |" for k in after]
    note = (
        "Imports inside functions count. Lines are those of cells, tests and programs as they stand; "
        "modules, functions and names are those of the package after ruff at 110 columns; "
        "a function is measured without its docstring."
    )
    return "\n".join([*rows, "", note])
