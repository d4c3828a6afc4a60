"""What a few crystals of another family do to a pretrained model

`python -m benchmarks.finetuning --family DIR --others DIR --run FOLDER` trains a pretrained model further on
60 crystals. Parent and child reconstruct, one candidate each, held-out crystals of that family and of the
parent's set. It writes results/finetuning-MODEL.json; a finished training is not done again."""

import argparse
import json
from pathlib import Path

from benchmarks.labs import mcnemar
from benchmarks.speed import circumstances
from benchmarks.studies import rebuilt, some
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.finetuning import finetune
from dpcdvae.model.training import is_finished

KEPT = ("strict_rate", "match_rate", "rms", "composition_exact")


def families(family: Path, others: Path, num: int, num_val: int, num_test: int, seed: int) -> dict:
    "Draw a few crystals of a family to train on, others of it and crystals of the parent's set for tests."
    read = lambda folder, split: load_crystals(folder, split=split, progress=False)
    return dict(
        train=some(read(family, "train"), num, seed),
        val=some(read(family, "val"), num_val, seed),
        family=some(read(family, "test"), num_test, seed),
        others=some(read(others, "test"), num_test, seed),
    )


def outcome(model: DPCDVAE, crystals: CrystalBatch, seed: int) -> dict:
    "Reconstruct crystals: metrics, and which of them match."
    made = model.reconstruct(crystals, seed=seed, progress=False).crystals
    metrics, each = rebuilt(made, crystals, KEPT, workers=1, progress=False)
    return dict(metrics=metrics, **each)


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.finetuning", description=__doc__)
    p.add_argument("--family", type=Path, required=True, help="folder of the new crystals")
    p.add_argument("--others", type=Path, required=True, help="folder of the parent's crystals")
    p.add_argument("--run", type=Path, required=True, help="folder of the training")
    p.add_argument("--model", default="mp-20")
    p.add_argument("--num", type=int, default=60, help="crystals to train on")
    p.add_argument("--parts", default="denoiser", choices=["denoiser", "all"])
    p.add_argument("--num-test", type=int, default=96, help="of the family, and of others")
    p.add_argument("--epochs", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    sets = families(a.family, a.others, a.num, 32, a.num_test, a.seed)
    if not is_finished(a.run):
        resume = (a.run / "checkpoint.safetensors").exists()
        finetune(a.model, sets, a.run, max_epochs=a.epochs, seed=a.seed, resume=resume, parts=a.parts)
    models = dict(parent=DPCDVAE.from_pretrained(a.model), child=DPCDVAE.from_pretrained(a.run))
    result = dict(
        name="finetuning",
        model=a.model,
        data=dict(family=a.family.name, others=a.others.name),
        parts=a.parts,
        seed=a.seed,
        num={k: len(v) for k, v in sets.items()},
        training=json.loads((a.run / "run.json").read_text()),
    )
    for part in ("family", "others"):
        found = {k: outcome(m, sets[part], a.seed) for k, m in models.items()}
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
