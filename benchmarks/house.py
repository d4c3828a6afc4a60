"""The house in numbers: modules, arrows, lines, functions, docstrings and names of the package, before and after"""

import ast
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = "crystal data diffusion nn model generation evaluation energy viz cli".split()


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


def _targets(node, module: str, names: dict[str, str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [a.name.removeprefix("dpcdvae.") for a in node.names if a.name.startswith("dpcdvae.")]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        base = [*module.split(".")[: -node.level], *filter(None, (node.module or "").split("."))]
    elif (node.module or "").split(".")[0] == "dpcdvae":
        base = node.module.split(".")[1:]
    else:
        return []
    if base and not (len(base) == 1 and base[0] in FOLDERS):
        return [".".join(base)]
    called = [a.name for a in node.names if not a.name.startswith("_")]
    return [names.get(n, n) if not base else f"{base[0]}.{n}" for n in called]


def imports(path: Path, module: str, root: Path = ROOT) -> list[Import]:
    "List the imports of siblings in a module's file."
    tree, names = ast.parse(Path(path).read_text(encoding="utf-8")), package_names(root)
    inside = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for n in ast.walk(f)
    }
    return [Import(t, id(n) in inside) for n in ast.walk(tree) for t in _targets(n, module, names)]


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
