"""How many held-out crystals come back, by the field's rule and by strict ones, with their chance levels

`python -m benchmarks.strict --data DIR` reconstructs test crystals, one candidate
each, and writes results/strict.json; what is there already is not done again."""

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
KEPT = ("strict_", "match_", "fit_", "rms", "METRe", "crmse", "composition_exact", "num_atoms_exact")


def rates(
    model_name: str, data: Path, num: int, seed: int
) -> dict:  # metric -> value, low, high, count, total
    "Reconstruct test crystals with a pretrained model and evaluate them."
    crystals = some(load_crystals(data, split="test", progress=False), num, seed)
    model = load_model(model_name)
    rebuilt = model.reconstruct(crystals, seed=seed, progress=False).crystals
    pairs = rebuilt.to_structures(), crystals.to_structures()
    _, summary = evaluate_reconstruction(*pairs, workers=1, progress=False)
    return {k: m for k, m in summary["metrics"].items() if k.startswith(KEPT)}


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.strict", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5, mp_20, carbon_24")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path("results/strict.json"))
    a = p.parse_args()
    done = json.loads(a.out.read_text()) if a.out.exists() else dict(name="strict", seed=a.seed, models={})
    for name, (folder, num) in SETS.items():
        if name not in done["models"]:
            found = rates(name, a.data / folder, num, a.seed)
            done["models"][name] = dict(data=folder, num=num, metrics=found, made_on=circumstances())
            atomic_write(a.out, json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
