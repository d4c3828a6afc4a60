"The architecture: imports go one way, notebooks and package agree, notebooks are clean, commands exist."

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from functools import lru_cache

import pytest

from benchmarks.house import ROOT, Import, circles, exports, imports, modules, notebooks
from benchmarks.house import cell_text as text
from benchmarks.house import read_cells as cells

NOTEBOOKS = notebooks(ROOT)
BOOKS = dict(argvalues=NOTEBOOKS, ids=lambda p: f"{p.parent.name}/{p.name}")
CHAPTERS = dict(BOOKS, argvalues=[p for p in NOTEBOOKS if exports(p)])
DOORS = {  # the only imports of our own upward, or inside functions; the command line loads lazily
    ("crystal.batch", "data.results"),  # crystals become a list of results
    ("data.results", "evaluation.export"),  # a list of results is written as an export is
    ("data.results", "viz.view"),  # and shown
    ("evaluation.matching", "evaluation.compiled"),  # the compiler is loaded where there is work for it
    ("diffusion.trajectory", "viz.page"),  # a trajectory becomes a page
    ("diffusion.trajectory", "viz.player"),  # or is shown in a notebook
    ("model.dpcdvae", "model.pretrained"),  # a model saves itself
    ("model.dpcdvae", "generation.generate"),  # and generates
}
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
CORE = ("crystal.", "diffusion.", "nn.", "model.config", "model.prior", "model.dpcdvae")


@lru_cache
def all_imports():
    "Module -> imports of modules of the package."
    return {m: imports(ROOT / f"dpcdvae/{m.replace('.', '/')}.py", m) for m in modules(ROOT)}


def test_every_module_has_a_folder_and_a_number_of_its_own():
    place = modules(ROOT)
    assert len(place) > 60 and len(set(place.values())) == len(place), "two chapters with one number"
    files = {
        p.relative_to(ROOT / "dpcdvae").with_suffix("").as_posix().replace("/", ".")
        for p in (ROOT / "dpcdvae").glob("*/*.py")
        if p.name not in ("__init__.py", "__main__.py")
    }
    assert files == set(place), f"without a notebook, or not exported: {sorted(files ^ set(place))}"


def test_an_installed_package_has_all_its_files():
    "What is not Python travels only if setup.py names it."
    found = re.search(r"package_data=\{\"dpcdvae\": (\[.*?\])\}", (ROOT / "setup.py").read_text())
    patterns, package = ast.literal_eval(found[1]), ROOT / "dpcdvae"
    packed = {p for pattern in patterns for p in package.glob(pattern)}
    files = {p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    left = {p for p in files - packed if p.suffix not in (".py", ".pyc")}
    assert not left, f"not in a wheel: {sorted(left)}"


def test_imports_go_down_the_folders_and_up_the_numbers():
    place, wrong = modules(ROOT), []
    for module, found in all_imports().items():
        for one in found:
            if one.target not in place:
                wrong.append(f"{module} imports {one.target}, which no notebook makes")
            elif place[one.target] >= place[module] and (module, one.target) not in DOORS:
                wrong.append(f"{module} {place[module]} imports {one.target} {place[one.target]}")
            elif place[one.target] >= place[module] and not one.inside:
                wrong.append(f"{module} imports {one.target}, above it, when it is imported itself")
    assert not wrong, "\n".join(wrong)


def test_imports_inside_functions_are_doors():
    inner = {
        (m, one.target)
        for m, found in all_imports().items()
        for one in found
        if one.inside and m[:4] != "cli."
    }
    assert inner <= DOORS, f"import at the top of the module, or name a door: {sorted(inner - DOORS)}"


def test_there_are_no_circles():
    arrows = {m: {one.target for one in found if not one.inside} for m, found in all_imports().items()}
    assert circles(arrows) == []
    assert circles(dict(a={"b"}, b={"c"}, c={"a"}, d={"a"})) == [{"a", "b", "c"}]


def test_import_scanner_sees_every_form(tmp_path):
    code = """
from .a import x
from ..crystal import batch
from ..crystal.lattice import y
import dpcdvae.viz.page
from dpcdvae import toy
def f():
    from dpcdvae.data.d import z
import torch
from torch import nn
from dpcdvae import __version__
"""
    (tmp_path / "m.py").write_text(code)
    assert sorted(imports(tmp_path / "m.py", "nn.m")) == [
        Import("crystal.batch", False),
        Import("crystal.batch", False),
        Import("crystal.lattice", False),
        Import("data.d", True),
        Import("nn.a", False),
        Import("viz.page", False),
    ]


def test_schedules_networks_and_samplers_do_not_import_each_other():
    targets = {m: {one.target for one in found} for m, found in all_imports().items()}
    folders = {m: {t.split(".")[0] for t in found} for m, found in targets.items()}
    for module, known in folders.items():
        if module.startswith("nn."):
            assert not targets[module] & {"diffusion.samplers", "diffusion.trajectory"}, module
        if module.startswith("diffusion."):
            assert not known & {"nn", "model"}, module
        if module.startswith(("evaluation.", "energy.")):
            assert not known & {"nn", "model", "generation", "diffusion"}, f"{module} knows models"
    assert "diffusion.schedules" not in targets["diffusion.samplers"]


def test_the_library_does_not_know_its_benchmarks():
    for path in (ROOT / "dpcdvae").rglob("*.py"):
        assert not re.search(r"^\s*(?:from|import) benchmarks\b", path.read_text(), re.M), path


def test_notebooks_and_package_in_step(tmp_path):
    copy = tmp_path / "copy"
    left = ".venv .git data runs results _site _slides _figures __pycache__ *.egg-info node_modules"
    left += " .pytest_cache .ipynb_checkpoints"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*left.split()))
    shutil.copytree(ROOT / "dpcdvae/data", copy / "dpcdvae/data", ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copytree(ROOT / "nbs/data", copy / "nbs/data")
    shutil.copytree(ROOT / "nbs/results", copy / "nbs/results")
    for p in (copy / "dpcdvae").rglob("*.py"):
        if "AUTOGENERATED" in p.read_text():
            p.unlink()  # an orphan module would stay behind
    env = dict(os.environ, PYTHONPATH=str(copy), OMP_NUM_THREADS="1")
    code = "from nbdev.doclinks import nbdev_export; nbdev_export()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    read = lambda base: {
        p.relative_to(base).as_posix(): p.read_bytes()
        for p in (base / "dpcdvae").rglob("*.py")
        if "__pycache__" not in p.parts
    }
    here, there = read(ROOT), read(copy)
    assert set(here) == set(there), sorted(set(here) ^ set(there))
    differ = [n for n in sorted(here) if here[n] != there[n]]
    assert not differ, f"{', '.join(differ)}: not what the notebooks export; run make export"


