"""The commands behind every number that this project states"""

import json
import re
import time
from pathlib import Path

import torch

from benchmarks.cards import PARTS, letters, outcome_counts
from benchmarks.speed import circumstances, go_on
from benchmarks.studies import KEEP, _rate, _rms, graph_for, some
from dpcdvae.cli.commands import load_model
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.model.dpcdvae import DPCDVAE

LADDER = {
    "free": dict(),
    "free, sampled z": dict(z="sampled"),
    "number of atoms given": dict(force=("num_atoms",)),
    "composition given": dict(force=("num_atoms", "composition")),
    "cell given": dict(force=("lattice",)),
    "composition and cell given": dict(force=("num_atoms", "composition", "lattice")),
    "free, atoms not exchanged": dict(arrange=0),
    "free, likeliest of 4": dict(tries=4),
}
SYSTEMS = dict(
    triclinic=2, monoclinic=15, orthorhombic=74, tetragonal=142, trigonal=167, hexagonal=194, cubic=230
)  # last space group of each


def crystal_system(number: int | None) -> str:
    "Name the crystal system of a space group."
    return "unknown" if number is None else next(name for name, last in SYSTEMS.items() if number <= last)


def describe_truth(crystals: CrystalBatch, twins) -> dict:  # column -> values
    "Say of each true crystal what failures may depend on."
    from dpcdvae.evaluation.compare import space_group

    found = crystals.to_structures()
    return dict(
        formula=[s.composition.reduced_formula for s in found],
        num_atoms=[len(s) for s in found],
        num_elements=[len(s.composition) for s in found],
        space_group=[space_group(s) for s in found],
        twin=list(twins),
    )


def same_reading(readings: dict, ladder: dict, label: str, seed: int) -> str | None:
    "Find a reading that forces the same, but for parts that were decoded exactly."
    free = next((r["metrics"] for r in readings.get("free", []) if r["seed"] == seed), None)
    if free is None:
        return None
    exact = {part for part in ("num_atoms", "composition") if free[f"{part}_exact"]["value"] == 1}
    wanted = lambda options: (
        options.get("z"),
        options.get("tries"),
        options.get("arrange"),
        frozenset(options.get("force", ())) - exact,
    )
    return next(
        (
            k
            for k, options in ladder.items()
            if k != label
            and wanted(options) == wanted(ladder[label])
            and seed in [r["seed"] for r in readings.get(k, [])]
        ),
        None,
    )


def anatomy(
    data,
    run,
    out,
    num: int = 256,
    seeds=(0, 1, 2),
    steps: int | None = None,
    ladder=LADDER,
    workers: int | None = 1,
) -> dict:
    """Reconstruct held-out crystals, freely and with parts taken from the target, and write `out` after each.

    What is there already is not done again."""
    from dpcdvae.evaluation.reconstruction import evaluate_reconstruction

    out, model = Path(out), load_model(run)
    result = go_on(
        out,
        dict(name="anatomy", run=Path(run).name, data=Path(data).name, num=num, steps=steps),
        card=model.card,
        made_on=circumstances(),
        readings={},
    )
    sets = {
        k: load_crystals(data, split=k, graph=graph_for(model), progress=False) for k in ("train", "test")
    }
    test, keep = (
        some(sets["test"], num),
        (
            *KEEP,
            "rms_valid",
            "rms_corrected",
            "space_group_exact",
            "match_rate_valid_twin_free",
            "rms_twin_free",
        ),
    )
    for label, options in ladder.items():
        if "arrange" in options and not model.config.sampling.swap_species:
            continue  # they never are
        if "tries" in options and model.config.encoder.graph != "nearest":
            continue  # they cannot be encoded again
        done = result["readings"].setdefault(label, [])
        for seed in seeds:
            if (
                seed in [r["seed"] for r in done]
                or label not in ("free", "composition given", "free, atoms not exchanged")
                and seed != seeds[0]
            ):
                continue
            same = same_reading(result["readings"], ladder, label, seed)
            if same:
                one = next(r for r in result["readings"][same] if r["seed"] == seed) | dict(same_as=same)
            else:
                start = time.time()
                made = model.reconstruct(test, films=0, seed=seed, steps=steps, **options).crystals
                seconds = time.time() - start
                rows, summary = evaluate_reconstruction(
                    made, test, reference=sets["train"], progress=False, workers=workers
                )
                if "crystals" not in result:
                    result["crystals"] = describe_truth(test, [r["twin"] for r in rows])
                one = dict(
                    seed=seed,
                    metrics={k: summary["metrics"][k] for k in keep if k in summary["metrics"]},
                    invalid={k: summary["reasons"][k] for k in ("composition", "structure")},
                    seconds_per_crystal=round(seconds / len(test), 4),
                    outcome=letters(rows),
                    valid="".join("01"[bool(r.get("valid"))] for r in rows),
                    rms=[None if r.get("rms") is None else round(r["rms"], 4) for r in rows],
                )
            done.append(one)
            print(
                result["run"],
                label,
                seed,
                _rate(one["metrics"]["match_rate"]),
                _rms(one["metrics"]["rms"]),
                dict(outcome_counts(one["outcome"])),
                flush=True,
            )
            atomic_write(
                out,
                re.sub(r"\[[^][{}]*\]", lambda m: re.sub(r"\s+", " ", m[0]), json.dumps(result, indent=1))
                + "\n",
            )  # a list of plain values on one line
    return result


