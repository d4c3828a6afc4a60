"""One table for each pretrained model: what comes back, what is new, and what needs no network

    python -m benchmarks.models mp-20 --data DIR/mp_20 --num 1000 --hull DIR/mp_hull --relaxed 500

Crystals of the model, the test set, the training set, ion exchange and random placement are evaluated
by the same functions against the same sets; how many held-out crystals come back is read from
results/strict.json. With a hull crystals of each set are relaxed and placed above it: the first of a draw
of 256, by default, made in the same way. What is in the file of results is not done again; a set that was
stopped goes on where it was."""

import argparse
import json
from functools import partial
from pathlib import Path

from benchmarks.speed import circumstances
from benchmarks.stability import crystals_of as stability_crystals
from benchmarks.stability import generated, substituted
from benchmarks.strict import stored_rates
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.energy.stability import ceiling, stability
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
COMES_BACK = "match_rate match_chance match_above_chance METRe rms".split()
COMES_BACK += [f"fit_{what}_{s}" for s in ("0.5", "0.1") for what in ("rate", "chance")]
STABLE = "stable metastable sun msun msun_08 relaxed above_hull to_relaxed rmsd_relaxed".split()
STABLE += ["p1_before", "p1_after"]
SETS = ("test set", "training set")
ONE_ION = "exchange of one ion"
BEST, CHOSEN = "model, best of 8", "exchange of one ion, best of 8"  # by the model's denoising error
ARMS = (*SETS, *BASELINES, ONE_ION, "model", CHOSEN, BEST)  # what takes longest comes last


def known_set(data: Path, split: str) -> Entries:
    "Read a split once."
    found = Entries(read_crystals(load_crystals(data, split=split, graph="none", progress=False)))
    found.name = f"{data.name} ({split})"
    return found


def best_of_eight(data: Path) -> dict:  # fields of `Sampling` and constraints
    "Choose how eight are drawn: of carbon as they come, else with a space group and formulas that are new."
    if data.name.startswith("carbon"):
        return dict(best_of=8)
    return dict(symmetry="draw", temperature=0.5, steps=20, best_of=8, reference=data / "train.csv.gz")


def crystals_of(arm: str, model: str, data: Path, known: dict, seed: int, folder: Path, num: int) -> list:
    "Make or draw the crystals of an arm; entries."
    if arm == "model":
        generated(model, num, seed, folder)
    elif arm == BEST:
        generated(model, num, seed, folder, best_of_eight(data))
    elif arm == CHOSEN:
        substituted(model, num, seed, folder, data, best_of=8)
    elif arm in SETS:
        return ceiling(known["test" if arm == "test set" else "train"], num, seed)
    elif arm == ONE_ION:
        made = stability_crystals("exchange", data, num, seed)
        return made or _none_made(data)
    elif not (folder / "crystals.csv").exists():
        write_baseline(arm, known["train"], folder, num, seed)
    return read_crystals(folder / "crystals.csv")


def _none_made(data: Path):
    raise MetricsError(f"No crystal of {data.name} has an ion that could be exchanged.")


def evaluate_arm(
    entries: list, known: dict, limits, folder: Path
) -> dict:  # metric -> value, low, high, count, total
    "Evaluate crystals against both sets."
    folder.mkdir(parents=True, exist_ok=True)
    how = dict(
        fingerprints=True, cutoffs=limits, workers=1, progress=False, journal=folder / ".evaluating.jsonl"
    )
    rows, summary = evaluate_generation(entries, known["train"], known["test"], **how)
    summary = add_continuous(entries, rows, summary, known["train"])
    groups = summary["space_groups"]["0.1"]
    found = {k: m for k, m in summary["metrics"].items() if k in KEPT}
    return found | dict(num=len(rows), p1=groups.get(1, 0), with_group=sum(groups.values()))


def relax_arm(entries: list, known: dict, hull: Path, folder: Path, num: int) -> dict:
    "Relax the first crystals of an arm and place them above the hull."
    _, found = stability(entries[:num], hull, folder / "relaxed", known["train"], workers=1, progress=False)
    kept = {k: m for k, m in found["metrics"].items() if k in STABLE}
    return kept | dict(num=found["num_crystals"], hull=found["hull"], calculator=found["calculator"])