@pytest.mark.parametrize("path", **BOOKS)
def test_notebook_is_clean(path):
    book, raw = json.loads(path.read_text()), path.read_text()
    assert path.stat().st_size < 300_000, f"{path.stat().st_size} bytes"
    assert "widgets" not in book["metadata"] and "application/vnd.jupyter.widget-state+json" not in raw
    for c in book["cells"]:
        errors = [o for o in c.get("outputs", []) if o["output_type"] == "error"]
        assert not errors, f"{errors[0]['ename']}: {errors[0]['evalue']}"
        extra = c["metadata"] not in ({}, dict(tags=["exercise"]))
        assert not extra, f"cell metadata {c['metadata']}: run nbdev_clean"
    words = "\n".join(text(c) + json.dumps(c.get("outputs", [])) for c in book["cells"])
    bad = re.findall(
        r"(?:(?<![\w.~])/(?:work|home|root|Users)/\S*|\b[Ss]essions?\b|\b[Ii]ssue #|\bTODO\b|\bFIXME\b)",
        words,
    )
    assert not bad, bad


@pytest.mark.parametrize("path", **CHAPTERS)
def test_exporting_notebook_opens_with_its_module_title_and_subtitle(path):
    first, second, *_, last = cells(path)
    module = f"{path.parent.name}.{path.stem.split('_', 1)[1]}"
    assert first["cell_type"] == "code" and text(first).strip() == f"#| default_exp {module}"
    lines = [l for l in text(second).splitlines() if l.strip()]
    assert (
        second["cell_type"] == "markdown"
        and lines[0].startswith("# ")
        and lines[1].startswith("> ")
        and len(lines[1]) > 12
    )
    assert "#| hide" in text(last) and "nbdev_export()" in text(last)


@pytest.mark.parametrize("path", **CHAPTERS)
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
    code = f"""
import sys, time, torch
heavy = {LIGHT!r}
before = {{h for h in heavy if h in sys.modules}}
start = time.perf_counter()
import dpcdvae
seconds = time.perf_counter() - start
print(seconds, *({{h for h in heavy if h in sys.modules}} - before))
"""
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
for m in {[m for m in modules(ROOT) if m.startswith(CORE)]!r}: importlib.import_module("dpcdvae." + m)
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
import dpcdvae.model.training, dpcdvae.evaluation.evaluate
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
    for m in re.findall(r"-m (benchmarks|dpcdvae)\b", makefile):
        if not (ROOT / m / "__main__.py").exists():
            missing.append(m)
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
    assert shown == named(ROOT / "nbs/index.ipynb") and 5 <= len(shown) <= 8
    for p in shown:
        assert 5_000 < p.stat().st_size < 80_000, p.name


def test_figures_of_the_readme_are_those_of_the_results():
    from benchmarks.studies import study_table
    from benchmarks.summaries import placed_again

    table, readme = study_table(ROOT / "results"), (ROOT / "README.md").read_text()
    assert table.count("\n") >= 2 and table in readme, "run the index notebook, then make readme"
    assert placed_again(ROOT / "results") in readme, "run the index notebook, then make readme"


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


NOUNS = (
    "atom bond candidate cell corner crystal device dimension element epoch evaluation file film image "
    "label line minute model number page phase place point prediction proposal prototype remark result "
    "round row run second site split start step structure target thread time trial value weight process box"
).split()
PLURAL = re.compile(rf"^ (?:{'|'.join(f'{w}s|{w}es' for w in NOUNS)})\b(?!/)")
NEVER_ONE = {  # numbers that are followed by a plural: each is more than one, or no count
    ("cli/cards", "training['num_train']"),
    ("crystal/batch", "int(read[i])"),
    ("course/checks", "factor"),
    ("data/cell", "num"),
    ("data/cif", "len(found)"),
    ("data/parsers", "len(found)"),
    ("energy/descent", "growth"),
    ("model/module", "norm / usual"),
    ("viz/latent", "far"),
    ("viz/polyhedra", "len(self.corners)"),
}


def test_a_number_before_a_plural_goes_through_one_function():
    "So that a single crystal is never `1 crystals`: `number_of` of `data.files`."
    found = set()
    for path in (ROOT / "dpcdvae").rglob("*.py"):
        texts = (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.JoinedStr))
        pairs = ((path, a, b) for t in texts for a, b in zip(t.values, t.values[1:]))
        for where, a, b in pairs:
            if isinstance(a, ast.FormattedValue) and PLURAL.match(str(getattr(b, "value", ""))):
                name = where.relative_to(ROOT / "dpcdvae").with_suffix("").as_posix()
                found.add((name, ast.unparse(a.value)))
    assert found == NEVER_ONE
