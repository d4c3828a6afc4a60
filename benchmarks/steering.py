"""The commands behind every number that this project states"""

import json
import time
import warnings
from pathlib import Path

import torch

from benchmarks.speed import circumstances
from benchmarks.studies import _run_folder
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write


def steering(
    data,
    run,
    out,
    property: str,
    num: int = 100,
    rounds: int = 10,
    seed: int = 0,
    calculator: str | None = None,
    workers: int | None = None,
    films: int = 3,
    runs="runs/steering",
    fingerprints: bool = True,
    max_steps: int = 0,
) -> dict:  # max_steps: to relax starts and ends, too
    """Optimise a property from test crystals, evaluate what comes out and, where a calculator is named, ask
    about starts, the starts as the model decodes them, and ends."""
    from dpcdvae.data.datasets import source_files
    from dpcdvae.energy.relax import energies
    from dpcdvae.evaluation.entries import Entry, read_crystals
    from dpcdvae.evaluation.evaluate import evaluate
    from dpcdvae.generation.jobs import rows_of
    from dpcdvae.generation.optimize import Walk, optimise

    begun = time.time()
    name, model, files = (
        f"{Path(run).name}, {Path(data).name}, {property}, {num}",
        load_model(run),
        {k: source_files(data, k)[k][0] for k in ("train", "test")},
    )
    folder, sets = (
        _run_folder(runs, name),
        {k: load_crystals(data, split=k, progress=False) for k in ("train", "test")},
    )
    starts = sets["test"][:num]
    said = optimise(model, starts, sets["train"], property, folder, Walk(rounds=rounds), seed=seed)
    found = evaluate(
        folder,
        files["train"],
        files["test"],
        workers,
        progress=False,
        fingerprints=fingerprints,
        property=property if fingerprints else None,
    )
    job = json.loads((folder / "run.json").read_text())
    result = dict(
        name="steering",
        run=Path(run).name,
        data=Path(data).name,
        property=property,
        num=len(starts),
        rounds=rounds,
        seed=seed,
        walk=job["walk"],
        decoding=f"{job['sampler']}, {job['steps']} calls",
        head=said,
        card=model.card,
        made_on=circumstances(),
        metrics=found["metrics"],
        reasons=found["reasons"],
    )
    begin, made = (
        [
            Entry(i, n, cif)
            for i, n, cif, _ in rows_of(starts, 0, [starts.name(i) for i in range(len(starts))])
        ],
        read_crystals(folder / "crystals.csv"),
    )
    if calculator:
        ends = [Entry(i, e.material_id, e.source, e.error) for i, e in enumerate(made[rounds - 1 :: rounds])]
        model.reconstruct(starts, out=folder / "decoded", films=0, seed=seed, steps=job["steps"])
        ask = lambda e, place, steps=0: energies(
            e, folder / place, calculator, max_steps=steps, workers=workers, progress=False, seed=seed
        )
        found = {
            k: ask(e, f"energy of {k}")
            for k, e in (("starts", begin), ("decoded", folder / "decoded" / "crystals.csv"), ("ends", ends))
        }
        result["energies"] = dict(
            calculator=found["ends"][1]["calculator"],
            **{k: s["metrics"] for k, (_, s) in found.items()},
            reasons=found["ends"][1]["reasons"],
            **compared(found["ends"][0], found["starts"][0], "energy", seed),
            walked=compared(found["ends"][0], found["decoded"][0], "energy", seed),
        )
        if max_steps:
            rest = {k: ask(e, f"relaxed {k}", max_steps) for k, e in (("starts", begin), ("ends", ends))}
            result["energies"]["relaxed"] = dict(
                max_steps=max_steps,
                **{
                    k: {m: s[m] for m in ("metrics", "reasons", "num_converged")}
                    for k, (_, s) in rest.items()
                },
                **compared(rest["ends"][0], rest["starts"][0], "relaxed_energy", seed),
            )
    result |= dict(
        walks=longest_walks(begin, made, folder, rounds, films), seconds=round(time.time() - begun, 1)
    )
    atomic_write(Path(out), json.dumps(result, indent=1) + "\n")
    return result


def compared(ends, starts, key: str, seed: int = 0) -> dict:  # change (eV/atom), and the share that is lower
    "Compare the energies of two lists of crystals, pair by pair."
    from dpcdvae.evaluation.statistics import mean, rate

    both = [
        (a[key], b[key])
        for a, b in zip(ends, starts)
        if all(isinstance(r.get(key), float) and (key == "energy" or r["converged"]) for r in (a, b))
    ]
    return dict(
        change=mean([a - b for a, b in both], seed) | dict(unit="eV/atom"),
        lower=rate([dict(x=a < b) for a, b in both], "x"),
    )


def longest_walks(
    begin, made, folder, rounds: int, num: int
) -> list:  # start, crystals as CIF round by round, expected property
    "Keep the walks whose expected property fell most, for a film."
    import csv

    with open(Path(folder) / "expected.csv", newline="", encoding="utf-8") as f:
        expected = [float(r["expected"] or "nan") for r in csv.DictReader(f)]
    walks = [
        dict(
            start=e.material_id,
            before=e.source,
            expected=expected[i * rounds : (i + 1) * rounds],
            crystals=[m.source for m in made[i * rounds : (i + 1) * rounds]],
        )
        for i, e in enumerate(begin)
    ]
    whole = [w for w in walks if all(w["crystals"])]
    return sorted(whole, key=lambda w: w["expected"][-1] - w["expected"][0])[:num]


