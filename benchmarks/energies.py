"""The commands behind every number that this project states"""

import json
import time
import warnings
from pathlib import Path

import torch

from benchmarks.speed import circumstances
from benchmarks.studies import _rms, _run_folder, graph_for, held_out, train_once
from dpcdvae.cli.commands import load_model
from dpcdvae.data.files import atomic_write


def difference_of_means(a, b, seed: int = 0, draws: int = 2000) -> dict:  # value, low, high, counts
    "Compare two means, with a bootstrap interval."
    import numpy as np

    rng, (a, b) = np.random.default_rng(seed), (np.asarray(x, dtype=float) for x in (a, b))
    if not len(a) or not len(b):
        return dict(value=None, low=None, high=None, counts=[len(a), len(b)])
    found = [rng.choice(a, len(a)).mean() - rng.choice(b, len(b)).mean() for _ in range(draws)]
    low, high = np.quantile(found, [0.025, 0.975])
    return dict(value=float(a.mean() - b.mean()), low=float(low), high=float(high), counts=[len(a), len(b)])


ENERGETIC = {name: (name, {}) for name in ("paper", "cdvae")}
SMALL_GROUND = dict(
    num=24, max_time="00:02:00", steps=500
)  # the study that `python -m benchmarks ground` makes on the embedded set: under 15 minutes on two cores


def ground(
    data,
    runs,
    out,
    variants: dict = ENERGETIC,
    num: int = 100,
    max_time: str | None = "00:10:00",
    max_epochs: int = -1,
    steps: int | None = None,
    seed: int = 0,
    calculator: str = "chgnet",
    fmax: float = 0.05,
    max_steps: int = 300,
    workers: int | None = None,
    timeout: float = 600.0,
) -> dict:
    """Train models alike, generate from each, relax all, and compare how far they were from rest.

    What is there already is not done again."""
    from dpcdvae.energy.relax import energies
    from dpcdvae.evaluation.entries import Entry
    from dpcdvae.generation.jobs import rows_of

    name, runs, models, begun = Path(data).name, Path(runs), {}, time.time()
    fresh = not any(_run_folder(runs, f"{name}, {label}").exists() for label in variants)
    how = dict(
        calculator=calculator,
        fmax=fmax,
        max_steps=max_steps,
        workers=workers,
        progress=False,
        timeout=timeout,
        seed=seed,
    )

    def summarise(entries, folder):
        start = time.time()
        rows, summary = energies(entries, folder, **how)
        print(
            folder.name,
            f"{summary['num_converged']} of {len(rows)} converged",
            summary["metrics"].get("to_relaxed"),
            summary["reasons"],
            flush=True,
        )
        return {k: summary[k] for k in ("num_crystals", "num_converged", "metrics", "reasons")} | dict(
            to_relaxed=[round(r["to_relaxed"], 2) for r in rows if r.get("converged")],
            seconds_a_crystal=round(sum(r["seconds"] for r in rows) / len(rows), 2),
            seconds=round(time.time() - start, 1),
        ), summary["calculator"]

    test = held_out(data, num, seed)
    entries = [
        Entry(i, n, cif) for i, n, cif, _ in rows_of(test, 0, [test.name(i) for i in range(len(test))])
    ]
    models["test set"], version = summarise(entries, _run_folder(runs, f"{name}, test, {num} relaxed"))
    for label, (preset, changes) in variants.items():
        run = _run_folder(runs, f"{name}, {label}")
        train_once(data, run, preset, max_time, max_epochs, seed, **changes)
        new = _run_folder(runs, f"{name}, {label}, new {num}")
        load_model(run).generate(num, out=new, seed=seed, steps=steps)
        models[label] = (
            dict(training=json.loads((run / "run.json").read_text()) | dict(data=name))
            | summarise(new / "crystals.csv", new)[0]
        )
    first, *others = variants
    result = dict(
        name="ground",
        data=name,
        num=num,
        steps=steps,
        seed=seed,
        calculator=version,
        settings=dict(fmax=fmax, max_steps=max_steps, timeout=timeout),
        made_on=circumstances(),
        seconds=round(time.time() - begun, 1) if fresh else None,
        models=models,  # None: it went on, and a part is not counted
        differences={
            f"{k} - {first}": difference_of_means(models[k]["to_relaxed"], models[first]["to_relaxed"], seed)
            for k in [*others, "test set"]
        },
    )
    atomic_write(Path(out), json.dumps(result, indent=1) + "\n")
    return result


