"""Run notebooks as tests, as `nbdev_test` does, each in a process of its own that is forked from one with
torch, pymatgen and plotly already imported: what a notebook costs is then what it computes.

    python tests/notebooks.py [-n 2] [NOTEBOOK ...]

Without names, all notebooks below `nbs`. One line a notebook; a failure prints what the notebook said. A cell
whose stored text differs from what it prints now is reported, and with `--stale` a failure: numbers may
differ, which machines and random draws do, and a cell that begins with `#| varies` may differ in all."""

import argparse
import os
import re
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STALE = 3  # exit status of a notebook that runs, but has stale outputs
HEAVY = (  # what many notebooks import; a name still has to be imported where it is used
    "torch",
    "torch_geometric.nn",
    "pandas",
    "scipy.optimize",
    "plotly.graph_objects",
    "plotly.io",
    "ipywidgets",
    "pymatgen.core",
    "pymatgen.analysis.structure_matcher",
    "pymatgen.symmetry.analyzer",
    "fastcore.test",
    "execnb.shell",
    "nbdev.test",
)


PLACE = re.compile(r" at 0x[0-9a-f]+|\btmp\w{8}\b")  # of an object in memory, of a temporary file
NUMBER = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?|\b(?:nan|inf)\b")


def said(cell) -> str:
    "The text of a cell's outputs, without its numbers and white space."
    texts = []
    for o in getattr(cell, "outputs", None) or []:
        data = o.get("data") or {}
        if o.get("output_type") == "stream" and o.get("name") == "stdout":
            texts.append("".join(o["text"]))
        elif set(data) == {"text/plain"}:
            texts.append("".join(data["text/plain"]))
        elif "text/markdown" in data:
            texts.append("".join(data["text/markdown"]))
    return "".join(NUMBER.sub("#", PLACE.sub("", " ".join(texts))).split())


def run(path: Path) -> list[str]:  # what is stale
    "Run one notebook in this process, skipping what nbdev skips; a cell that fails raises SystemExit."
    from execnb.shell import CaptureShell
    from nbdev.config import get_config
    from nbdev.process import NBProcessor

    config = get_config()
    sys.path.insert(0, str(config.config_path))
    os.environ["IN_TEST"] = "1"
    skipped = set(config.tst_flags.split())
    book = NBProcessor(path, process=True).nb

    def skip(cell) -> bool:
        flags = getattr(cell, "directives_", None) or {}
        no = flags.get("eval:", [""])[0].lower() == "false" or skipped & set(flags)
        return cell.cell_type != "code" or "nbdev_export(" in cell.source or bool(no)

    ran = [c for c in book.cells if not skip(c)]
    stored = [said(c) for c in ran]
    for c in ran:
        c.outputs = []
    shell = CaptureShell(path)
    os.chdir(path.parent)
    try:
        shell.run_all(book, exc_stop=True, preproc=skip)
    except BaseException:
        raise SystemExit(shell.prettytb(fname=path)) from None
    pairs = [(b, said(c)) for c, b in zip(ran, stored) if "varies" not in (c.directives_ or {})]
    return [f"stored: {b[:300]}\nnow:    {now[:300]}" for b, now in pairs if b != now]


def child(path: Path, log: int) -> None:
    "What a forked process does: run a notebook, with all it says in a file."
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        stale = run(path)
        print(
            *["outputs are not what the code prints; run the notebook anew", *stale] if stale else [],
            sep="\n",
        )
        code = STALE if stale else 0
    except BaseException as e:  # whatever ends a notebook is its failure
        print(e)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def start(path: Path):  # process, its log, when it started
    "Fork a process for one notebook."
    log = tempfile.TemporaryFile()
    pid = os.fork()
    if pid == 0:
        child(path, log.fileno())
    return pid, (path, log, time.time())


def finish(path: Path, log, begun: float, status: int) -> str:  # passed, stale or FAILED
    "Report one notebook."
    outcome = {0: "passed", STALE: "stale"}.get(os.waitstatus_to_exitcode(status), "FAILED")
    if outcome != "passed":
        log.seek(0)
        print(log.read().decode(errors="replace"))
    print(f"{path.relative_to(ROOT / 'nbs')} {outcome} {time.time() - begun:.0f} s", flush=True)
    return outcome


def run_all(paths: list[Path], num: int) -> dict[str, list[Path]]:  # outcome -> notebooks
    "Run notebooks, some at a time."
    for name in HEAVY:
        import_module(name)
    waiting, running = list(paths), {}
    outcomes = {"passed": [], "stale": [], "FAILED": []}
    while waiting or running:
        while waiting and len(running) < num:
            pid, job = start(waiting.pop(0))
            running[pid] = job
        pid, status = os.wait()
        job = running.pop(pid)
        outcomes[finish(*job, status)].append(job[0])
    return outcomes


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("-n", type=int, default=2, help="notebooks at a time")
    p.add_argument("--stale", action="store_true", help="fail where a stored output is stale")
    p.add_argument("paths", nargs="*", type=Path)
    a = p.parse_args()
    books = [p.resolve() for p in a.paths] or sorted((ROOT / "nbs").rglob("*.ipynb"), reverse=True)
    books = [p for p in books if ".ipynb_checkpoints" not in p.parts]
    if not a.paths:  # tests/test_course.py runs the lessons, as students get them and with solutions
        books = [p for p in books if not re.match(r"course/0[1-9]", p.relative_to(ROOT / "nbs").as_posix())]
    begun = time.time()
    outcomes = run_all(books, a.n)
    print(*(f"{name} {len(found)}" for name, found in outcomes.items()), f"in {time.time() - begun:.0f} s")
    bad = outcomes["FAILED"] + outcomes["stale"] * a.stale
    if bad:
        raise SystemExit("not passed: " + ", ".join(str(p.relative_to(ROOT)) for p in bad))
