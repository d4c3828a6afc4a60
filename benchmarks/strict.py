"""How many held-out crystals come back, by the field's rule and by strict ones, with their chance levels

`python -m benchmarks.strict --data DIR` reconstructs test crystals, one candidate each, and writes
results/strict.json; what is there already is not done again. With `--candidates 8` each crystal is put in
place eight times, from other noise, and the one that makes its latent vector likeliest is kept: the target is
not looked at. That is written to results/strict-of8.json."""

import argparse
import json
from pathlib import Path

from benchmarks.speed import circumstances
from benchmarks.studies import some
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.reconstruction import evaluate_reconstruction

SETS = {"perov-5": ("perov_5", 512), "mp-20": ("mp_20", 256), "carbon-24": ("carbon_24", 128)}
EMBEDDED = {"perov_mini": ("perov_mini", 150), "carbon_mini": ("carbon_mini", 53)}
KEPT = ("strict_", "match_", "fit_", "rms", "METRe", "crmse", "composition_exact", "num_atoms_exact")
STRICT = Path("results/strict.json")


def rates(
    model_name: str, data: Path, num: int, seed: int, candidates: int = 1
) -> dict:  # metric -> value, low, high, count, total
    "Reconstruct test crystals with a pretrained model and evaluate them."
    crystals = some(load_crystals(data, split="test", progress=False), num, seed)
    model = load_model(model_name)
    how = dict(seed=seed, progress=False, num_candidates=candidates)
    rebuilt = model.reconstruct(crystals, **how).crystals
    pairs = rebuilt.to_structures(), crystals.to_structures()
    _, summary = evaluate_reconstruction(*pairs, workers=1, progress=False)
    return {k: m for k, m in summary["metrics"].items() if k.startswith(KEPT)}


def stored_rates(
    name: str,  # a pretrained model
    data: Path,  # folder of its splits
    seed: int = 0,
    out: Path = STRICT,
    candidates: int = 1,
) -> dict:  # data, num, metrics, made_on
    "Take a model's rates from the file of results, or add them to it."
    done = json.loads(out.read_text()) if out.exists() else dict(name="strict", seed=seed, models={})
    if done.setdefault("num_candidates", candidates) != candidates:
        raise ValueError(f"{out} holds rates of {done['num_candidates']} candidates: give another file")
    if name not in done["models"]:
        num = (SETS | EMBEDDED).get(name, (None, 256))[1]
        found = rates(name, data, num, seed, candidates)
        done["models"][name] = dict(data=data.name, num=num, metrics=found, made_on=circumstances())
        atomic_write(out, json.dumps(done, indent=1) + "\n")
    return done["models"][name]


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.strict", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5, mp_20, carbon_24")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--candidates", type=int, default=1)
    p.add_argument("--only", nargs="+", choices=SETS | EMBEDDED, default=list(SETS | EMBEDDED))
    p.add_argument("--out", type=Path)
    a = p.parse_args()
    out = a.out or (STRICT if a.candidates == 1 else Path(f"results/strict-of{a.candidates}.json"))
    for name in a.only:
        folder = (SETS | EMBEDDED)[name][0]
        data = Path(folder) if name in EMBEDDED else a.data / folder
        stored_rates(name, data, a.seed, out, a.candidates)


if __name__ == "__main__":
    main()
