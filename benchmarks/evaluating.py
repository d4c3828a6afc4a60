"""How long does it take to evaluate many new crystals in full, but for relaxation, and how much memory?

    python -m benchmarks.evaluating POOL [POOL ...] --data DIR/mp_20 --num 10000

The pools are folders that hold crystals.csv; `dpcdvae evaluate` reads their first crystals as one set, with
an empty cache: the fingerprints of the test set are computed too."""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

from benchmarks.longrun import PROGRAM, memory_and_processor
from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write


def pooled(pools: list, num: int, folder: Path) -> list:  # crystals of each pool
    "Write the first crystals of some pools as one set."
    tables, left = [], num
    if len({Path(p).name for p in pools}) < len(pools):
        raise SystemExit("Two pools have one name, by which the record counts them: rename a folder.")
    for pool in pools:
        if not (Path(pool) / "crystals.csv").exists():
            raise SystemExit(f"{pool} holds no crystals.csv: name a folder that `dpcdvae generate` made.")
        tables.append(pd.read_csv(Path(pool) / "crystals.csv", usecols=["material_id", "cif"])[:left])
        left -= len(tables[-1])
    if left > 0:
        raise SystemExit(f"The pools hold {num - left} crystals, fewer than {num}: name another.")
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "crystals.csv", pd.concat(tables).to_csv(index_label="index"))
    return list(map(len, tables))


def watched_run(command: list, env: dict, every: float = 0.5) -> dict:  # seconds, processor_seconds, memory
    "Run a command; memory (MiB) is that of all its processes together, shared pages counted for each."
    start, memory = time.monotonic(), 0.0
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL)
    family = psutil.Process(process.pid)
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        memory = max(memory, memory_and_processor(family)[0])
        time.sleep(every)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}.")
    used = usage.ru_utime + usage.ru_stime  # of the workers too, once they are waited for
    return dict(
        seconds=round(time.monotonic() - start, 1),
        processor_seconds=round(used, 1),
        largest_memory=round(memory),
    )


def evaluating_study(pools: list, data: Path, num: int, workers: int) -> dict:
    "Evaluate crystals in full and measure the command."
    with tempfile.TemporaryDirectory() as folder:
        sizes = pooled(pools, num, Path(folder) / "new")
        known = ["--reference", str(data), "--test", str(data)]
        options = ["--continuous", "--workers", str(workers), "--quiet", "--out", f"{folder}/found"]
        command = [*PROGRAM, "evaluate", f"{folder}/new", *known, *options]
        env = os.environ | dict(OMP_NUM_THREADS="1", DPCDVAE_CACHE=f"{folder}/cache")
        found = watched_run(command, env)
        summary = json.loads((Path(folder) / "found/metrics.json").read_text())
    return dict(
        name="evaluating",
        data=data.name,
        num=num,
        pools={Path(p).name: n for p, n in zip(pools, sizes)},
        workers=workers,
        **found,
        metrics={k: m for k, m in summary["metrics"].items() if k in ("valid", "unique", "novel", "METRe")},
        made_on=circumstances(),
    )


def evaluating_table(r: dict) -> str:  # markdown
    "Say what the evaluation cost."
    made = ", ".join(f"{n:,} of {p}" for p, n in r["pools"].items())
    cost, wall = r["processor_seconds"], r["seconds"]
    return (
        f"{r['num']:,} crystals ({made}) against {r['data']}: validity under three settings, uniqueness, "
        f"novelty, METRe, COV, distances (AMD, ElMD), space groups. {cost:.0f} processor seconds, "
        f"{1000 * cost / r['num']:.0f} ms a crystal; {cost / 60 / r['workers']:.1f} min if {r['workers']} "
        f"processes have a core each, {wall / 60:.1f} min as it ran (load {r['made_on']['load']:.0f} on "
        f"{r['made_on']['cores']} cores); at most {r['largest_memory'] / 1024:.2f} GiB."
    )


def main(argv=None) -> None:
    p = argparse.ArgumentParser("python -m benchmarks.evaluating", description=__doc__)
    p.add_argument("pools", nargs="+", help="folders that hold crystals.csv")
    p.add_argument("--data", type=Path, required=True, help="folder of the splits")
    p.add_argument("--num", type=int, default=10000)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--out", type=Path, default=Path("results/evaluating.json"))
    a = p.parse_args(argv)
    found = evaluating_study(a.pools, a.data, a.num, a.workers)
    atomic_write(a.out, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    print(evaluating_table(found))


if __name__ == "__main__":
    main()
