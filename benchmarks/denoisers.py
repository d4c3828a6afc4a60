"""GemNet-T and the transformer as denoisers, after the same time of training on the same crystals

`python -m benchmarks.denoisers --data DIR` (a folder with splits, as perov_5 or mp_20) trains the presets
`gemnet` and `transformer`, which differ in the denoiser and its cutoff (7 and 6 Å, the encoder's, too), for
the same time on one thread, reconstructs the same 512 validation crystals with each, one try, and measures
the loss of the coordinates at twelve times; and it reconstructs them once more with 20 evaluations, most of
them where a crystal takes shape (spacing `critical`). It writes results/denoisers.json after each model; a
finished model is not trained again, an interrupted one goes on. `--times critical` draws most training times
there, too; `--model NAME` adds a pretrained model."""

import argparse
import json
import time
from pathlib import Path

import torch

from benchmarks.labs import mcnemar
from benchmarks.speed import circumstances, go_on, rounded
from benchmarks.studies import chance, clock, rebuilt, some, train_once
from benchmarks.tables import by_chance, came_back, paired, table, with_interval
from dpcdvae.cli.commands import load_model
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import atomic_write

KEPT = ("strict_rate", "match_rate", "match_rate_anonymous", "rms", "composition_exact")
TIMES = (1, 10, 50, 100, 200, 300, 400, 500, 600, 700, 800, 950)
SHORT = dict(steps=20, spacing="critical")
NETWORKS = {"gemnet": "GemNet-T", "transformer": "transformer"}  # preset -> network


@torch.no_grad()
def losses_by_time(model, crystals: CrystalBatch, seed: int = 0) -> dict[int, float]:
    "Measure the loss of the coordinates at some times, with the same noise for every model."
    found = {}
    for t in TIMES:
        generator = torch.Generator().manual_seed(seed + t)
        times = torch.full((len(crystals),), t)
        found[t] = model.losses(crystals, generator, times).coord.mean().item()
    return found


def reconstructed(model, val: CrystalBatch, seed: int, **how) -> dict:
    "Reconstruct the validation crystals with one thread, and evaluate."
    before = time.process_time()
    made = model.reconstruct(val, seed=seed, progress=False, **how).crystals
    took = time.process_time() - before
    metrics, each = rebuilt(made, val, KEPT, workers=1, progress=False)
    facts = dict(
        steps=how.get("steps", model.config.sampling.steps), milliseconds_a_crystal=1000 * took / len(val)
    )
    return rounded(facts | dict(metrics=metrics)) | each


def measured(model, val: CrystalBatch, seed: int) -> dict:
    "Reconstruct with the model's own evaluations and with few, and measure the loss by time."
    model.eval()
    facts = dict(
        parameters=sum(p.numel() for p in model.denoiser.parameters()),
        coord_loss=rounded(losses_by_time(model, val, seed)),
    )
    facts |= reconstructed(model, val, seed) | dict(short=reconstructed(model, val, seed, **SHORT))
    return facts | dict(made_on=circumstances())


def one(
    folder: Path, data: Path, preset: str, minutes: int, times: str, val: CrystalBatch, seed: int
) -> dict:
    "Train, or take what is there, and measure."
    changes = {"latent.prior_steps": 0, "training.times": times}  # no prior: nothing is drawn here
    train_once(data, folder, preset, clock(minutes), -1, seed, **changes)
    model = load_model(folder)
    facts = dict(minutes=minutes, epoch=model.card["epoch"], val_loss=model.card["val_loss"])
    training = json.loads((folder / "run.json").read_text()) | dict(data=data.name)
    return facts | measured(model, val, seed) | dict(training=training)


def denoisers_table(r: dict) -> str:  # markdown
    "Show what each denoiser reached."
    head = [
        "data",
        "denoiser",
        "minutes",
        "val loss",
        "strict",
        "match",
        "RMS",
        "evaluations",
        "ms a crystal",
        "strict, 20 critical",
        "ms",
    ]
    rows = [
        [
            f"{m['data'].replace('_', '-')} ({m['metrics']['strict_rate']['total']})",
            name.split(", ")[1] + (", critical times" if "critical" in name else ""),
            m.get("minutes", ""),
            f"{m['val_loss']:.3f}",
            *came_back(m["metrics"]),
            m["steps"],
            f"{m['milliseconds_a_crystal']:.0f}",
            with_interval(m["short"]["metrics"]["strict_rate"]),
            f"{m['short']['milliseconds_a_crystal']:.0f}",
        ]
        for name, m in r["models"].items()
    ]
    tests = "\n".join(f"- {paired(pair, t)}" for pair, t in r["tests"].items())
    return (
        f"{table(head, rows)}\n\nValidation crystals, their number in brackets, one try, seed {r['seed']}; "
        "one thread of a shared machine, minutes of the clock for training and milliseconds of the processor "
        f"for sampling. {by_chance(r['chance'].items())} Pretrained models were trained on other splits. "
        f"Strict rates, McNemar's test:\n\n{tests}"
    )


def compare_pairs(models: dict) -> dict:
    "Test every two models of one set on the same crystals: McNemar."
    names, found = list(models), {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if models[a]["data"] == models[b]["data"]:
                found[f"{b} - {a.split(', ', 1)[1]}"] = mcnemar(models[b]["strict"], models[a]["strict"])
    for name, m in models.items():
        found[f"{name}: 20 critical evaluations - {m['steps']} evaluations"] = mcnemar(
            m["short"]["strict"], m["strict"]
        )
    return found


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.denoisers", description=__doc__)
    p.add_argument("--data", type=Path, required=True, help="folder of a set with its splits")
    p.add_argument("--minutes", type=int, default=30, help="of training, each")
    p.add_argument("--times", choices=("uniform", "critical"), default="uniform", help="of training")
    p.add_argument("--model", help="a pretrained model, too")
    p.add_argument("--presets", nargs="*", choices=NETWORKS, default=list(NETWORKS))
    p.add_argument("--runs", type=Path, default=Path("runs/denoisers"))
    p.add_argument("--out", type=Path, default=Path("results/denoisers.json"))
    p.add_argument("--num", type=int, default=512, help="crystals of the validation set")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.set_num_threads(1)
    val = some(load_crystals(a.data, split="val", progress=False), a.num, a.seed)
    result = go_on(a.out, dict(name="denoisers", num_val=a.num, seed=a.seed), models={}, tests={})
    levels = result.setdefault("chance", {})
    if a.data.name not in levels:
        levels[a.data.name] = chance(val)
        atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    how = "" if a.times == "uniform" else f", {a.times} times"
    jobs = {f"{a.data.name}, {NETWORKS[p]}, {a.minutes} minutes{how}": p for p in a.presets}
    for name in [*jobs, *([f"{a.data.name}, pretrained {a.model}"] if a.model else [])]:
        if name not in result["models"]:
            if preset := jobs.get(name):
                run = a.runs / f"{a.data.name}-{preset}-{a.minutes}{'-critical' * bool(how)}"
                found = one(run, a.data, preset, a.minutes, a.times, val, a.seed)
            else:
                model = load_model(a.model)
                found = dict(val_loss=model.card["val_loss"]) | measured(model, val, a.seed)
            result["models"][name] = dict(data=a.data.name) | found
            result["tests"] = compare_pairs(result["models"])
            atomic_write(a.out, json.dumps(result, indent=1) + "\n")
        print(name, result["models"][name]["metrics"]["strict_rate"]["value"], flush=True)


if __name__ == "__main__":
    main()
