"""One table for each pretrained model: what comes back, what is new, and what needs no network

    python -m benchmarks.models mp-20 --data DIR/mp_20 --num 1000

Crystals of the model, the test set, the training set, ion exchange and random placement are evaluated
by the same functions against the same sets. What is in the file of results is not done again; an arm that was
stopped goes on where it was."""

import argparse
import json
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.energy.stability import ceiling
from dpcdvae.evaluation.baselines import BASELINES, write_baseline
from dpcdvae.evaluation.continuous import KINDS, add_continuous
from dpcdvae.evaluation.coverage import cutoffs_for
from dpcdvae.evaluation.entries import Entries, read_crystals
from dpcdvae.evaluation.generation import evaluate_generation
from dpcdvae.evaluation.validity import MetricsError

KEPT = (
    "valid composition_valid composition_valid_smact composition_valid_field structure_valid unique novel "
    "valid_unique_novel symmetric wdist_density wdist_num_elements cov_recall cov_precision METRe"
).split()
KEPT += [f"{what}_{kind}" for what in ("unique", "novel") for kind in KINDS]
SETS = ("test set", "training set")


def known_set(data: Path, split: str) -> Entries:
    "Read a split once."
    found = Entries(read_crystals(load_crystals(data, split=split, graph="none", progress=False)))
    found.name = f"{data.name} ({split})"
    return found


def crystals_of(arm: str, model: str, train, test, folder: Path, num: int, seed: int):  # a source
    "Make or draw the crystals of an arm."
    if arm == "model":
        from dpcdvae.cli.commands import load_model

        load_model(model).generate(num, seed=seed, out=folder, progress=False)
        return folder / "crystals.csv"
    if arm in SETS:
        return ceiling(test if arm == "test set" else train, num, seed)
    return (
        folder / "crystals.csv"
        if (folder / "crystals.csv").exists()
        else write_baseline(arm, train, folder, num, seed)
    )


def evaluate_arm(
    source, train, test, limits, folder: Path
) -> dict:  # metric -> value, low, high, count, total
    "Evaluate crystals against both sets."
    folder.mkdir(parents=True, exist_ok=True)
    entries = read_crystals(source)
    how = dict(
        fingerprints=True, cutoffs=limits, workers=1, progress=False, journal=folder / ".evaluating.jsonl"
    )
    rows, summary = evaluate_generation(entries, train, test, **how)
    summary = add_continuous(entries, rows, summary, train)
    groups = summary["space_groups"]["0.1"]
    found = {k: m for k, m in summary["metrics"].items() if k in KEPT}
    return found | dict(num=len(rows), p1=groups.get(1, 0), with_group=sum(groups.values()))


def model_study(model: str, data: Path, num: int, seed: int, runs: Path, out: Path) -> dict:
    "Evaluate all arms of a model, one after another."
    record = json.loads(out.read_text()) if out.exists() else dict(name="models", seed=seed, models={})
    arms = record["models"].setdefault(model, dict(data=data.name, num=num, arms={}))["arms"]
    todo = [a for a in ("model", *SETS, *BASELINES) if a not in arms]
    train, test = (known_set(data, s) for s in ("train", "test")) if todo else (None, None)
    for arm in todo:
        folder = runs / (model if arm == "model" else f"{model}-{arm.replace(' ', '-')}")
        try:
            source = crystals_of(arm, model, train, test, folder, num, seed)
            arms[arm] = evaluate_arm(source, train, test, cutoffs_for(data.name), folder)
        except MetricsError as e:
            arms[arm] = dict(reason=str(e))
        arms[arm]["made_on"] = circumstances()
        atomic_write(out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        print(model, arm, {k: arms[arm].get(k, {}).get("value") for k in KEPT[:3]}, flush=True)
    return record


def main(argv=None) -> None:
    "Evaluate a pretrained model, known crystals and what needs no network."
    p = argparse.ArgumentParser("python -m benchmarks.models", description=main.__doc__)
    p.add_argument("model", help="a pretrained model")
    p.add_argument("--data", type=Path, required=True, help="folder of the splits")
    p.add_argument("--num", type=int, default=1000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--runs", type=Path, default=Path("runs/models"))
    p.add_argument("--out", type=Path, default=Path("results/models.json"))
    a = p.parse_args(argv)
    model_study(a.model, a.data, a.num, a.seed, a.runs, a.out)


if __name__ == "__main__":
    main()