def _energy(m, unit="meV/atom") -> str:
    return (
        "–"
        if not m or m["value"] is None
        else f"{m['value']:.1f} [{m['low']:.1f}, {m['high']:.1f}] {unit}"
        if m["low"] is not None
        else f"{m['value']:.1f} {unit}"
    )


def ground_table(result: dict) -> str:  # markdown
    "Put the energies to the relaxed state into a table."
    rows = [
        "| crystals | training | converged | energy to the relaxed state, mean [95 %] | median | "
        "displacement | steps | not converged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, r in result["models"].items():
        t, m, why = (
            r.get("training"),
            r["metrics"],
            ", ".join(f"{k}: {n}" for k, n in r["reasons"].items()) or "–",
        )
        trained = (
            f"{t['steps']} steps, {t['crystals_seen']:,} crystals in {t['seconds'] / 60:.0f} min"
            if t
            else "–"
        )
        found = (
            f"{_energy(m['to_relaxed'])} | {m['to_relaxed']['median']:.1f} meV/atom | "
            f"{_rms(m['displacement'])} Å | {m['steps']['value']:.0f}"
            if "to_relaxed" in m
            else "– | – | – | –"
        )
        rows.append(
            f"| {label} | {trained} | {r['num_converged']} of {r['num_crystals']} | {found} | {why} |"
        )
    rows += [
        "",
        *(
            f"{k}: {_energy(d)} ({d['counts'][0]} and {d['counts'][1]} crystals)  "
            for k, d in result["differences"].items()
        ),
        "",
        f"{result['calculator']}; forces below {result['settings']['fmax']} eV/Å, at most "
        f"{result['settings']['max_steps']} steps; {result['data']}, seed {result['seed']}; "
        f"{result['made_on']['processor']}, {result['made_on']['date']}"
        + (f", {result['seconds'] / 60:.0f} min in all" if result.get("seconds") else "")
        + ".",
    ]
    if result["num"] < 100:
        rows.append(
            f"\n{result['num']} crystals each are few: the intervals are wide, and what they leave "
            f"undecided is not decided."
        )
    return "\n".join(rows)


def regained(
    data,
    run,
    out,
    num: int = 32,
    steps: int | None = None,
    seed: int = 0,
    calculator: str = "chgnet",
    fmax: float = 0.05,
    max_steps: int = 300,
    workers: int | None = None,
) -> dict:
    "Reconstruct held-out crystals, relax both, and compare."
    from dpcdvae.energy.relax import energies
    from dpcdvae.evaluation.compare import match
    from dpcdvae.evaluation.entries import Entry, read_cif
    from dpcdvae.evaluation.statistics import mean, rate
    from dpcdvae.generation.jobs import rows_of

    model, folder, begun = load_model(run), Path(f"{Path(run)}-regained{num}"), time.time()
    test = held_out(data, num, seed, graph_for(model))
    model.reconstruct(test, out=folder, seed=seed, steps=steps, films=0)
    how = dict(
        calculator=calculator, fmax=fmax, max_steps=max_steps, workers=workers, progress=False, seed=seed
    )
    true, _ = energies(
        [Entry(i, n, cif) for i, n, cif, _ in rows_of(test, 0, [test.name(i) for i in range(len(test))])],
        folder / "truth",
        **how,
    )
    made, summary = energies(folder / "crystals.csv", folder, **how)
    rows = []
    for t, m in zip(true, made):
        row = dict(
            material_id=t["material_id"],
            num_atoms=t.get("num_atoms"),
            reason=t.get("reason") or m.get("reason") or "",
        )
        if "energy" in t and "energy" in m:
            row["above"] = round(1e3 * (m["energy"] - t["energy"]), 2)
        if t.get("converged") and m.get("converged"):
            row |= dict(
                left=round(1e3 * (m["relaxed_energy"] - t["relaxed_energy"]), 2),
                back=match(read_cif(m["cif"]), read_cif(t["cif"])) is not None,
            )
        rows.append(row)
    result = dict(
        name="regained",
        data=Path(data).name,
        run=Path(run).name,
        num=len(rows),
        steps=steps,
        seed=seed,
        calculator=summary["calculator"],
        settings=dict(fmax=fmax, max_steps=max_steps),
        reasons=summary["reasons"],
        made_on=circumstances(),
        crystals=rows,
        metrics={k: mean([r[k] for r in rows if k in r], seed) for k in ("above", "left")}
        | dict(back=rate(rows, "back")),
        seconds=round(time.time() - begun, 1),
    )
    atomic_write(Path(out), json.dumps(result, indent=1) + "\n")
    return result


def rested(
    folder: Path, max_atoms: int, num: int, seed: int
) -> list:  # (row of relaxed.csv, the crystal as it was)
    "Draw some small crystals that came to rest."
    import csv

    from dpcdvae.evaluation.entries import read_crystals

    csv.field_size_limit(2**30)
    with open(folder / "relaxed.csv", newline="", encoding="utf-8") as f:
        rows = [r for r in csv.DictReader(f) if r["converged"] == "True" and int(r["num_atoms"]) <= max_atoms]
    source = {str(e.index): e.source for e in read_crystals(folder / "crystals.csv")}
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).tolist()
    return [(rows[i], source[rows[i]["index"]]) for i in order[:num]]


