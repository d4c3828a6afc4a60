"""How often the true structure of a formula is found, given the formula alone

`python -m benchmarks.prediction --data DIR --runs FOLDER` takes compounds of the test set of MP-20. For each
reduced formula the model draws candidates of several sizes, which are relaxed, merged and ranked by energy,
as `dpcdvae predict` does; the place of the true structure is noted. With `--source prototypes` the candidates
are training crystals whose elements are exchanged, a method without a network. It writes
results/prediction-NAME.json after each formula and goes on where it stopped."""

import argparse
import json
from pathlib import Path

from benchmarks.speed import circumstances, go_on
from benchmarks.studies import held_out
from benchmarks.tables import table, with_interval
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.energy.ranking import rank
from dpcdvae.energy.relax import energies, relax
from dpcdvae.evaluation.baselines import by_anonymous_formula, prototypes
from dpcdvae.evaluation.statistics import rate
from dpcdvae.generation.constraints import Constraints
from dpcdvae.generation.jobs import write_crystals

PLACES = (1, 5, 20)


def place_of_truth(truth, ranked: list) -> int | None:  # from 1; None: not among them
    "Find the first structure that matches the true one."
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.core import Structure

    matcher = StructureMatcher()
    read = (Structure.from_str(r["cif"], fmt="cif") for r in ranked)
    return next((k for k, s in enumerate(read, 1) if matcher.fit(truth, s)), None)


def candidates(model, formula: str, known: dict, folder: Path, a) -> None:
    "Write the candidates of a formula; ValueError where there can be none."
    if a.source == "prototypes":
        if not (made := prototypes(formula, known, a.num)):
            raise ValueError("training holds no crystal of this anonymous formula")
        return write_crystals(folder, ((f"known-{i}", s) for i, s in enumerate(made)))
    asked = Constraints(reduced_formula=formula, num_atoms=(1, 20), symmetry=a.symmetry)
    model.generate(a.num, seed=a.seed, steps=a.steps, out=folder, constraints=asked, progress=False)


def one(model, truth, known: dict, folder: Path, a) -> dict:
    "Predict the structure of one compound."
    formula = truth.composition.reduced_formula
    try:
        candidates(model, formula, known, folder, a)
    except ValueError as e:
        return dict(formula=formula, num_atoms=len(truth), place=None, refused=str(e))
    rows, _ = energies(folder, folder / "relaxed", max_steps=a.max_steps, workers=1, progress=False)
    ranked = rank(rows)
    found = dict(formula=formula, num_atoms=len(truth), structures=len(ranked))
    found |= dict(place=place_of_truth(truth, ranked), lowest=ranked[0]["energy"] if ranked else None)
    return found | dict(truth=relax(truth, max_steps=a.max_steps).get("relaxed_energy"))


def summarise(compounds: list) -> dict:  # metric -> value, low, high, count, total
    "Count how often the true structure is among the first ones."
    hit = lambda c, n: c["place"] is not None and c["place"] <= n
    found = {f"first_{n}": rate([dict(hit=hit(c, n)) for c in compounds], "hit") for n in PLACES}
    known = [c for c in compounds if c.get("lowest") is not None and c.get("truth") is not None]
    lower = [dict(hit=c["lowest"] < c["truth"] - 1e-3) for c in known]  # eV/atom
    return found | dict(lower_than_truth=rate(lower, "hit"))


def prediction_table(r: dict) -> str:  # markdown
    "Show how often the true structure is found."
    found = list(r["compounds"].values())
    groups = {
        "all formulas": found,
        "formulas that training did not hold": [c for c in found if not c["known_formula"]],
        "up to 6 atoms a cell": [c for c in found if c["num_atoms"] <= 6],
        "more than 6 atoms": [c for c in found if c["num_atoms"] > 6],
    }
    names = [f"first_{n}" for n in PLACES] + ["lower_than_truth"]
    head = ["compounds", "number", *(f"among the first {n}" for n in PLACES), "lower than the true one"]
    rows = [
        [name, len(some), *(with_interval(summarise(some)[k]) for k in names)]
        for name, some in groups.items()
        if some
    ]
    source = f"{r['num']} training crystals of the same anonymous formula whose elements are nearest on the "
    source += "Mendeleev scale, with the elements exchanged"
    if r.get("source") != "prototypes":
        source = f"{r['num']} candidates of up to 20 atoms with symmetry {r['symmetry']}, "
        source += f"{r['steps']} evaluations of the network each"
    return (
        f"{table(head, rows)}\n\nGiven is the reduced formula alone: {source}, relaxed with CHGNet "
        f"({r['max_steps']} steps at most), merged and ranked by energy. Found means that pymatgen's matcher "
        f"fits it to the true structure at its defaults. Lower than the true one: by more than 1 meV/atom "
        f"after both are relaxed, by CHGNet's word."
    )


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.prediction", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of mp_20 with its splits")
    p.add_argument("--runs", type=Path, default=Path("runs/prediction"))
    p.add_argument("--out", type=Path, help="results/prediction-NAME.json, if not given")
    p.add_argument("--source", default="model", choices=["model", "prototypes"], help="of the candidates")
    p.add_argument("--model", default="mp-20")
    p.add_argument("--formulas", type=int, default=100)
    p.add_argument("--num", type=int, default=20, help="candidates of a formula")
    p.add_argument("--steps", type=int, default=20, help="function evaluations a candidate")
    p.add_argument("--max-steps", type=int, default=100, help="of a relaxation")
    p.add_argument("--symmetry", default="draw", choices=["draw", "free"])
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    a.out = a.out or Path(f"results/prediction-{a.model if a.source == 'model' else a.source}.json")
    how = {k: getattr(a, k) for k in ("model", "num", "steps", "max_steps", "symmetry", "seed")}
    if a.source == "prototypes":
        how = dict(source=a.source) | {k: how[k] for k in ("num", "max_steps", "seed")}
    result = go_on(a.out, dict(name="prediction", data=a.data.name, formulas=a.formulas, **how), compounds={})
    model = load_model(a.model) if a.source == "model" else None
    test = held_out(a.data, a.formulas, a.seed)
    train = load_crystals(a.data, split="train", progress=False)
    known = by_anonymous_formula(train.to_structures())
    formulas = {s.composition.reduced_formula for some in known.values() for s in some}
    for i, truth in enumerate(test.to_structures()):
        name = test.name(i)
        if name not in result["compounds"]:
            found = one(model, truth, known, a.runs / name, a)
            result["compounds"][name] = found | dict(known_formula=found["formula"] in formulas)
            result["metrics"] = summarise(list(result["compounds"].values()))
            result["made_on"] = circumstances()
            atomic_write(a.out, json.dumps(result, indent=1) + "\n")
            print(name, result["compounds"][name], flush=True)


if __name__ == "__main__":
    main()
