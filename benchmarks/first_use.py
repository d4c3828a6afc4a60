"How long does somebody wait who meets the package for the first time?"

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.longrun import PROGRAM
from benchmarks.player import chromium
from benchmarks.speed import children_seconds, circumstances, disturbed
from benchmarks.tables import table
from dpcdvae.data.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
GOALS = dict(misspelt=2.0, training=45.0, first_crystal=15.0)  # seconds, on a quiet machine
CARDS = "document.querySelectorAll('.dpcdvae-gallery button svg').length"


def environment() -> dict:
    "Let started programs import this copy of the package, with one thread."
    return os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")


def timed(*words: str) -> tuple[int, float, float]:  # exit code, seconds, seconds of the processor
    "Run the command line in a process of its own."
    start, before = time.perf_counter(), children_seconds()
    done = subprocess.run([*PROGRAM, *words], capture_output=True, env=environment())
    return done.returncode, time.perf_counter() - start, children_seconds() - before


def misspelt(repeats: int = 3) -> dict:  # seconds, processor
    "Time how soon a misspelt flag is named: the shortest of some tries."
    tries = [timed("train", "--dta", "perov_mini", "--out", "x") for _ in range(repeats)]
    if any(code != 2 for code, *_ in tries):
        raise RuntimeError(f"a misspelt flag must end with exit code 2, not {[t[0] for t in tries]}")
    return dict(seconds=min(t[1] for t in tries), processor=min(t[2] for t in tries))


def short_training(folder: Path, num: int = 8) -> dict:  # seconds, processor
    "Time a training of at most 30 seconds on a folder of CIFs, with all that is around it."
    from dpcdvae import load_crystals

    (folder / "cifs").mkdir()
    crystals = load_crystals("perov_mini", split="train", progress=False)[:num]
    for i, structure in enumerate(crystals.to_structures()):
        structure.to(filename=str(folder / "cifs" / f"{i}.cif"))
    words = ("--data", str(folder / "cifs"), "--out", str(folder / "run"), "--max-time", "00:00:30")
    code, seconds, processor = timed("train", *words)
    if code:
        raise RuntimeError(f"the training ended with exit code {code}")
    return dict(seconds=seconds, processor=processor, crystals=num)


def start_lab(folder: Path, port: int) -> subprocess.Popen:
    "Start JupyterLab as `make lab` does, on a copy of the tour."
    (folder / "work").mkdir()
    tour = (ROOT / "nbs/tutorials/00_tour.ipynb").read_bytes()
    (folder / "work" / "tour.ipynb").write_bytes(tour)
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=", "--ServerApp.password="]
    options += [f"--ServerApp.root_dir={folder / 'work'}", "--LabApp.expose_app_in_browser=True"]
    env = environment() | dict(JUPYTER_CONFIG_PATH=str(ROOT / "share/jupyter/config"))
    env |= dict(JUPYTERLAB_WORKSPACES_DIR=str(folder / "spaces"), JUPYTER_RUNTIME_DIR=str(folder / "runtime"))
    program = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", *options]
    with open(folder / "lab.log", "w") as log:
        return subprocess.Popen(program, env=env, stdout=log, stderr=log)


def answers(port: int, seconds: float = 180.0) -> None:
    "Wait for the server."
    end = time.time() + seconds
    while time.time() < end:
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("JupyterLab did not start")


def watch_tour(page, port: int) -> dict:  # seconds until the notebook and the first crystal are seen
    "Open the tour, run it, and wait for the first crystals that its own code draws."
    start = time.perf_counter()
    page.goto(f"http://127.0.0.1:{port}/lab/tree/tour.ipynb?reset")
    page.wait_for_selector(".jp-OutputArea img", timeout=180000)
    seen = time.perf_counter() - start
    ready = "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.connectionStatus"
    page.wait_for_function(f"{ready} === 'connected'", timeout=180000)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(f"{CARDS} > 0", timeout=300000)
    return dict(still_picture=seen, seconds=time.perf_counter() - start)


def first_crystal(folder: Path) -> dict:  # seconds, processor of the kernel until then
    "Time from opening the tour in JupyterLab to its first crystal."
    import psutil
    from playwright.sync_api import sync_playwright

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = start_lab(folder, port)
    try:
        answers(port)
        with sync_playwright() as p:
            browser = p.chromium.launch(**(chromium() or {}))
            found = watch_tour(browser.new_page(viewport=dict(width=1280, height=900)), port)
            kernels = psutil.Process(server.pid).children(recursive=True)
            found["processor"] = sum(sum(k.cpu_times()[:2]) for k in kernels)
            browser.close()
        return found
    finally:
        for process in [*psutil.Process(server.pid).children(recursive=True), server]:
            process.terminate()
        server.wait(30)


def first_use() -> dict:
    "Measure all three."
    when = circumstances()
    with tempfile.TemporaryDirectory() as d:
        found = dict(
            misspelt=misspelt(), training=short_training(Path(d)), first_crystal=first_crystal(Path(d))
        )
    rounded = {k: {n: round(v, 2) for n, v in m.items()} for k, m in found.items()}
    return dict(name="first_use", measured=rounded, goals=GOALS, made_on=when)


def first_use_table(r: dict) -> str:  # markdown
    "Put waiting times next to their goals."
    names = dict(
        misspelt="a misspelt flag is named",
        training="`train` on 8 CIFs with `--max-time 00:00:30` has ended",
        first_crystal="the first crystal of the tour is drawn, after its page was opened",
    )
    head, rows = ["", "seconds", "of these, processor", "goal on a quiet machine"], []
    for key, name in names.items():
        m = r["measured"][key]
        rows.append([name, f"{m['seconds']:.1f}", f"{m['processor']:.1f}", f"{r['goals'][key]:.0f}"])
    still = r["measured"]["first_crystal"]["still_picture"]
    load = r["made_on"]["load"]
    end = f". **{warning}**" if (warning := disturbed(load)) else "."
    about = f"A still picture of the crystals is seen after {still:.1f} s; load {load:.2f} before{end}"
    return f"{table(head, rows)}\n\n{about}"


def main(argv=None):
    "Measure, write, print."
    p = argparse.ArgumentParser("python -m benchmarks.first_use", description=__doc__)
    p.add_argument("--out", type=Path, required=True)
    a = p.parse_args(argv)
    result = first_use()
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    print(first_use_table(result))


if __name__ == "__main__":
    main()
