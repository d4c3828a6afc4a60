"""Do tests fail when a tolerance, a threshold or a sign is changed?

    python -m benchmarks.mutants [--only WORD] [--out results/mutants.json]

Each line of tests/mutants.tsv changes one expression in a copy of the package; the tests of that
expression run in a process of their own. A mutant that tests have found is not tried again, unless its
module has changed."""

import argparse
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed import circumstances
from benchmarks.tables import table
from dpcdvae.data.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
FOUND = ("found", "no end")
WRONG = 70  # exit code: another copy of the package was imported
OUTCOMES = {0: "survived", 1: "found", 2: "found", 3: "found", 5: "no test", WRONG: "another package"}
SECONDS = 600  # a mutant that takes longer is counted as found: its loop has no end


class Mutant(NamedTuple):
    "One change, and where it should be noticed."

    file: str  # in dpcdvae
    old: str
    new: str
    tests: str  # tests/test_NAME.py
    words: str = ""  # of pytest's -k


def read_mutants(path: Path = ROOT / "tests/mutants.tsv") -> list[Mutant]:
    "Read the table of changes."
    return [Mutant(*line.split("\t")) for line in path.read_text().splitlines()[1:]]


EQUIVALENT = {  # change -> why no test can see it
    "(o <= 0 if e > cut else o >= 0)": "the same splits: each electronegativity is tried as a cut",
}


def copy_tree(folder: Path) -> Path:
    "Copy what tests need; the data next to the repository are linked."
    tree = folder / "project"
    for name in ("dpcdvae", "tests", "benchmarks", "data"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "settings.ini"):
        shutil.copy(ROOT / name, tree / name)
    if (ROOT.parent / "shared").exists():
        (folder / "shared").symlink_to((ROOT.parent / "shared").resolve())
    return tree


def warm_up() -> None:
    "Import what does not change, so that each process of tests begins with it."
    import ase.data  # noqa: F401
    import chgnet.model  # noqa: F401
    import matminer.featurizers.site.fingerprint  # noqa: F401
    import pymatgen.analysis.structure_matcher  # noqa: F401
    import smact.screening  # noqa: F401


def run_tests(tree: Path, mutant: Mutant, seconds: float = SECONDS) -> str:  # found, survived or no end
    "Run a mutant's tests in a process of their own."
    words = ["-k", mutant.words] if mutant.words else []
    child = os.fork()
    if not child:
        try:
            _pytest_in(tree, [f"tests/test_{mutant.tests}.py", "-x", "-q", "-p", "no:cacheprovider", *words])
        finally:  # a package that cannot be imported: this process must not go on as its parent does
            os._exit(1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return OUTCOMES.get(os.waitstatus_to_exitcode(status), "found")
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "no end"


def _pytest_in(tree: Path, arguments: list) -> None:
    "Run pytest on the copied package and end the process."
    import pytest

    for name in [n for n in sys.modules if n.split(".")[0] in ("dpcdvae", "benchmarks")]:
        del sys.modules[name]
    os.environ |= dict(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1")
    sys.path[:0] = [str(tree), str(tree / "tests")]
    sys.dont_write_bytecode = True
    os.chdir(tree)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    import dpcdvae

    here = Path(dpcdvae.__file__).is_relative_to(tree)
    os._exit(int(pytest.main(arguments)) if here else WRONG)


def key_of(tree: Path, mutant: Mutant) -> str:
    "Name a mutant by what it changes, and where."
    text = "\0".join([*mutant, (tree / "dpcdvae" / mutant.file).read_text()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def try_mutant(tree: Path, mutant: Mutant) -> str:
    "Change the copy, run the tests, change it back."
    path = tree / "dpcdvae" / mutant.file
    text = path.read_text()
    if text.count(mutant.old) < 1:
        return "not in the source"
    path.write_text(text.replace(mutant.old, mutant.new, 1))
    try:
        return run_tests(tree, mutant)
    finally:
        path.write_text(text)


def mutants_study(out: Path, only: str = "") -> dict:
    "Try all mutants, one after another."
    record = json.loads(out.read_text()) if out.exists() else dict(name="mutants", mutants={})
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        warm_up()
        keys = {key_of(tree, m): m for m in read_mutants()}
        record["mutants"] = {k: r for k, r in record["mutants"].items() if k in keys}
        for key, m in keys.items():
            if record["mutants"].get(key, {}).get("outcome") in FOUND or only not in f"{m.file} {m.old}":
                continue
            found = dict(file=m.file, old=m.old, new=m.new, tests=m.tests, outcome=try_mutant(tree, m))
            record["mutants"][key] = found
            record["made_on"] = circumstances()
            atomic_write(out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            print(f"{found['outcome']:10}{m.file}: {m.old} -> {m.new}", flush=True)
    return record


def mutants_table(r: dict) -> str:  # markdown
    "Count what tests found, and name the rest."
    files = sorted({m["file"] for m in r["mutants"].values()})
    of = lambda f: [m["outcome"] for m in r["mutants"].values() if m["file"] == f]
    seen = lambda f: sum(o in FOUND for o in of(f))
    rows = [[f"`{f}`", len(of(f)), seen(f)] for f in files]
    rows += [["together", len(r["mutants"]), sum(map(seen, files))]]
    left = [m for m in r["mutants"].values() if m["outcome"] not in FOUND]
    lines = [
        f"- `{m['file']}`: `{m['old']}` → `{m['new']}`: {EQUIVALENT.get(m['new'], m['outcome'])}"
        for m in left
    ]
    return "\n".join([table(["file", "mutants", "found by tests"], rows), "", *lines])


def main(argv=None) -> None:
    p = argparse.ArgumentParser("python -m benchmarks.mutants", description=__doc__)
    p.add_argument("--only", default="", help="mutants whose file or expression holds this")
    p.add_argument("--out", type=Path, default=Path("results/mutants.json"))
    a = p.parse_args(argv)
    print(mutants_table(mutants_study(a.out, a.only)))


if __name__ == "__main__":
    main()
