"The house: imports go one way, notebooks and package agree, notebooks are clean, the import is light, the commands exist."

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = [p for p in sorted((ROOT / "nbs").rglob("*.ipynb")) if ".ipynb_checkpoints" not in p.parts]
DOORS = {
    ("film", "plot"),
    ("film", "widgets"),
    ("model", "generate"),
}  # the only imports upward, inside functions: a film becomes a page or a player, a model generates
LIGHT = (
    "pymatgen",
    "ase",
    "plotly",
    "lightning",
    "pandas",
    "IPython",
    "jupyter_client",
    "ipykernel",
    "ipywidgets",
    "torch_geometric",
    "matplotlib",
)
CORE = "lattice crystal neighbors schedule diffusion sampler film basis encoder heads gemnet denoiser prior model".split()


def cells(path):
    return json.loads(path.read_text())["cells"]


def text(cell):
    return "".join(cell["source"])


def exports(path):
    "The module that a notebook exports, if any."
    found = [
        m[1]
        for c in cells(path)
        if c["cell_type"] == "code" and (m := re.search(r"^#\|\s*default_exp\s+(\S+)", text(c), re.M))
    ]
    return found[0] if found else None


def numbers():
    "Module -> number of the notebook that makes it."
    return {m: int(p.name.split("_")[0]) for p in NOTEBOOKS if (m := exports(p))}


def package_names(tree):
    "What `from dpcdvae import name` reaches: name -> module."
    init = ast.parse((ROOT / "dpcdvae/__init__.py").read_text())
    home = next(n.value for n in ast.walk(init) if isinstance(n, ast.Assign) and n.targets[0].id == "_HOME")
    return {k.arg: k.value.value for k in home.keywords}


def imports(tree):
    "(module of the package, inside a function?) for every import of a sibling."
    names, found = package_names(tree), []
    inside = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for n in ast.walk(f)
    }
    for n in ast.walk(tree):
        if isinstance(n, ast.ImportFrom):
            base = "dpcdvae" + (f".{n.module}" if n.module else "") if n.level == 1 else n.module or ""
            parts = base.split(".")
            if parts[0] != "dpcdvae":
                continue
            got = (
                [parts[1]]
                if len(parts) > 1
                else [names.get(a.name, a.name) for a in n.names if a.name != "__version__"]
            )
        elif isinstance(n, ast.Import):
            got = [a.name.split(".")[1] for a in n.names if a.name.startswith("dpcdvae.")]
        else:
            continue
        found += [(g, id(n) in inside) for g in got]
    return found


def test_imports_go_one_way():
    number, wrong = numbers(), []
    assert len(number) >= 18 and len(set(number.values())) == len(number), (
        "every module has a notebook and a number of its own"
    )
    for module, mine in number.items():
        for other, in_function in imports(ast.parse((ROOT / f"dpcdvae/{module}.py").read_text())):
            if other not in number:
                wrong.append(f"{module} imports {other}, which no notebook makes")
            elif number[other] >= mine and not (in_function and (module, other) in DOORS):
                wrong.append(f"{module} ({mine:02d}) imports {other} ({number[other]:02d})")
    assert not wrong, wrong


def test_import_scanner_sees_every_form():
    code = "from .a import x\nfrom dpcdvae.b import y\nimport dpcdvae.c\nfrom dpcdvae import toy\ndef f():\n    from dpcdvae.d import z\nimport torch\nfrom torch import nn"
    assert sorted(imports(ast.parse(code))) == [
        ("a", False),
        ("b", False),
        ("c", False),
        ("crystal", False),
        ("d", True),
    ]


def test_schedule_denoiser_and_sampler_do_not_import_each_other():
    top = {
        m: {o for o, _ in imports(ast.parse((ROOT / f"dpcdvae/{m}.py").read_text()))}
        for m in ("schedule", "sampler", "gemnet")
    }
    assert (
        not top["schedule"]
        and not top["sampler"] & {"schedule", "denoiser", "gemnet"}
        and not top["gemnet"] & {"schedule", "sampler", "diffusion"}
    )


