"""Time to quality: a build of the past and this one learn side by side, one thread each

    python -m benchmarks.learning --data DIR/perov_5
    python -m benchmarks.learning --data DIR/mp_20 --minutes 60 30 --out results/learning-mp_20.json

DIR/perov_5 is the folder of a set with its splits. The old build trains its preset `default` for 40 minutes,
this one the preset `transformer` for 20, at the same time (or in turn), each by its own command; neither fits
a prior, since nothing is drawn. The losses of validation are those that each build logs after every epoch,
the same sum with the same weights, its times drawn evenly. Each then reconstructs the same 512 validation
crystals, one try, with its own number of evaluations, and one evaluation, of this build, counts what matches
strictly. It writes results/learning.json; a finished training is taken as it is, an interrupted one goes
on."""

import argparse
import csv
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.builds import COMMAND, OWN, check_out
from benchmarks.labs import mcnemar
from benchmarks.speed import children_seconds, circumstances, go_on, rounded
from benchmarks.studies import chance, clock, loss_curves, rebuilt, some
from benchmarks.tables import by_chance, came_back, paired, table
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.entries import read_crystals
from dpcdvae.model.training import is_finished

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("strict_rate", "match_rate", "match_rate_anonymous", "rms", "composition_exact")
OLD, NOW = "before", "now"
HOW = {  # build -> what its `train` is given
    OLD: ["--set", "prior_steps=0"],
    NOW: ["--preset", "transformer", "--set", "latent.prior_steps=0"],
}


