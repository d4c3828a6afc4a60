"""How much slower a training gets when other programs hold cores, and what the choice of threads is worth

`python -m benchmarks.neighbours` times one short training, as a user starts it, next to 0, 1 and 2 programs
that do nothing but count: with the number of threads that it chooses by itself, and with a thread for each
core, as where the programs come later; the latter also with threads that spin while they wait, as OpenMP
does by itself. Rounds take turns; medians. With n threads on as many cores and k programs next to them, a
fair share of the processor explains a run (n + k)/n times as long as alone."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from benchmarks.longrun import PROGRAM
from benchmarks.speed import children_seconds, circumstances, disturbed
from benchmarks.tables import table
from dpcdvae.data.files import atomic_write
from dpcdvae.data.rows import num_cores

ROOT = Path(__file__).resolve().parents[1]
TRAINING = (
    "train --data perov_mini --preset tiny --max-epochs 4 --workers 1 --quiet --set latent.prior=standard"
)
BUSY = (0, 1, 2)  # programs
CHOICES = ("chosen", "all cores", "all cores, spinning")
SPINNING = dict(GOMP_SPINCOUNT="300000")  # libgomp's default where threads do not outnumber cores


@contextmanager
def busy(num: int):
    "Let programs count next to what is timed."
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def timed(choice: str, folder: Path) -> dict:  # seconds, processor, threads
    "Train in a process of its own."
    env = os.environ | dict(PYTHONPATH=str(ROOT))
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        env.pop(name, None)
    env |= SPINNING if choice == "all cores, spinning" else {}
    threads = [] if choice == "chosen" else ["--threads", str(num_cores())]
    start, before = time.perf_counter(), children_seconds()
    words = [*PROGRAM, *TRAINING.split(), *threads, "--out", str(folder)]
    subprocess.run(words, env=env, check=True, capture_output=True)
    took = dict(seconds=time.perf_counter() - start, processor=children_seconds() - before)
    return took | dict(threads=json.loads((folder / "run.json").read_text())["machine"]["threads"])


def neighbours(rounds: int = 3) -> dict:
    "Time all choices next to all numbers of programs, in turns."
    when, found = circumstances(), {}
    for i in range(rounds):
        for num in BUSY:
            for choice in CHOICES:
                with tempfile.TemporaryDirectory() as folder, busy(num):
                    one = timed(choice, Path(folder) / "run")
                found.setdefault(f"{choice}, {num}", []).append(one)
                print(i, choice, num, one, flush=True)
    median = lambda runs, k: statistics.median(r[k] for r in runs)
    rows = [
        dict(
            choice=choice,
            busy=num,
            threads=[r["threads"] for r in found[f"{choice}, {num}"]],
            seconds=round(median(found[f"{choice}, {num}"], "seconds"), 1),
            processor=round(median(found[f"{choice}, {num}"], "processor"), 1),
        )
        for choice in CHOICES
        for num in BUSY
    ]
    return dict(
        name="neighbours",
        command=f"dpcdvae {TRAINING}",
        cores=num_cores(),
        rounds=rounds,
        rows=rows,
        made_on=when,
    )


def slower(r: dict, row: dict) -> float:
    "How many times as long as the fastest alone."
    return row["seconds"] / min(x["seconds"] for x in r["rows"] if not x["busy"])


def neighbours_table(r: dict) -> str:  # markdown
    "Put the times into a table."
    head = ["threads", "programs next to it", "threads taken", "seconds", "of the processor", "times as long"]
    rows = [
        [
            row["choice"],
            row["busy"],
            ", ".join(map(str, sorted(set(row["threads"])))),
            f"{row['seconds']:.1f}",
            f"{row['processor']:.1f}",
            f"{slower(r, row):.2f} (a fair share explains {(r['cores'] + row['busy']) / r['cores']:.2f})",
        ]
        for row in r["rows"]
    ]
    warning = disturbed(r["made_on"]["load"])
    words = f"`{r['command']}`, whole command, medians of {r['rounds']} rounds, {r['cores']} cores."
    return "\n\n".join([table(head, rows), words, *[warning] * bool(warning)])


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.neighbours", description=__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--out", type=Path, default=Path("results/neighbours.json"))
    a = p.parse_args()
    result = neighbours(a.rounds)
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    print(neighbours_table(result))


if __name__ == "__main__":
    main()