def ladder_table(result: dict) -> str:  # markdown
    "Put the readings into a table: a rung a part that is taken from the target; all seeds together."
    parts = [
        k
        for k in PARTS
        if k != "m" and any(k in r["outcome"] for rs in result["readings"].values() for r in rs)
    ]
    rows = [
        "| decoded | seeds | match | RMS | " + " | ".join(PARTS[k] for k in parts) + " |",
        "|---|---|---|---|" + "---|" * len(parts),
    ]
    for label, found in result["readings"].items():
        if not found:
            continue
        joined = "".join(r["outcome"] for r in found)
        rms = [x for r in found for x in r["rms"] if x is not None]
        rows.append(
            f"| {label}{', as ' + found[0]['same_as'] if 'same_as' in found[0] else ''} | "
            f"{', '.join(str(r['seed']) for r in found)} | "
            f"{100 * joined.count('m') / len(joined):.1f} % of {len(joined)} | "
            f"{sum(rms) / len(rms) if rms else float('nan'):.3f} | "
            + " | ".join(f"{100 * joined.count(k) / len(joined):.1f} %" for k in parts)
            + " |"
        )
    return "\n".join(rows)


def match_by(result: dict, groups, reading: str = "free") -> dict:  # group -> rate, largest group first
    """Give the match rate of each group of crystals, all seeds together.

    `groups`: one list of names a crystal."""
    from dpcdvae.evaluation.statistics import rate

    found = {}
    for r in result["readings"][reading]:
        for letter, names in zip(r["outcome"], groups):
            for name in names:
                found.setdefault(name, []).append(dict(m=letter == "m"))
    return {k: rate(v, "m") for k, v in sorted(found.items(), key=lambda kv: -len(kv[1]))}


@torch.no_grad()
def films_of(model: DPCDVAE, crystals: CrystalBatch, places, seed: int = 0, **options) -> list:  # films
    "Trajectory some crystals of a reconstruction, with the noise that they had there."
    from dpcdvae.generation.best_of import decode_block
    from dpcdvae.generation.decode import Sampling, encode_stats

    s, ids = Sampling(seed=seed, **options).fill(model), torch.as_tensor(places, device=model.device)
    part = crystals[ids.cpu()].to(model.device)
    z, stats = encode_stats(model, part, ids, s)
    made, camera = decode_block(model, z, stats, ids, s, torch.ones_like(ids, dtype=torch.bool))
    return [
        camera.film(i, model.process, made[i], part[i], index=int(ids[i]), id=crystals.name(int(ids[i])))
        for i in range(len(ids))
    ]
