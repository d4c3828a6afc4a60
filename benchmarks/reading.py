"""Crystals a second from a split file to a batch, one core, side by side with another build in one run.

    python -m benchmarks.reading FILE --base FOLDER [--num 1000] [--rounds 2] --out results/reading.json

FOLDER is a clone of another commit. Seconds are of the processor: what else runs here does not count."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write

PROGRAM = """
import json, sys, time
from importlib import import_module
try: read_source = import_module("dpcdvae.data.datasets").read_source
except ImportError: read_source = import_module("dpcdvae.data").read_source
start = time.process_time()
batch, rejected = read_source(sys.argv[1], cache=False, workers=1, limit=int(sys.argv[2]), progress=False)
seconds = time.process_time() - start
build = import_module("dpcdvae").__path__[0]
print(json.dumps(dict(crystals=len(batch), rejected=len(rejected), seconds=seconds, build=build)))
"""


def read_once(build: Path, source: Path, num: int) -> dict:  # crystals, rejected, seconds
    "Read crystals with one build in a process of its own."
    env = dict(os.environ, PYTHONPATH=str(build), OMP_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source.resolve()), str(num)],
        env=env,
        cwd=build,  # `-c` looks for packages in the working folder first
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.strip().splitlines()[-1])
    if Path(found["build"]).resolve().parent != build.resolve():
        raise SystemExit(f"{build} was to be measured, {found['build']} was imported")
    return found


def side_by_side(source: Path, base: Path, num: int, rounds: int) -> dict:
    "Read in turn with the other build and this one; crystals a second of each."
    here = Path(__file__).resolve().parents[1]
    runs = {name: [] for name in ("base", "here")}
    for _ in range(rounds):
        for name, build in (("base", base), ("here", here)):
            runs[name].append(read_once(build, source, num))
    speed = {
        k: [round((r["crystals"] + r["rejected"]) / r["seconds"], 1) for r in v] for k, v in runs.items()
    }
    ratio = min(speed["here"]) / max(speed["base"])
    return dict(
        set=source.resolve().parent.name,
        file=source.name,
        crystals=num,
        crystals_per_second=speed,
        smallest_ratio=round(ratio, 2),
        made_on=circumstances(),
    )


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("file", type=Path)
    p.add_argument("--base", type=Path, required=True)
    p.add_argument("--num", type=int, default=1000)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    text = json.dumps(side_by_side(a.file, a.base, a.num, a.rounds), indent=1) + "\n"
    print(text)
    if a.out:
        atomic_write(a.out, text)