TRUSTED = {
    "generated": dict(num=40, seed=0),
    "four-calls": dict(num=24, seed=1, steps=4),
}  # crystals to ask about: like any, and far from rest


def relaxed_samples(
    runs, run="carbon_mini", calculator: str = "chgnet", workers: int | None = None
) -> list:  # folders
    """Generate and relax the crystals that a second calculator is asked about.

    What is there already is not done again."""
    from dpcdvae.energy.relax import energies

    for name, how in TRUSTED.items():
        load_model(run).generate(out=Path(runs) / name, **how)
        energies(Path(runs) / name, Path(runs) / name, calculator, workers=workers, progress=False)
    return [Path(runs) / name for name in TRUSTED]


def trust(
    folders,
    out,
    num: int = 8,
    max_atoms: int = 8,
    calculator: str = "gpaw",
    seed: int = 0,
    timeout: float = 1200.0,
    workers: int | None = 1,
    runs="runs/trust",
) -> dict:  # folders relaxed by `dpcdvae relax`; none: those of `relaxed_samples`
    "Compute the energy to the relaxed state with a second calculator, at the geometries of the first."
    from dpcdvae.energy.relax import energies, get_calculator
    from dpcdvae.evaluation.entries import Entry

    get_calculator(calculator)  # where it is missing, that is said before anything is made
    folders = folders or relaxed_samples(runs, workers=workers)
    out, folders, begun, found = Path(out), [Path(f) for f in folders], time.time(), []
    pairs = [(f.name, row, cif) for f in folders for row, cif in rested(f, max_atoms, num, seed)]
    entries = [
        Entry(2 * i + k, f"{folder}/{row['index']}, {('as it was', 'relaxed')[k]}", cif)
        for i, (folder, row, before) in enumerate(pairs)
        for k, cif in enumerate((before, row["cif"]))
    ]
    rows, summary = energies(
        entries,
        _run_folder(runs, f"second opinion, {out.stem}"),
        calculator,
        max_steps=0,
        workers=workers,
        progress=False,
        timeout=timeout,
    )
    for i, (folder, row, before) in enumerate(pairs):
        start, end = rows[2 * i : 2 * i + 2]
        one = dict(
            source=folder,
            index=int(row["index"]),
            formula=row["formula"],
            num_atoms=int(row["num_atoms"]),
            surrogate=round(float(row["to_relaxed"]), 2),
            surrogate_energy=round(float(row["relaxed_energy"]), 5),
            reason=start.get("reason") or end.get("reason") or "",
            seconds=round(start["seconds"] + end["seconds"], 1),
        )
        if "energy" in start and "energy" in end:
            one |= dict(
                second=round(1e3 * (start["energy"] - end["energy"]), 2),
                second_energy=round(end["energy"], 5),
                second_force=round(end["force"], 4),
            )
        found.append(one | dict(before=before, after=row["cif"]))
    said = [json.loads((f / "energies.json").read_text())["calculator"] for f in folders]
    result = (
        dict(
            name="trust",
            num=len(found),
            surrogate=", ".join(dict.fromkeys(said)),
            calculator=summary["calculator"],
            seed=seed,
            max_atoms=max_atoms,
            reasons=summary["reasons"],
            made_on=circumstances(),
            seconds=round(time.time() - begun, 1),
        )
        | agreement(found, seed)
        | dict(crystals=found)
    )
    atomic_write(out, json.dumps(result, indent=1) + "\n")
    return result


