"""How valid, unique, novel and covering are sets without a network, and the test set itself?"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.baselines import BASELINES
from dpcdvae.evaluation.coverage import cutoffs_for
from dpcdvae.evaluation.entries import read_crystals
from dpcdvae.evaluation.levels import chance_levels
from dpcdvae.evaluation.metrics import METRICS
from dpcdvae.evaluation.summary import show


def levels_study(
    data,  # a known name, or a folder of splits
    num: int = 1000,  # crystals of each set
    seed: int = 0,
    fingerprints: bool = True,  # coverage too
    workers: int | None = None,
) -> dict:
    "Measure the sets of one data set."
    from dpcdvae.data.datasets import source_files

    start, files = time.perf_counter(), {k: source_files(data, k)[k][0] for k in ("train", "test")}
    how = dict(num=num, kinds=BASELINES, fingerprints=fingerprints, seed=seed, workers=workers)
    found = chance_levels(files["train"], files["test"], progress=False, **how)
    return dict(
        name="levels",
        data=Path(data).name,
        num=num,
        seed=seed,
        fingerprints=fingerprints,
        levels=found,
        made_on=circumstances(),
        seconds=round(time.perf_counter() - start, 1),
    )


def also(found: dict, name: str, folder: Path, data: Path) -> dict:
    "Evaluate a folder of crystals next to the sets that were measured before."
    from dpcdvae.evaluation.generation import evaluate_generation

    how = dict(fingerprints=found["fingerprints"], workers=1, progress=False)
    known, test = data / "train.csv.gz", data / "test.csv.gz"
    entries = read_crystals(folder / "crystals.csv")
    _, summary = evaluate_generation(entries, known, test, cutoffs=cutoffs_for(data.name), **how)
    kept = next(iter(found["levels"].values()))["metrics"]
    metrics = {k: m for k, m in summary["metrics"].items() if k in kept}
    run = json.loads((folder / "run.json").read_text())
    settings = {k: run[k] for k in ("steps", "seed", "temperature", "best_of") if k in run}
    new = dict(num=len(entries), metrics=metrics, settings=settings, made_on=circumstances())
    return found | dict(levels=found["levels"] | {name: new})


def levels_table(r: dict) -> str:  # markdown
    "Put the sets next to each other."
    sets = r["levels"]
    alone = " Crystals of one element hold no ions, so there is no ion exchange."
    missing = "" if "ion exchange" in sets else alone
    keys = [k for k in METRICS if any(k in s["metrics"] for s in sets.values())]
    cell = lambda k, m: show(k, m[k]) if k in m else "–"
    return "\n".join(
        [
            f"| metric | {' | '.join(sets)} |",
            f"|---|{'---|' * len(sets)}",
            *(
                f"| {METRICS[k].label} | {' | '.join(cell(k, s['metrics']) for s in sets.values())} |"
                for k in keys
            ),
            "",
            f"{' and '.join(k for k in BASELINES if k in sets).capitalize()} of the training crystals of "
            f"{r['data']}, and a sample of its test set: {', '.join(str(s['num']) for s in sets.values())} "
            f"crystals, seed {r['seed']}. The test set covers itself by definition.{missing}",
            *(f"{k}: new crystals, {v['settings']}." for k, v in sets.items() if "settings" in v),
        ]
    )


def levels_command(name: str, r: dict) -> str:
    "Name the command that makes a file of levels again."
    data = r["data"] if r["data"].endswith("_mini") else f"DIR/{r['data']}"
    quick = "" if r["fingerprints"] else " --quick"
    return (
        f"python -m benchmarks.levels {data} --num {r['num']} --seed {r['seed']}{quick} "
        f"--out results/{name}.json"
    )


def main(argv=None):
    p = argparse.ArgumentParser("python -m benchmarks.levels", description=__doc__)
    p.add_argument("data", help="a known name, or a folder of splits")
    p.add_argument("--num", type=int, default=1000, help="crystals of each set")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--quick", action="store_true", help="no coverage")
    p.add_argument("--workers", type=int)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--also", metavar="NAME=DIR", help="add the crystals of a job to what --out holds")
    a = p.parse_args(argv)
    if a.also:
        name, folder = a.also.split("=", 1)
        result = also(json.loads(a.out.read_text()), name, Path(folder), Path(a.data))
    else:
        result = levels_study(a.data, a.num, a.seed, not a.quick, a.workers)
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    print(levels_table(result))


if __name__ == "__main__":
    main()
