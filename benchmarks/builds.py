"""Two builds side by side: a commit of the past and this working tree, in turns.

    python -m benchmarks.builds --data DIR --old 681f39c --out results/builds.json

DIR holds perov_5 and mp_20. The old build is checked out into a folder of its own. Both run in this
environment's Python, one thread, in fresh processes, in turns and round by round, so that what else the
machine does meets both. Processor time is compared, which waiting does not count; the load is noted with
every sample. The file is written after each sample, and the same command goes on where it stopped."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed import children_seconds, circumstances, go_on
from benchmarks.tables import table
from dpcdvae.data.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]

OWN = """
import os, sys
import dpcdvae

if not dpcdvae.__file__.startswith(os.getcwd()):  # or the installed build would be measured in its place
    sys.exit(f"{os.getcwd()} holds no dpcdvae: {dpcdvae.__file__} was imported")
"""

STEPS = """
import json, resource, statistics, sys, time
import torch

torch.set_num_threads(1)
try:
    from benchmarks.speed import load_crystals, take, training_step
except ImportError:
    from dpcdvae.data import load_crystals
    from dpcdvae.speed import take, training_step

data, size, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
step = training_step(take(load_crystals(data, split="train", limit=size, progress=False), size))
seconds = []
for _ in range(3 + repeats):
    start = time.process_time()
    step()
    seconds.append(time.process_time() - start)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps(dict(seconds=statistics.median(seconds[3:]), peak_gib=peak)))
"""

COMMAND = """
import sys
try:
    from dpcdvae.cli.app import main
except ImportError:
    from dpcdvae.cli import main
sys.exit(main(sys.argv[1:]))
"""

GENERATE = ["generate", "--model", "perov-5", "--seed", "0", "--num"]
FEWER = dict(old=["--steps", "50"], new=["--steps", "20", "--spacing", "critical"])
MEASURES = {
    "training, Perov-5, batch 64": (STEPS, ["{data}/perov_5", "64", "12"], "seconds", "ms a step", 1e3),
    "training, MP-20, batch 64": (STEPS, ["{data}/mp_20", "64", "8"], "seconds", "ms a step", 1e3),
    "peak memory, Perov-5, batch 512": (STEPS, ["{data}/perov_5", "512", "1"], "peak_gib", "GiB", 1),
    "generate --num 256, default steps": (COMMAND, [*GENERATE, "256"], "cpu", "s", 1),
    "generate --num 256, 50 evaluations before, 20 critical now": (
        COMMAND,
        {build: [*GENERATE, "256", *how] for build, how in FEWER.items()},
        "cpu",
        "s",
        1,
    ),
    "generate --num 1 --steps 20": (COMMAND, [*GENERATE, "1", "--steps", "20"], "cpu", "s", 1),
}  # name -> program, its arguments (or those of each build), what is compared, unit, factor


def check_out(commit: str, folder: Path) -> Path:
    "Unpack a commit of this repository into a folder, unless it is there."
    if not (folder / "dpcdvae").exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["git", "-C", ROOT, "archive", commit], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=packed.stdout, check=True)
    return folder


def run_once(build: str, tree: Path, measure: str, data: Path) -> dict:  # with the load before
    "Take one sample of a build, in a process of its own."
    program, arguments, *_ = MEASURES[measure]
    arguments = arguments[build] if isinstance(arguments, dict) else arguments
    with tempfile.TemporaryDirectory() as out:
        more = ["--out", f"{out}/made"] if program is COMMAND else []
        command = [sys.executable, "-c", OWN + program, *(a.format(data=data) for a in arguments), *more]
        load, begun, before = os.getloadavg()[0], time.monotonic(), children_seconds()
        env = dict(os.environ, PYTHONPATH=str(tree), OMP_NUM_THREADS="1")
        done = subprocess.run(command, capture_output=True, text=True, cwd=tree, env=env)
    if done.returncode:
        raise ValueError(f"{measure} failed in {tree}: {done.stderr.strip().splitlines()[-1]}")
    found = json.loads(done.stdout.splitlines()[-1]) if program is STEPS else {}
    spent = dict(cpu=children_seconds() - before, wall=time.monotonic() - begun, load=load)
    return {k: round(v, 4) for k, v in (found | spent).items()}


def compare_builds(old: str, data: Path, out: Path, rounds: int, folder: Path) -> dict:
    "Measure both builds in turns; what is in the file already is not measured again."
    trees = {"old": check_out(old, folder), "new": ROOT}
    result = go_on(out, dict(name="builds", old=old), made_on=circumstances(), samples={})
    for turn in range(rounds):
        for measure in MEASURES:
            for build in list(trees)[:: 1 if turn % 2 else -1]:  # neither is always first
                samples = result["samples"].setdefault(measure, {}).setdefault(build, [])
                if len(samples) > turn:
                    continue
                samples.append(run_once(build, trees[build], measure, data))
                print(turn + 1, build, measure, samples[-1], flush=True)
                atomic_write(out, json.dumps(result, indent=1) + "\n")
    return result


def _spread(values: list[float]) -> str:
    "Write a median with the smallest and largest value."
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def builds_table(result: dict) -> str:  # markdown
    "Put both builds into a table: medians, smallest to largest, and the ratio of the medians."
    rows, loads = [], []
    for measure, both in result["samples"].items():
        *_, key, unit, factor = MEASURES[measure]
        if set(both) != {"old", "new"}:
            continue
        old, new = ([factor * s[key] for s in both[build]] for build in ("old", "new"))
        ratio = statistics.median(old) / statistics.median(new)
        rows.append([f"{measure}, {unit}", _spread(old), _spread(new), f"{ratio:.2f} ×"])
        loads += [s["load"] for build in both.values() for s in build]
    most = max((len(b["new"]) for b in result["samples"].values() if "new" in b), default=0)
    about = (
        f"Before: commit {result['old']}. Each trains its default preset (GemNet-T before, the transformer "
        f"now). Medians of up to {most} samples of each build in turns, smallest and largest in brackets; "
        "seconds are processor time of one thread"
    )
    end = f"; load {min(loads):.1f} to {max(loads):.1f}." if loads else ""
    return f"{table(['', 'before', 'now', 'ratio'], rows)}\n\n{about}{end}"


def main(argv=None) -> None:
    p = argparse.ArgumentParser("python -m benchmarks.builds", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5 and mp_20")
    p.add_argument("--old", default="681f39c", help="commit to compare with")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--folder", type=Path, help="where the old build goes; else runs/builds/COMMIT")
    p.add_argument("--out", type=Path, default=Path("results/builds.json"))
    a = p.parse_args(argv)
    folder = a.folder or ROOT / "runs/builds" / a.old
    print(builds_table(compare_builds(a.old, a.data.resolve(), a.out, a.rounds, folder)))


if __name__ == "__main__":
    main()
