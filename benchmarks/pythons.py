"""The short tests in a fresh environment of each Python, with the newest libraries and with the oldest.

    python -m benchmarks.pythons --out results/pythons.json [--only 3.12 oldest] [--wheels FOLDER]

An environment holds what settings.ini asks for and what the tests need, installed from the package index by
uv where it is there, else by pip. `oldest` takes each library at the lower end that settings.ini states.
Interpreters are those of this machine (on the path, or of pyenv); one that is missing is noted as missing."""

import argparse
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("reference_numbers", "definitions", "symmetry", "sampler", "film", "steer", "plot", "cli")
SHORT = [f"tests/test_{name}.py" for name in NAMES]
TOOLS = ("pytest", "pytest-xdist", "psutil", "nbconvert", "distributed", "ruff", "setuptools")
SHOWN = ("torch", "lightning", "pymatgen", "ase", "plotly", "ipywidgets", "numpy", "pandas", "matminer")
CASES = {"3.11": "3.11", "3.12": "3.12", "3.13": "3.13", "oldest": "3.11"}  # name -> Python


def settings() -> configparser.SectionProxy:
    "Read settings.ini."
    found = configparser.ConfigParser()
    found.read(ROOT / "settings.ini")
    return found["DEFAULT"]


def requirements(oldest: bool) -> list[str]:
    "List what is installed: what settings.ini asks for, and what tests need; at the lower ends, or not."
    own = settings()
    wanted = own["requirements"].split()
    wanted += [r for r in own["dev_requirements"].split() if r.startswith(("nbdev", "execnb", "fastcore"))]
    if oldest:
        wanted = [re.sub(r"^([\w-]+)>=([\w.]+).*$", r"\1==\2", r) for r in wanted]
    else:
        pins = (ROOT / "requirements-pins.txt").read_text()
        wanted += [line for line in pins.splitlines() if line.startswith("torch==")]
    return [*wanted, *TOOLS]


def interpreter(version: str) -> str | None:  # path
    "Find a Python on the path, or among those of pyenv."
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [str(p / "bin" / "python") for p in sorted(homes.glob(f"{version}.*"))]
    found += [p for p in (shutil.which(f"python{version}"),) if p]
    runs = lambda p: subprocess.run([p, "-c", "import ssl, venv"], capture_output=True).returncode == 0
    return next((p for p in found if runs(p)), None)


def installed(
    python: str, env: Path, wanted: list[str], wheels: Path | None
) -> str:  # what went wrong, or ""
    "Make a fresh environment."
    uv = shutil.which("uv")
    links = ["--find-links", str(wheels)] if wheels else []
    inside = str(env / "bin" / "python")
    if uv:
        steps = [[uv, "venv", "-q", "--clear", "--python", python, str(env)]]
        steps += [[uv, "pip", "install", "-q", "--python", inside, *links, *wanted]]
    else:
        steps = [
            [python, "-m", "venv", "--clear", str(env)],
            [inside, "-m", "pip", "install", "-q", *links, *wanted],
        ]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            return done.stderr.strip()[-1500:]
    return ""


def tested(env: Path, tests: list[str], processes: int) -> dict:
    "Run tests in an environment; counts, and the names of those that failed."
    path = Path(tempfile.mkdtemp()) / "report.xml"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={path}", "-n", str(processes)]
    variables = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1", PYTHONDONTWRITEBYTECODE="1")
    variables["PATH"] = f"{env / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = [str(env / "bin" / "python"), *words, "--dist", "loadfile", *tests]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    if not path.exists():
        return dict(failed=["no test was run"], why=(done.stdout + done.stderr)[-1500:])
    cases = list(ET.parse(path).getroot().iter("testcase"))
    bad = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    name = lambda c: f"{c.get('classname').removeprefix('tests.')}::{c.get('name')}"
    why = lambda c: (c.find("failure") if c.find("failure") is not None else c.find("error")).get(
        "message", ""
    )
    skipped = sum(c.find("skipped") is not None for c in cases)
    counts = dict(passed=len(cases) - len(bad) - skipped, skipped=skipped, failed=[name(c) for c in bad])
    return counts | (dict(why=[why(c)[:300] for c in bad[:5]]) if bad else {})


def versions(env: Path) -> dict[str, str]:
    "Read which versions an environment holds."
    text = "import importlib.metadata as m, json, sys; v = {n: m.version(n) for n in sys.argv[1:]}; "
    text += "v['python'] = sys.version.split()[0]; print(json.dumps(v))"
    done = subprocess.run([str(env / "bin" / "python"), "-c", text, *SHOWN], capture_output=True, text=True)
    return json.loads(done.stdout)


def try_case(name: str, work: Path, wheels: Path | None, processes: int) -> dict:
    "Make the environment of a case and test in it."
    python = interpreter(CASES[name])
    if python is None:
        return dict(missing=f"no Python {CASES[name]} was found")
    start, env = time.monotonic(), work / name
    if wrong := installed(python, env, requirements(name == "oldest"), wheels):
        return dict(not_installed=wrong)
    ready = time.monotonic()
    found = dict(versions=versions(env), seconds_to_install=round(ready - start))
    found |= tested(env, SHORT, processes)
    return found | dict(seconds_of_tests=round(time.monotonic() - ready))


def pythons_table(r: dict) -> str:  # markdown
    "Lay the counts out."
    head = ("Python", *SHOWN, "passed", "skipped", "failed")
    rows = [" | ".join(("", "case", *head, "")).strip(), "|" + "---|" * (len(head) + 1)]
    for name, case in r["cases"].items():
        if "versions" not in case:
            rows.append(f"| {name} | {next(iter(case))} |")
            continue
        v = case["versions"]
        counts = (case.get("passed", 0), case.get("skipped", 0), len(case["failed"]))
        rows.append(f"| {' | '.join(map(str, (name, v['python'], *(v[n] for n in SHOWN), *counts)))} |")
    return "\n".join([f"`{' '.join(r['tests'])}`", "", *rows])


def main(argv=None) -> int:  # 1 where a test failed
    "Try the cases; write after each."
    p = argparse.ArgumentParser("python -m benchmarks.pythons")
    p.add_argument("--out", type=Path, default=Path("results/pythons.json"))
    p.add_argument("--work", type=Path, default=Path("runs/pythons"))
    p.add_argument("--only", nargs="+", choices=CASES)
    p.add_argument("--wheels", type=Path, help="a folder of wheels that the index does not have")
    p.add_argument("--processes", type=int, default=1)
    p.add_argument("--keep", action="store_true", help="keep the environments")
    a = p.parse_args(argv)
    old = json.loads(a.out.read_text()) if a.out.exists() else {}
    found = dict(kind="pythons", tests=SHORT, cases=old.get("cases", {}))
    for name in a.only or CASES:
        found["cases"][name] = try_case(name, a.work.resolve(), a.wheels, a.processes)
        print(name, json.dumps(found["cases"][name], indent=1), flush=True)
        found["made_on"] = circumstances()
        atomic_write(a.out, json.dumps(found, indent=1) + "\n")
        if not a.keep:
            shutil.rmtree(a.work / name, ignore_errors=True)
    return int(any(c.get("failed", True) for c in found["cases"].values()))


if __name__ == "__main__":
    sys.exit(main())