def start(tree: Path, *arguments) -> subprocess.Popen:
    "Start a command of a build, on one thread."
    env = dict(os.environ, PYTHONPATH=str(tree), OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", OWN + COMMAND, *map(str, arguments), "--threads", "1"]
    return subprocess.Popen(command, cwd=tree, env=env)


def train_both(trees: dict, runs: dict, minutes: dict, data: Path, seed: int, in_turn: bool = False) -> None:
    "Train both builds at the same time, or one after the other; what is finished stays as it is."
    jobs = {}
    for build, run in runs.items():
        if is_finished(run):
            continue
        limit = clock(minutes[build])
        more = ["--resume"] if (run / "checkpoint.safetensors").exists() else []
        what = ["--data", data, "--out", run, "--max-time", limit, "--seed", seed, *HOW[build], *more]
        jobs[build] = start(trees[build], "train", *what)
        if in_turn:
            jobs[build].wait()
    failed = [build for build, job in jobs.items() if job.wait()]
    if failed:
        raise ValueError(f"the training of the build {failed[0]!r} failed: its last lines stand above")


def losses(run: Path) -> list:  # [minutes, loss of validation], epoch by epoch
    "Read the losses of a training of steady speed."
    facts = json.loads((run / "run.json").read_text())
    minutes = facts["seconds"] / 60 / facts["steps"]
    found = loss_curves(run, points=facts["steps"])["val/total"]  # all of them
    return [[round((step + 1) * minutes, 2), loss] for step, loss in found]


def reached(now: list, before: list) -> float | None:  # minutes
    "Find when one curve has come down to the lowest of another; None where it does not."
    least = min(loss for _, loss in before)
    return next((minutes for minutes, loss in now if loss <= least), None)


def by_loss(curves: dict) -> str:  # one sentence
    "Say when the losses of this build came down to the old one's lowest."
    lowest = {build: min(curve, key=lambda p: p[1]) for build, curve in curves.items()}
    (minutes, least), (_, ours), when = lowest[OLD], lowest[NOW], reached(curves[NOW], curves[OLD])
    said = f"lowest loss of validation {least:.3f} before (after {minutes:.0f} minutes)"
    if when is None:
        return f"{said}, {ours:.3f} now (after {curves[NOW][-1][0]:.0f}): not reached"
    return f"{said}, reached now after {when:.0f} minutes, {ours:.3f} at the end"


def choose(data: Path, num: int, seed: int, out: Path):
    "Draw validation crystals and write their rows for both builds; the crystals, in the same order."
    chosen = some(load_crystals(data, split="val", progress=False), num, seed)
    with gzip.open(data / "val.csv.gz", "rt") as f:
        rows = {row["material_id"]: row for row in csv.DictReader(f)}
    with out.open("w", newline="") as f:
        writer = csv.DictWriter(f, next(iter(rows.values())))
        writer.writeheader()
        writer.writerows(rows[i] for i in chosen.ids)
    return chosen


def reconstructed(tree: Path, run: Path, rows: Path, out: Path, truth) -> dict:
    "Reconstruct the chosen crystals with a build's own command, and evaluate them with this build."
    if not (out / "seconds.json").exists():
        before = children_seconds()
        what = ["--model", run / "best", "--data", rows, "--out", out, "--workers", 1]
        if start(tree, "reconstruct", *what).wait():
            raise ValueError(f"{tree} could not reconstruct {rows}")
        atomic_write(out / "seconds.json", json.dumps(children_seconds() - before))
    made = read_crystals(out / "crystals.csv")
    metrics, each = rebuilt(made, truth.to_structures(), KEPT, workers=1, progress=False)
    facts = json.loads((out / "run.json").read_text())
    spent = json.loads((out / "seconds.json").read_text())
    return dict(steps=facts["steps"], cpu=round(spent, 1), metrics=rounded(metrics)) | each


def learning_table(r: dict) -> str:  # markdown
    "Put both builds next to each other."
    head = ["build", "network", "minutes", "crystals seen", "strict", "match", "RMS", "evaluations"]
    head.append("reconstruction, s")
    rows = [
        [
            f"{build}, seed {seed}",
            m["network"],
            f"{m['training']['seconds'] / 60:.1f}",
            f"{m['training']['crystals_seen']:,}",
            *came_back(m["metrics"]),
            m["steps"],
            f"{m['cpu']:.0f}",
        ]
        for seed, pair in r["seeds"].items()
        for build, m in pair["builds"].items()
    ]
    tests = "; ".join(paired(f"seed {s}, now - before", p["test"]) for s, p in r["seeds"].items())
    curves = [
        f"seed {s}, {by_loss({b: m['losses'] for b, m in p['builds'].items()})}"
        for s, p in r["seeds"].items()
    ]
    when = "one after the other" if r.get("in_turn") else "at the same time"
    return (
        f"{table(head, rows)}\n\n{r['num_val']} validation crystals of {r['data']}, one try. Before: commit "
        f"{r['old']}. Both trained {when} on one thread each; minutes of the clock; "
        "the reconstruction's seconds are processor time of the whole command, start included. "
        f"{by_chance([(r['data'], r['chance'])])} Strict rates, McNemar's test: {tests}. "
        f"Losses: {'; '.join(curves)}."
    )


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.learning", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of a set with its splits")
    p.add_argument("--old", default="681f39c", help="commit to compare with")
    p.add_argument("--minutes", type=int, nargs=2, default=(40, 20), help="of training: before and now")
    p.add_argument("--num", type=int, default=512, help="crystals of the validation set")
    p.add_argument("--seed", type=int, default=1, help="of the trainings")
    p.add_argument("--in-turn", action="store_true", help="train one after the other")
    p.add_argument("--folder", type=Path, help="where the old build goes; else runs/builds/COMMIT")
    p.add_argument("--runs", type=Path, default=Path("runs/learning"))
    p.add_argument("--out", type=Path, default=Path("results/learning.json"))
    a = p.parse_args()
    data, minutes = a.data.resolve(), dict(zip((OLD, NOW), a.minutes))
    trees = {OLD: check_out(a.old, (a.folder or ROOT / "runs/builds" / a.old).resolve()), NOW: ROOT}
    a.runs.mkdir(parents=True, exist_ok=True)
    rows = a.runs.resolve() / f"{data.name}-val-{a.num}.csv"
    truth = choose(data, a.num, 0, rows)
    what = dict(name="learning", data=data.name, old=a.old, num_val=a.num)
    result = go_on(a.out, what | (dict(in_turn=True) if a.in_turn else {}), seeds={})
    if "chance" not in result:
        result["chance"] = chance(truth)
    if str(a.seed) not in result["seeds"]:
        names = {OLD: a.old, NOW: NOW}
        runs = {b: a.runs.resolve() / f"{data.name}-{names[b]}-{minutes[b]}-{a.seed}" for b in trees}
        train_both(trees, runs, minutes, data, a.seed, a.in_turn)
        builds = {}
        for build, run in runs.items():
            training = json.loads((run / "run.json").read_text()) | dict(data=data.name)
            found = reconstructed(trees[build], run, rows, run / "reconstructed", truth)
            network = "transformer" if build == NOW else "GemNet-T"
            builds[build] = dict(network=network, training=training, losses=losses(run)) | found
        test = mcnemar(builds[NOW]["strict"], builds[OLD]["strict"])
        result["seeds"][str(a.seed)] = dict(builds=builds, test=test, made_on=circumstances())
    result["made_on"] = result["seeds"][str(a.seed)]["made_on"]
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    print(learning_table(result))


if __name__ == "__main__":
    main()
