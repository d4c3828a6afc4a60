"""New crystals with and without imposed symmetry, same model, same seed: python -m benchmarks.symmetry

Every stage writes into its folder and is skipped where it is done, so a run may be stopped and called again.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.generation.constraints import Constraints

ARMS = dict(free=Constraints(), draw=Constraints(symmetry="draw"))


def make(model, folder: Path, num: int, seed: int, constraints: Constraints) -> float:  # seconds
    "Generate crystals into a folder; goes on where it stopped."
    model.generate(num, out=folder, seed=seed, constraints=constraints, block=50)
    return json.loads((folder / "run.json").read_text())["seconds"]


def structures(folder: Path) -> list:  # pymatgen structures, None where none was made
    from dpcdvae.evaluation.entries import read_crystals, structure_of

    return [structure_of(e) if e.source else None for e in read_crystals(folder)]


def evaluate(made: list, test: list | None) -> dict:  # counts and distances
    "Count what is valid and what is unique, and measure distances to the test set's distributions."
    from dpcdvae.evaluation.validity import composition_validity, min_distance, structure_validity

    known = [s for s in made if s is not None]
    apart = [bool(structure_validity(s)) for s in known]
    neutral = [bool(composition_validity(s.composition)) for s in known]
    out = dict(
        total=len(made),
        structure_valid=sum(apart),
        composition_valid=sum(neutral),
        valid=sum(a and b for a, b in zip(apart, neutral)),
        unique=unique(known),
        min_dist=sum(min_distance(s)[0] for s in known) / len(known),
    )
    return out | (distances([s for s, a in zip(known, apart) if a], test) if test else {})


def unique(known: list) -> int:
    "Count the structures that match none before them."
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher, kept = StructureMatcher(stol=0.5, ltol=0.3, angle_tol=10), {}
    for s in known:
        alike = kept.setdefault(s.composition.reduced_formula, [])
        if not any(matcher.fit(s, t) for t in alike):
            alike.append(s)
    return sum(map(len, kept.values()))


def distances(made: list, test: list) -> dict:
    "Measure Wasserstein distances of density (g/cm³) and number of elements."
    from scipy.stats import wasserstein_distance

    density, elements = lambda s: s.density, lambda s: len(s.composition)
    compare = lambda f: float(wasserstein_distance([f(s) for s in made], [f(s) for s in test]))
    return dict(wasserstein_density=compare(density), wasserstein_elements=compare(elements))


def share_p1(made: list) -> dict:  # tolerance in Å -> P1, none found, total, groups
    "Count crystals without symmetry, and the groups that there are."
    import spglib

    out = {}
    for tolerance in (0.1, 0.01):
        cells = [(s.lattice.matrix, s.frac_coords, s.atomic_numbers) for s in made if s is not None]
        found = [spglib.get_symmetry_dataset(c, symprec=tolerance) for c in cells]
        numbers = [d.number for d in found if d is not None]
        counts = dict(p1=numbers.count(1), no_answer=len(cells) - len(numbers), groups=len(set(numbers)))
        out[f"{tolerance:g}"] = counts | dict(total=len(cells), share=numbers.count(1) / max(len(cells), 1))
    return out


def relaxed(folder: Path, num: int, steps: int, calculator: str) -> dict:  # medians
    "Relax the first crystals for some steps, and say how far from rest they were made."
    from statistics import median

    from dpcdvae.energy.relax import energies
    from dpcdvae.evaluation.entries import read_crystals

    entries = read_crystals(folder)[:num]
    some = folder / "some"
    some.mkdir(exist_ok=True)
    for e in entries:
        if e.source and not (some / f"{e.material_id}.cif").exists():
            atomic_write(some / f"{e.material_id}.cif", e.source)
    rows, _ = energies(
        some, folder / f"relaxed-{steps}", calculator, max_steps=steps, workers=1, progress=False
    )
    good = [r for r in rows if r.get("to_relaxed") is not None]
    middle = lambda k: median(r[k] for r in good if r.get(k) is not None) if good else None
    return dict(
        num=len(entries),
        relaxed=len(good),
        converged=sum(bool(r.get("converged")) for r in rows),
        steps=steps,
        median_to_relaxed_mev=middle("to_relaxed"),
        median_displacement=middle("displacement"),
        median_energy=middle("energy"),
        reasons=sorted({r["reason"] for r in rows if r.get("reason")}),
    )


def measure(
    out: Path,
    folder: Path,
    model: str = "mp-20",
    num: int = 200,
    seed: int = 0,
    test=None,  # crystals whose distribution is wanted
    relax: int = 0,
    steps: int = 30,
    calculator: str = "chgnet",
) -> dict:
    "Make, evaluate and relax each arm, and write what was found."
    made_on, net = circumstances(), load_model(model)
    truth = load_crystals(test, split="test").to_structures() if test else None
    record = dict(name="symmetry", run=model, num=num, seed=seed, made_on=made_on, arms={})
    for name, constraints in ARMS.items():
        place = folder / name
        seconds = make(net, place, num, seed, constraints)
        made = structures(place)
        arm = dict(seconds=seconds, p1=share_p1(made), metrics=evaluate(made, truth))
        if relax:
            arm["relaxed"] = relaxed(place, relax, steps, calculator)
        record["arms"][name] = arm
        atomic_write(out, json.dumps(record, indent=1))
        print(name, json.dumps(arm, indent=1), flush=True)
    return record


def main(argv=None) -> None:
    p = argparse.ArgumentParser("python -m benchmarks.symmetry", description=__doc__)
    p.add_argument("--model", default="mp-20")
    p.add_argument("--num", type=int, default=200)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--relax", type=int, default=0, help="relax the first N of each arm")
    p.add_argument("--steps", type=int, default=30, help="of the relaxation")
    p.add_argument("--test", help="test crystals, for distances between distributions")
    p.add_argument("--folder", type=Path, default=Path("runs/symmetry"))
    p.add_argument("--out", type=Path, default=Path("results/symmetry-mp-20.json"))
    a = p.parse_args(argv)
    start = time.time()
    measure(a.out, a.folder, a.model, a.num, a.seed, a.test, a.relax, a.steps)
    print(f"{time.time() - start:.0f} s; written to {a.out}")


if __name__ == "__main__":
    main()