def test_notebooks_and_package_in_step(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(
        ROOT,
        copy,
        ignore=shutil.ignore_patterns(
            ".venv",
            ".git",
            "data",
            "runs",
            "results",
            "__pycache__",
            "*.egg-info",
            "node_modules",
            ".benchmarks",
            ".pytest_cache",
            ".ipynb_checkpoints",
        ),
    )
    for p in (copy / "dpcdvae").glob("*.py"):
        if p.name != "__init__.py":
            p.unlink()  # an orphan module would stay behind
    env = dict(os.environ, PYTHONPATH=str(copy), OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", "from nbdev.doclinks import nbdev_export; nbdev_export()"],
        cwd=copy,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    here, there = ({p.name: p.read_bytes() for p in (base / "dpcdvae").glob("*.py")} for base in (ROOT, copy))
    assert set(here) == set(there)
    differ = [n for n in sorted(here) if here[n] != there[n]]
    assert not differ, f"{', '.join(differ)}: not what the notebooks export; run make export"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebook_is_clean(path):
    book, raw = json.loads(path.read_text()), path.read_text()
    assert path.stat().st_size < 300_000, f"{path.stat().st_size} bytes"
    assert "widgets" not in book["metadata"] and "application/vnd.jupyter.widget-state+json" not in raw
    for c in book["cells"]:
        errors = [o for o in c.get("outputs", []) if o["output_type"] == "error"]
        assert not errors, f"{errors[0]['ename']}: {errors[0]['evalue']}"
        assert not c["metadata"], f"cell metadata {set(c['metadata'])}: run nbdev_clean"
    words = "\n".join(text(c) + json.dumps(c.get("outputs", [])) for c in book["cells"])
    bad = re.findall(
        r"(?:(?<![\w.~])/(?:work|home|root|Users)/\S*|\b[Ss]essions?\b|\b[Ii]ssue #|\bTODO\b|\bFIXME\b)",
        words,
    )
    assert not bad, bad


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if exports(p)], ids=lambda p: p.name)
def test_exporting_notebook_opens_with_its_module_title_and_subtitle(path):
    first, second, *_, last = cells(path)
    assert (
        first["cell_type"] == "code" and text(first).strip() == f"#| default_exp {path.stem.split('_', 1)[1]}"
    )
    lines = [l for l in text(second).splitlines() if l.strip()]
    assert (
        second["cell_type"] == "markdown"
        and lines[0].startswith("# ")
        and lines[1].startswith("> ")
        and len(lines[1]) > 12
    )
    assert "#| hide" in text(last) and "nbdev_export()" in text(last)


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if exports(p)], ids=lambda p: p.name)
def test_import_cells_hold_imports_only(path):
    "Otherwise nbdev runs too much when it documents the module."
    for c in cells(path):
        if c["cell_type"] != "code" or not re.search(r"^#\|\s*exports?\b", text(c), re.M):
            continue
        body = ast.parse(re.sub(r"^#\|.*$", "", text(c), flags=re.M)).body
        kinds = {isinstance(n, (ast.Import, ast.ImportFrom)) for n in body}
        assert kinds != {True, False}, text(c)[:200]


def run(code, timeout=120):
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stderr[-1500:]
    return done.stdout


def test_import_is_light():
    code = (
        "import sys, time, torch\nheavy = %r\nbefore = {h for h in heavy if h in sys.modules}\nt = time.perf_counter()\nimport dpcdvae\nt = time.perf_counter() - t\n"
        "print(t, *({h for h in heavy if h in sys.modules} - before))" % (LIGHT,)
    )
    seconds = []
    for _ in range(3):
        t, *loaded = run(code).split()
        assert not loaded, f"import dpcdvae loads {loaded}"
        seconds.append(float(t))
    print(f"import dpcdvae adds {min(seconds):.3f} s to importing torch")
    assert min(seconds) < 1.0


