"""What a few crystals of one family do to a pretrained model

`python -m benchmarks.finetuning --data DIR --run FOLDER` trains a pretrained model further on 60 crystals
that hold an element. Parent and child reconstruct, one candidate each, crystals of that family which neither
saw, and others. It writes results/finetuning-MODEL.json; a finished training is not done again."""

import argparse
import json
from pathlib import Path

import torch

from benchmarks.labs import mcnemar
from benchmarks.speed import circumstances
from benchmarks.studies import STRICT, bits, some
from dpcdvae.crystal.batch import SYMBOLS, CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.reconstruction import evaluate_reconstruction
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.training import finetune, is_finished

KEPT = ("strict_rate", "match_rate", "rms", "composition_exact")


def family(crystals: CrystalBatch, symbol: str, num: int, num_val: int, num_test: int, seed: int) -> dict:
    "Divide crystals into those that hold an element, for training and tests, and others, for tests."
    has = torch.zeros(len(crystals), dtype=torch.bool)
    has[crystals.batch[crystals.atomic_numbers == SYMBOLS.index(symbol)]] = True
    inside = crystals[has]
    order = torch.randperm(len(inside), generator=torch.Generator().manual_seed(seed))
    train, val, test = order.split([num, num_val, len(inside) - num - num_val])
    parts = dict(train=inside[train], val=inside[val], family=inside[test[:num_test].sort().values])
    return parts | dict(others=some(crystals[~has], num_test, seed))


def rebuilt(model: DPCDVAE, crystals: CrystalBatch, seed: int) -> dict:
    "Reconstruct crystals: metrics, and which of them match."
    made = model.reconstruct(crystals, seed=seed, progress=False).crystals
    rows, summary = evaluate_reconstruction(made, crystals, workers=1, progress=False)
    metrics = {k: summary["metrics"][k] for k in KEPT}
    return dict(metrics=metrics, matched=bits(rows, "matched"), strict=bits(rows, STRICT))


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.finetuning", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of the splits; its test split is divided")
    p.add_argument("--run", type=Path, required=True, help="folder of the training")
    p.add_argument("--model", default="mp-20")
    p.add_argument("--element", default="Te")
    p.add_argument("--num-test", type=int, default=96, help="of the family, and of others")
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    sets = family(load_crystals(a.data, split="test", progress=False), a.element, 60, 12, a.num_test, a.seed)
    if not is_finished(a.run):
        resume = (a.run / "checkpoint.safetensors").exists()
        finetune(a.model, sets, a.run, max_epochs=a.epochs, seed=a.seed, resume=resume)
    models = dict(parent=DPCDVAE.from_pretrained(a.model), child=DPCDVAE.from_pretrained(a.run))
    result = dict(
        name="finetuning",
        model=a.model,
        data=a.data.name,
        element=a.element,
        seed=a.seed,
        num={k: len(v) for k, v in sets.items()},
        training=json.loads((a.run / "run.json").read_text()),
    )
    for part in ("family", "others"):
        found = {k: rebuilt(m, sets[part], a.seed) for k, m in models.items()}
        tests = {k: mcnemar(found["child"][k], found["parent"][k]) for k in ("strict", "matched")}
        result[part] = found | dict(child_against_parent=tests)
        print(
            part,
            {k: found[k]["metrics"]["strict_rate"]["value"] for k in models},
            tests["strict"],
            flush=True,
        )
    result["made_on"] = circumstances()
    atomic_write(Path(f"results/finetuning-{a.model}.json"), json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