def model_study(
    model: str,  # a pretrained one
    data: Path,  # folder of the splits
    num: int,  # crystals of each arm
    seed: int,
    runs: Path,  # where crystals and journals are kept
    out: Path,  # file of results
    hull: Path | None = None,  # see `read_hull`; None: nothing is relaxed
    relaxed: int = 500,  # crystals of each arm
    chosen: tuple = ARMS,  # those to do
    relaxed_from: int = 256,  # crystals of the draw whose first are relaxed
) -> dict:
    "Evaluate all arms of a model, one after another."
    record = json.loads(out.read_text()) if out.exists() else dict(name="models", seed=seed, models={})
    mine = record["models"].setdefault(model, dict(data=data.name, num=num, arms={}))
    _check_same(out, record | mine, dict(seed=seed, data=data.name, num=num))
    arms, wanted = mine["arms"], {"num", *(["stability"] if hull else [])}
    mine["reconstruction"] = _comes_back(stored_rates(model, data, seed))
    todo = [a for a in chosen if not ("reason" in arms.get(a, {}) or wanted <= set(arms.get(a, {})))]
    known = {s: known_set(data, s) for s in ("train", "test")} if todo else {}
    for arm in todo:
        folder = runs / (model if arm == "model" else f"{model}-{arm.replace(',', '').replace(' ', '-')}")
        found = arms.setdefault(arm, {})
        draw = partial(crystals_of, arm, model, data, known, seed)
        try:
            if "num" not in found:
                found |= evaluate_arm(draw(folder, num), known, cutoffs_for(data.name), folder)
                found["made_on"] = circumstances()
                _write(out, record)
            if hull and "stability" not in found:
                aside = folder.with_name(f"{folder.name}-{relaxed_from}")
                found["stability"] = relax_arm(draw(aside, relaxed_from), known, hull, aside, relaxed)
        except MetricsError as e:
            found["reason"] = str(e)
        _write(out, record)
        print(model, arm, {k: found.get(k, {}).get("value") for k in KEPT[:3]}, flush=True)
    made = [a["made_on"] for a in arms.values() if "made_on" in a]
    mine |= dict(made_on=made[-1]) if made else {}
    _write(out, record)
    return record


def _check_same(out: Path, old: dict, wanted: dict) -> None:
    "Refuse to put sets of different sizes or seeds into one table."
    if differ := [k for k, v in wanted.items() if old.get(k) != v]:
        raise SystemExit(
            f"{out} holds another study (what differs: {', '.join(differ)}): give another --out."
        )


def _comes_back(found: dict) -> dict:
    "Keep what the table shows of a file of rates."
    metrics = {k: m for k, m in found["metrics"].items() if k in COMES_BACK}
    return dict(file="strict.json", num=found["num"], metrics=metrics)


def _write(out: Path, record: dict) -> None:
    atomic_write(out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def main(argv=None) -> None:
    "Evaluate a pretrained model, known crystals and what needs no network."
    p = argparse.ArgumentParser("python -m benchmarks.models", description=main.__doc__)
    p.add_argument("model", help="a pretrained model")
    p.add_argument("--data", type=Path, required=True, help="folder of the splits")
    p.add_argument("--num", type=int, default=1000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--hull", type=Path, help="a convex hull: stability too")
    p.add_argument("--relaxed", type=int, default=500, help="crystals of each set to relax")
    p.add_argument("--relaxed-from", type=int, default=256, help="crystals of the draw they are taken from")
    p.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="which; the others can follow")
    p.add_argument("--runs", type=Path, default=Path("runs/models"))
    p.add_argument("--out", type=Path, default=Path("results/models.json"))
    a = p.parse_args(argv)
    sizes = a.hull, a.relaxed, a.arms, a.relaxed_from
    model_study(a.model, a.data, a.num, a.seed, a.runs, a.out, *sizes)


if __name__ == "__main__":
    main()
