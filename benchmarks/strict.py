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
EMBEDDED = {"perov_mini": ("perov_mini", 150), "carbon_mini": ("carbon_mini", 53)}
KEPT = ("strict_", "match_", "fit_", "rms", "METRe", "crmse", "composition_exact", "num_atoms_exact")
STRICT = Path("results/strict.json")


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


def stored_rates(
    name: str,  # a pretrained model
    data: Path,  # folder of its splits
    seed: int = 0,
    out: Path = STRICT,
) -> dict:  # data, num, metrics, made_on
    "Take a model's rates from the file of results, or add them to it."
    done = json.loads(out.read_text()) if out.exists() else dict(name="strict", seed=seed, models={})
    if name not in done["models"]:
        num = (SETS | EMBEDDED).get(name, (None, 256))[1]
        found = rates(name, data, num, seed)
        done["models"][name] = dict(data=data.name, num=num, metrics=found, made_on=circumstances())
        atomic_write(out, json.dumps(done, indent=1) + "\n")
    return done["models"][name]


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.strict", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder with perov_5, mp_20, carbon_24")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", type=Path, default=STRICT)
    a = p.parse_args()
    for name, (folder, _) in (SETS | EMBEDDED).items():
        stored_rates(name, Path(folder) if name in EMBEDDED else a.data / folder, a.seed, a.out)


if __name__ == "__main__":
    main()