def test_core_imports_with_torch_alone():
    blocked = (*LIGHT, "scipy", "spglib", "smact", "tensorboard", "nbdev", "fastcore")
    code = f"""
import sys, torch
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}: raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
try: import pymatgen
except ImportError: print("blocked")
import importlib
for m in {CORE!r}: importlib.import_module("dpcdvae." + m)
from dpcdvae.crystal.batch import toy
print(toy("SrTiO3").formulas()[0])
from dpcdvae.model.dpcdvae import DPCDVAE
"""
    assert run(code).split() == ["blocked", "SrTiO3"]


def test_names_of_the_package_mean_one_thing():
    "A name of the package is no module's name: it stays the same object once every module was imported."
    code = """
import dpcdvae, importlib
first = {n: getattr(dpcdvae, n) for n in dpcdvae.__all__}
import dpcdvae.train, dpcdvae.judgement
from dpcdvae import evaluate
again = {n: getattr(dpcdvae, n) for n in dpcdvae.__all__}
print(*[n for n in first if first[n] is not again[n]], callable(evaluate))
assert set(dpcdvae.__all__) <= set(dir(dpcdvae))
try: dpcdvae.nothing
except AttributeError as e: assert "nothing" in str(e)
"""
    assert run(code).split() == ["True"]


def targets():
    return set(re.findall(r"^([\w-]+)\s*:(?!=)", (ROOT / "Makefile").read_text(), re.M))


def test_commands_of_the_readme_are_targets_of_make():
    readme = (ROOT / "README.md").read_text()
    fenced = re.findall(r"^make (\w+)", readme, re.M)
    assert fenced[:2] == ["demo", "test"], "the two commands stand first"
    named = set(fenced) | set(re.findall(r"`make (\w+)", readme))
    assert named <= targets(), named - targets()
    assert targets() >= {"setup", "demo", "test", "lab", "bench"}
    assert "make test" in (ROOT / ".ci/run").read_text() and os.access(ROOT / ".ci/run", os.X_OK)


def test_what_make_runs_exists():
    makefile, missing = (ROOT / "Makefile").read_text(), []
    for f in re.findall(r"\b((?:tests|nbs|data)/[\w/]+\.(?:py|ipynb))", makefile):
        if not (ROOT / f).exists():
            missing.append(f)
    for m in re.findall(r"-m dpcdvae\.(\w+)", makefile):
        if not (ROOT / f"dpcdvae/{m}.py").exists():
            missing.append(f"dpcdvae.{m}")
    assert not missing, missing


def test_readme_is_made_from_the_index_notebook():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/readme.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-500:]


def test_pictures_of_readme_and_index_are_there_and_small():
    named = lambda path: [
        path.parent / f for f in re.findall(r"!\[[^\]]{10,}\]\(([^)]+)\)", path.read_text())
    ]
    shown = named(ROOT / "README.md")
    assert shown == named(ROOT / "nbs/index.ipynb") and 2 <= len(shown) <= 3
    for p in shown:
        assert 5_000 < p.stat().st_size < 80_000, p.name


def test_figures_of_the_readme_are_those_of_the_results():
    from benchmarks.studies import study_table

    table, readme = study_table(ROOT / "results"), (ROOT / "README.md").read_text()
    assert table.count("\n") >= 2 and table in readme, "run the index notebook, then make readme"


def test_figures_of_the_bench_chapter_are_those_of_the_results():
    from benchmarks.studies import study_table, switch_table

    shown = "\n".join(
        "".join(o["data"]["text/markdown"])
        for c in cells(ROOT / "nbs/results/03_figures.ipynb")
        for o in c.get("outputs", [])
        if "text/markdown" in o.get("data", {})
    )
    for table in (study_table(ROOT / "results"), switch_table(ROOT / "results/switches.json")):
        assert table in shown, "execute nbs/results/03_figures.ipynb"


@pytest.mark.parametrize("path", sorted((ROOT / "results").rglob("*.json")), ids=lambda p: p.stem)
def test_results_name_no_place_of_a_machine(path):
    assert not re.findall(r'"(?:/|\.\.|[A-Z]:)[^"]*"', path.read_text())


def test_page_of_results_is_in_step():
    from benchmarks.page import results_page

    assert (ROOT / "results/README.md").read_text() == results_page(ROOT / "results") + "\n", (
        "run: python -m benchmarks page"
    )