def walk_film(walk: dict):  # of `steering`; a Trajectory, one frame a crystal of the walk
    """Lay the crystals of a walk over each other, atom by atom, in the cell of the last.

    Atoms keep their number of the list as long as the walk has as many."""
    from pymatgen.core import Structure
    from scipy.optimize import linear_sum_assignment

    from dpcdvae.crystal.lattice import minimum_image
    from dpcdvae.diffusion.trajectory import Trajectory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [Structure.from_str(c, fmt="cif") for c in [walk["before"], *walk["crystals"]]]
    last = found[-1]
    same = [s for s in found if len(s) == len(last)]
    path, numbers = [torch.tensor(last.frac_coords)], [torch.tensor(last.atomic_numbers)]
    for s in reversed(same[:-1]):
        frac, places = torch.tensor(s.frac_coords), path[-1]
        shifts = (places[:, None] - frac).flatten(0, 1)  # every atom laid upon every other
        gaps = minimum_image(frac + shifts[:, None, None] - places[:, None]).square().sum(-1) + 0.01 * (
            numbers[-1][:, None] != torch.tensor(s.atomic_numbers)
        )  # (shift, place, atom)
        orders = [linear_sum_assignment(g)[1] for g in gaps]
        k = min(range(len(orders)), key=lambda k: float(gaps[k, torch.arange(len(places)), orders[k]].sum()))
        moved = frac[orders[k]] + shifts[k]
        (
            path.append(places + minimum_image(moved - places)),
            numbers.append(torch.tensor(s.atomic_numbers)[orders[k]]),
        )
    frac, n = torch.stack(path[::-1]).float(), len(path)
    return Trajectory(
        t=torch.arange(n - 1, -1, -1),
        noise=torch.zeros(n),
        alpha_bar=torch.ones(n),
        frac_unwrapped=frac,
        atomic_numbers=torch.stack(numbers[::-1]),
        x0=frac,
        lengths=torch.tensor(last.lattice.lengths),
        angles=torch.tensor(last.lattice.angles),
        meta=dict(model="a walk through the latent space", steps=n - 1, id=walk["start"]),
    )


def steering_table(result: dict) -> str:  # markdown
    "Say how often the walk arrived."
    m = result["metrics"]
    energy = lambda m, sign="": (
        f"{m['value']:{sign}.2f} [{m['low']:{sign}.2f}, {m['high']:{sign}.2f}] eV/atom ({m['count']} "
        f"crystals)"
        if m.get("low") is not None
        else f"– ({m['count']} crystals)"
    )
    lower = lambda m: (
        f"{100 * m['value']:.0f} % [{100 * m['low']:.0f}, {100 * m['high']:.0f}] of {m['total']} lower"
        if m.get("value") is not None
        else "–"
    )
    percent = lambda k: (
        f"{100 * m[k]['value']:.1f} % [{100 * m[k]['low']:.1f}, {100 * m[k]['high']:.1f}] of {m[k]['total']}"
        if m.get(k, {}).get("value") is not None
        else "–"
    )
    rows = [
        "| what | found |",
        "|---|---|",
        *(f"| {k.replace('_', ' ')} | {percent(k)} |" for k in m if k.startswith("success")),
        f"| valid | {percent('valid')} |",
        f"| unique | {percent('unique')} |",
        f"| novel | {percent('novel')} |",
        f"| head: mean absolute error on held-out tenths (of always saying the mean) | "
        f"{result['head']['held_out_mae']:.3f} ({result['head']['mae_of_the_mean']:.3f}) |",
    ]
    if e := result.get("energies"):
        rows += [
            f"| {k}, {e['calculator'].split(',')[0]} | mean {energy(e[k]['energy'])} |"
            for k in ("starts", "decoded", "ends")
            if "energy" in e.get(k, {})
        ]
        rows += [
            f"| {says} | {energy(c['change'], '+')}; {lower(c['lower'])} |"
            for says, c in (
                ("ends less starts", e),
                ("ends less starts as decoded without a walk", e.get("walked")),
                ("ends less starts, both relaxed", e.get("relaxed")),
            )
            if c and c.get("lower")
        ]
        if gone := ", ".join(f"{k}: {n}" for k, n in e["reasons"].items()):
            rows.append(f"| ends without an energy | {gone} |")
        if e.get("relaxed"):
            rows.append(
                "| not relaxed | "
                + (
                    "; ".join(
                        f"{k}: " + ", ".join(f"{w} {n}" for w, n in e["relaxed"][k]["reasons"].items())
                        for k in ("starts", "ends")
                        if e["relaxed"][k]["reasons"]
                    )
                    or "–"
                )
                + " |"
            )
    return "\n".join(
        [
            *rows,
            "",
            f"{result['num']} starts, {result['rounds']} rounds, {result['property']} of "
            f"{result['data']}, model {result['run']}, {result['decoding']}, seed {result['seed']}; "
            f"{e['calculator'] + '; ' if e else ''}{result['made_on']['processor']}, "
            f"{result['made_on']['date']}.",
        ]
    )
