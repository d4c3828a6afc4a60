"""What the weight of the KL divergence does to a model

`python -m benchmarks.kl` trains small models that differ in this weight alone, and looks at how much of the
latent vector is used, how crystals come back, and how new ones look under two priors. It writes
results/labs/kl.json after each model and goes on where it stopped."""

import argparse
import json
from pathlib import Path

import torch

from benchmarks.speed import circumstances, go_on
from benchmarks.studies import held_out, rebuilt, train_once
from dpcdvae.cli.commands import load_model
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write
from dpcdvae.evaluation.generation import evaluate_generation
from dpcdvae.model.prior import StandardPrior

WEIGHTS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
ACTIVE = 0.01  # variance of a dimension's mean over crystals, above which it carries something
REBUILT = ("match_rate", "strict_rate", "rms", "composition_exact", "num_atoms_exact")
NEW = ("valid", "composition_valid", "structure_valid", "unique", "wdist_density", "wdist_num_elements")


@torch.no_grad()
def latent_use(model, crystals) -> dict:
    "Measure the KL divergence (nats a crystal) and the active dimensions: Burda 2016, section 5.2."
    mean, log_var = model.encode(crystals)
    kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var)
    active = int((mean.var(0) > ACTIVE).sum())
    return dict(
        nats=float(kl.sum(-1).mean()), active=active, dim=mean.shape[1], norm=float(mean.norm(dim=-1).mean())
    )


def new_ones(model, sets: tuple, num: int, seed: int) -> dict:
    "Generate crystals and evaluate them."
    train, test = sets
    made = model.generate(num, seed=seed, progress=False).crystals
    _, summary = evaluate_generation(made, reference=train, test=test, workers=1, progress=False)
    return {k: summary["metrics"][k] for k in NEW if k in summary["metrics"]}


def one(run: Path, weight: float, seed: int, a) -> dict:
    "Train, or take what is there, and measure."
    changes = {"losses.kl": weight, "latent.prior": "fitted"}
    train_once("perov_mini", run, "tiny", None, a.epochs, seed, **changes)
    model, test = load_model(run), held_out("perov_mini", a.num)
    train = load_crystals("perov_mini", split="train", progress=False)
    found = dict(weight=weight, seed=seed, training=json.loads((run / "run.json").read_text()))
    found |= dict(latent=latent_use(model, test))
    for z in ("mean", "sampled"):
        made = model.reconstruct(test, z=z, seed=seed, progress=False).crystals
        metrics, each = rebuilt(made, test, REBUILT, workers=1, progress=False)
        found[f"z {z}"] = metrics | each
    found["new, fitted prior"] = new_ones(model, (train, test), a.num_new, seed)
    model.prior = StandardPrior(model.config.latent.dim)
    found["new, N(0, 1)"] = new_ones(model, (train, test), a.num_new, seed)
    return found | dict(made_on=circumstances())


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.kl", description=__doc__)
    p.add_argument("--runs", type=Path, default=Path("runs/labs/kl"))
    p.add_argument("--out", type=Path, default=Path("results/labs/kl.json"))
    p.add_argument("--epochs", type=int, default=32)
    p.add_argument("--num", type=int, default=150)
    p.add_argument("--num-new", type=int, default=150)
    a = p.parse_args()
    plan = dict(
        name="kl", data="perov_mini", preset="tiny", epochs=a.epochs, num_test=a.num, num_new=a.num_new
    )
    result = go_on(a.out, plan, models={})
    for seed in (0, 1, 2):
        for weight in WEIGHTS:
            name = f"{weight:g}, seed {seed}"
            if name not in result["models"]:
                result["models"][name] = one(
                    a.runs / name.replace(", ", "-").replace(" ", ""), weight, seed, a
                )
                atomic_write(a.out, json.dumps(result, indent=1) + "\n")
                m = result["models"][name]
                print(name, m["latent"], m["z mean"]["match_rate"]["value"], flush=True)


if __name__ == "__main__":
    main()
