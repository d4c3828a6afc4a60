"""How many held-out crystals come back, by the field's rule and by strict ones, with their chance levels

`python -m benchmarks.strict --data DIR` reconstructs test crystals, one candidate each, and writes
results/strict.json; what is there already is not done again. With `--candidates 8` each crystal is put in
place eight times, from other noise, and the one that makes its latent vector likeliest is kept: the target is
not looked at. That is written to results/strict-of8.json. With `--candidates 32 --accept 3 --steps 20
--spacing critical` a crystal is placed anew until the encoder finds it back, 32 times at most; that is
results/strict-of32.json. With `--encoder-guidance 1` the encoder leads the atoms of one candidate; that is
results/strict-guided.json."""

import argparse
import json
import time
from pathlib import Path

from benchmarks.speed import circumstances
from benchmarks.studies import some
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.reconstruction import evaluate_reconstruction
from dpcdvae.generation import best_of

SETS = {"perov-5": ("perov_5", 512), "mp-20": ("mp_20", 256), "carbon-24": ("carbon_24", 256)}
EMBEDDED = {"perov_mini": ("perov_mini", 150), "carbon_mini": ("carbon_mini", 53)}
KEPT = ("strict_", "match_", "fit_", "rms", "METRe", "crmse", "composition_exact", "num_atoms_exact")
STRICT = Path("results/strict.json")
MORE = ("accept", "steps", "spacing", "encoder_guidance")


def counted(model, crystals, **how):  # what is reconstructed, and how often a crystal was placed, on average
    "Reconstruct, and count the candidates."
    placed, real = [], best_of.by_size

    def by_size(model, z, *rest, **options):
        placed.append(len(z))
        return real(model, z, *rest, **options)

    best_of.by_size = by_size
    try:
        made = model.reconstruct(crystals, **how).crystals
    finally:
        best_of.by_size = real
    return made, sum(placed) / len(crystals)


def rates(model_name: str, data: Path, num: int, seed: int, **how) -> dict:  # how: fields of `Sampling`
    "Reconstruct test crystals with a pretrained model and evaluate them."
    crystals = some(load_crystals(data, split="test", progress=False), num, seed)
    model, before = load_model(model_name), time.process_time()
    rebuilt, placements = counted(model, crystals, seed=seed, progress=False, **how)
    spent = (time.process_time() - before) / len(crystals)
    pairs = rebuilt.to_structures(), crystals.to_structures()
    _, summary = evaluate_reconstruction(*pairs, workers=1, progress=False)
    metrics = {k: m for k, m in summary["metrics"].items() if k.startswith(KEPT)}
    return dict(metrics=metrics, placements=round(placements, 2), seconds_per_crystal=round(spent, 4))


def stored_rates(
    name: str,  # a pretrained model
    data: Path,  # folder of its splits
    seed: int = 0,
    out: Path = STRICT,
    **how,  # fields of `Sampling`
) -> dict:  # data, num, metrics, placements, seconds_per_crystal, made_on
    "Take a model's rates from the file of results, or add them to it."
    how = dict(num_candidates=1) | how
    done = json.loads(out.read_text()) if out.exists() else dict(name="strict", seed=seed, models={}) | how
    there = dict(num_candidates=1) | {k: done[k] for k in ("num_candidates", *MORE) if k in done}
    if there != how:
        raise ValueError(f"{out} was made with {there}, not with {how}: give another file")
    if name not in done["models"]:
        num = (SETS | EMBEDDED).get(name, (None, 256))[1]
        found = rates(name, data, num, seed, **how)
        done["models"][name] = dict(data=data.name, num=num, made_on=circumstances()) | found
        atomic_write(out, json.dumps(done, indent=1) + "\n")
    return done["models"][name]


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.strict", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5, mp_20, carbon_24")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--candidates", type=int, default=1)
    p.add_argument("--accept", type=float, help="latent distance below which no more candidates are made")
    p.add_argument("--steps", type=int, help="function evaluations of a candidate; else the model's own")
    p.add_argument("--spacing", help="of the evaluations")
    p.add_argument(
        "--encoder-guidance", type=float, help="strength; else the encoder does not lead the atoms"
    )
    p.add_argument("--only", nargs="+", choices=SETS | EMBEDDED, default=list(SETS | EMBEDDED))
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    name = "-guided" if a.encoder_guidance else f"-of{a.candidates}" if a.candidates > 1 else ""
    out = a.out or STRICT.with_stem(f"strict{name}")
    how = dict(num_candidates=a.candidates) | {k: v for k in MORE if (v := getattr(a, k)) is not None}
    for name in a.only:
        folder = (SETS | EMBEDDED)[name][0]
        data = Path(folder) if name in EMBEDDED else a.data / folder
        print(
            name, stored_rates(name, data, a.seed, out, **how)["metrics"]["strict_rate"]["value"], flush=True
        )


if __name__ == "__main__":
    main()
