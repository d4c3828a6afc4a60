"""New crystals with and without imposed symmetry, same model, same seed: python -m benchmarks.symmetry

Every stage writes into its folder and is skipped where it is done, so a run may be stopped and called again.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.cli.commands import load_model
from dpcdvae.data.files import atomic_write
from dpcdvae.generation.constraints import Constraints

ARMS = dict(free=Constraints(), draw=Constraints(symmetry="draw"))


def make(model, folder: Path, num: int, seed: int, constraints: Constraints) -> float:  # seconds
    "Generate crystals into a folder; goes on where it stopped."
    model.generate(num, out=folder, seed=seed, constraints=constraints, block=50)
    return json.loads((folder / "run.json").read_text())["seconds"]


def judge(folder: Path, reference, test) -> dict:  # metrics and space groups
    "Evaluate a folder once."
    from dpcdvae.evaluation.evaluate import evaluate

    path = folder / "metrics.json"
    if not path.exists():
        evaluate(folder, reference, test, workers=1, progress=False)
    return json.loads(path.read_text())


def share_p1(folder: Path) -> dict:  # tolerance in Å -> value, count, total, groups
    "Measure the share of crystals without symmetry, and count the groups that there are."
    from dpcdvae.evaluation.entries import read_crystals
    from dpcdvae.evaluation.generation import symmetries

    entries = read_crystals(folder)[0]
    found = [symmetries((e, 60.0)) for e in entries]
    known = [f for f in found if f]
    out = {}
    for key in known[0]:
        numbers = [f[key] for f in known]
        out[key.removeprefix("space_group_")] = dict(
            value=numbers.count(1) / len(numbers),
            count=numbers.count(1),
            total=len(numbers),
            groups=len(set(numbers)),
        )
    return out | dict(unreadable=len(found) - len(known))


def relaxed(folder: Path, num: int, steps: int, calculator: str) -> dict:  # medians
    "Relax the first crystals for some steps, and say how far from rest they were made."
    from statistics import median

    from dpcdvae.energy.relax import energies
    from dpcdvae.evaluation.entries import read_crystals

    entries = read_crystals(folder)[0][:num]
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


KEPT = ("valid", "composition_valid", "structure_valid", "unique", "novel", "valid_unique", "min_dist")


def measure(
    out: Path,
    folder: Path,
    model: str = "mp-20",
    num: int = 200,
    seed: int = 0,
    reference=None,
    test=None,
    relax: int = 0,
    steps: int = 30,
    calculator: str = "chgnet",
) -> dict:
    "Make, judge and relax each arm, and write what was found."
    made_on, net = circumstances(), load_model(model)
    record = dict(name="symmetry", run=model, num=num, seed=seed, made_on=made_on, arms={})
    for name, constraints in ARMS.items():
        place = folder / name
        seconds = make(net, place, num, seed, constraints)
        metrics = judge(place, reference, test)["metrics"]
        arm = dict(seconds=seconds, p1=share_p1(place), metrics={k: metrics[k] for k in KEPT if k in metrics})
        arm["distances"] = {k: v for k, v in metrics.items() if k.startswith("wasserstein")}
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
    p.add_argument("--reference", help="training crystals, for novelty")
    p.add_argument("--test", help="test crystals, for distances between distributions")
    p.add_argument("--folder", type=Path, default=Path("runs/symmetry"))
    p.add_argument("--out", type=Path, default=Path("results/symmetry-mp-20.json"))
    a = p.parse_args(argv)
    start = time.time()
    measure(a.out, a.folder, a.model, a.num, a.seed, a.reference, a.test, a.relax, a.steps)
    print(f"{time.time() - start:.0f} s; written to {a.out}")


if __name__ == "__main__":
    main()