def agreement(
    found: list, seed: int = 0, draws: int = 1000
) -> dict:  # correlations and errors of the surrogate (meV/atom), each with an interval
    "Compare what two calculators say of the same crystals."
    import numpy as np
    from scipy.stats import pearsonr, spearmanr

    from dpcdvae.evaluation.statistics import mean

    both = np.array([(r["surrogate"], r["second"]) for r in found if "second" in r]).reshape(-1, 2)
    if len(both) < 3:
        return dict(count=len(both))
    error, rng = both[:, 0] - both[:, 1], np.random.default_rng(seed)
    picks = rng.integers(len(both), size=(draws, len(both)))

    def correlation(f):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the same crystal drawn every time has no correlation
            low, high = np.nanquantile([f(*both[p].T)[0] for p in picks], [0.025, 0.975])
        return dict(value=float(f(*both.T)[0]), low=float(low), high=float(high), count=len(both))

    return dict(
        count=len(both),
        pearson=correlation(pearsonr),
        spearman=correlation(spearmanr),
        mean_error=mean(error.tolist(), seed) | dict(unit="meV/atom"),
        mean_absolute_error=mean(np.abs(error).tolist(), seed) | dict(unit="meV/atom"),
    )


def trust_table(result: dict) -> str:  # markdown
    "Put two calculators side by side."
    rows = [
        "| crystals | atoms | to the relaxed state, surrogate | second calculator | largest force "
        "there, at the surrogate's rest |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {r['source']} {r['index']} | {r['num_atoms']} | {r['surrogate']:.0f} meV/atom | "
        + (
            f"{r['second']:.0f} meV/atom | {r['second_force']:.2f} eV/Å |"
            if "second" in r
            else f"– ({r['reason']}) | – |"
        )
        for r in result["crystals"]
    ]
    return "\n".join(
        [
            *rows,
            "",
            f"Surrogate: {result['surrogate']}; second: {result['calculator']}; {result['count']} of "
            f"{result['num']} crystals of at most {result['max_atoms']} atoms, seed "
            f"{result['seed']}; {result['made_on']['processor']}, {result['made_on']['date']}, "
            f"{result['seconds'] / 60:.0f} min.",
        ]
        + ["", *agreement_lines(result)]
    )


def agreement_lines(result: dict) -> list:  # of markdown
    "Say how well two calculators agree."
    names = dict(
        pearson="correlation of the relaxation energies",
        spearman="correlation of their ranks",
        mean_error="surrogate less second, mean",
        mean_absolute_error="their distance, mean",
    )
    return [
        f"- {says}: {m['value']:.{d}f} [{m['low']:.{d}f}, "
        f"{m['high']:.{d}f}]{' ' + m['unit'] if 'unit' in m else ''} ({m['count']} crystals)"
        for k, says in names.items()
        if (m := result.get(k))
        for d in [0 if "unit" in m else 3]
    ]


def parity(result: dict):
    "Draw what the second calculator says against what the surrogate says."
    import plotly.graph_objects as go

    from dpcdvae.viz.atoms import paper

    both = [r for r in result["crystals"] if "second" in r]
    low, high = (f(v for r in both for v in (r["surrogate"], r["second"])) for f in (min, max))
    fig = go.Figure(
        [
            go.Scatter(
                x=[low, high],
                y=[low, high],
                mode="lines",
                line=dict(color="#868e96", dash="dot"),
                name="equal",
                hoverinfo="skip",
            )
        ]
    )
    for source in dict.fromkeys(r["source"] for r in both):
        some = [r for r in both if r["source"] == source]
        fig.add_scatter(
            x=[r["surrogate"] for r in some],
            y=[r["second"] for r in some],
            mode="markers",
            marker_size=9,
            name=source,
            text=[f"{r['index']}, {r['num_atoms']} atoms" for r in some],
        )
    return paper(
        fig,
        xaxis_title=f"energy to the relaxed state, {result['surrogate'].split(',')[0]} (meV/atom)",
        yaxis_title=f"{result['calculator'].split(',')[0]} (meV/atom)",
        height=380,
    )
