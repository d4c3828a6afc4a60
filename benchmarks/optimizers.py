"""How soon Muon and Adam train the default network to the same quality

`python -m benchmarks.optimizers --data DIR --runs FOLDER` trains it on Perov-5 for some numbers of epochs,
each a whole run of the learning rate, with either optimiser, and reconstructs 512 validation crystals.
It writes results/optimizers.json after each model; a finished model is not trained again, an interrupted one
goes on. Times are of the processor, so that other work at the same time counts little."""

import argparse
import json
import time
from pathlib import Path

from benchmarks.labs import mcnemar
from benchmarks.speed import circumstances, go_on
from benchmarks.studies import rebuilt, some, train_once
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write

RUNS = (("muon", 3), ("adam", 3), ("adam", 4))  # optimiser, epochs
KEPT = ("strict_rate", "match_rate", "rms", "composition_exact")


def one(folder: Path, kind: str, epochs: int, sets: dict, seed: int) -> dict:
    "Train, or take what is there, and reconstruct the validation crystals."
    start = time.process_time()
    changes = {"training.optimizer": kind, "latent.prior_steps": 0}  # nothing new is drawn here
    train_once(sets, folder, "gemnet", None, epochs, seed, **changes)
    took, model = time.process_time() - start, load_model(folder)
    made = model.reconstruct(sets["val"], seed=seed, progress=False).crystals
    metrics, each = rebuilt(made, sets["val"], KEPT, workers=1, progress=False)
    training = json.loads((folder / "run.json").read_text())
    facts = dict(
        optimizer=kind, epochs=epochs, processor_seconds=round(took), val_loss=model.card["val_loss"]
    )
    return facts | dict(metrics=metrics, **each, training=training, made_on=circumstances())


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.optimizers", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of perov_5 with its splits")
    p.add_argument("--runs", type=Path, default=Path("runs/optimizers"))
    p.add_argument("--out", type=Path, default=Path("results/optimizers.json"))
    p.add_argument("--num", type=int, default=512, help="crystals of the validation set")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    sets = {k: load_crystals(a.data, split=k, progress=False) for k in ("train", "val")}
    sets["val"] = some(sets["val"], a.num, a.seed)
    plan = dict(name="optimizers", data=a.data.name, preset="gemnet", num_val=a.num, seed=a.seed)
    result = go_on(a.out, plan, models={})
    for kind, epochs in RUNS:
        name = f"{kind}, {epochs} epochs"
        if name not in result["models"]:
            result["models"][name] = one(a.runs / f"{kind}-{epochs}", kind, epochs, sets, a.seed)
            atomic_write(a.out, json.dumps(result, indent=1) + "\n")
        m = result["models"][name]
        print(
            name, m["processor_seconds"], "s", m["val_loss"], m["metrics"]["strict_rate"]["value"], flush=True
        )
    bits = {k: m["strict"] for k, m in result["models"].items()}
    pairs = [("muon, 3 epochs", "adam, 3 epochs"), ("muon, 3 epochs", "adam, 4 epochs")]
    result["tests"] = {f"{x} - {y}": mcnemar(bits[x], bits[y]) for x, y in pairs}
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
