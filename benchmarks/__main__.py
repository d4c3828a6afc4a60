"""The commands behind every number that this project states"""

import argparse
import json
import os
import warnings
from pathlib import Path

import torch

from benchmarks.anatomy import anatomy, ladder_table
from benchmarks.cards import pack_or_update
from benchmarks.energies import SMALL_GROUND, ground, ground_table, regained, trust, trust_table
from benchmarks.gpu import gpu_table, measure_card
from benchmarks.house import house, house_table
from benchmarks.page import results_page
from benchmarks.player import player_bench, player_table
from benchmarks.speed import BENCH_DATA, bench
from benchmarks.speed_tables import bench_table
from benchmarks.steering import steering, steering_table
from benchmarks.studies import (
    COUNTS,
    PAPERS,
    READINGS,
    calls,
    calls_table,
    compare,
    compare_table,
    generation,
    priors,
    study,
    switches,
)
from dpcdvae.data.files import atomic_write
from dpcdvae.diffusion.samplers import SAMPLERS, SPACINGS


def main(argv=None):
    """Measure speed, make a study, turn the switches, compare the paper's models, priors, samplers,
    energies, steer, take errors apart, or measure the film player."""
    p = argparse.ArgumentParser("python -m benchmarks")
    p.add_argument(
        "what",
        nargs="?",
        default="speed",
        choices=[
            "speed",
            "study",
            "switches",
            "presets",
            "priors",
            "generation",
            "calls",
            "ground",
            "regained",
            "trust",
            "steering",
            "anatomy",
            "gpu",
            "player",
            "page",
            "pack",
            "house",
        ],
    )
    p.add_argument("--data", nargs="+")
    p.add_argument("--out", type=Path)
    p.add_argument("--preset", default="transformer")
    p.add_argument("--run", type=Path)
    p.add_argument("--max-time", help="of a training; ground: 00:02:00, else 01:00:00")
    p.add_argument("--num", type=int, help="crystals; ground: 24, trust: 7 of each kind, else 512")
    p.add_argument("--num-new", type=int, default=64)
    p.add_argument("--property", help="generation: column of the data whose distribution to compare")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int)
    p.add_argument("--steps", type=int)
    p.add_argument("--only-free", action="store_true")
    p.add_argument(
        "--only-new", action="store_true", help="keep the reconstructions of the results file, generate again"
    )
    p.add_argument("--calculator", help="ground, trust, steering: an ASE calculator")
    p.add_argument("--max-steps", type=int, help="of a relaxation; ground: 300, steering: 0")
    p.add_argument("--max-atoms", type=int, default=8, help="trust: of a crystal")
    p.add_argument("--workers", type=int)
    p.add_argument("--samplers", nargs="+", default=SAMPLERS, help="calls: which")
    p.add_argument("--spacings", nargs="+", default=("uniform",), choices=SPACINGS, help="calls: which")
    p.add_argument("--counts", nargs="+", type=int, default=COUNTS, help="calls: how many")
    p.add_argument("--name", help="pack: of the model")
    p.add_argument("--results", nargs="*", default=[], help="pack: files of anatomy and generation")
    a = p.parse_args(argv)
    try:
        measure(p, a)
    except (ValueError, OSError) as e:
        if os.environ.get("DPCDVAE_DEBUG"):
            raise
        p.exit(2, f"benchmarks {a.what}: {e}\n")


def write_json(path: Path, result: dict) -> dict:  # the same
    "Write a file of results."
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(result, indent=1) + "\n")
    return result


def measure(p: argparse.ArgumentParser, a) -> None:
    "Do what the command says."
    if a.what == "switches" and a.max_time:
        p.error("switches are compared after the same number of epochs, not after a time")
    a.data = a.data or (
        list(BENCH_DATA)
        if a.what == "speed"
        else []
        if a.what == "trust"
        else ["carbon_mini" if a.what == "ground" else "perov_mini"]
    )
    packed = a.out
    kinds = dict(speed="bench", ground=f"ground-{Path(a.data[0]).name}" if a.data else "ground")
    a.out = a.out or Path("results") / f"{kinds.get(a.what, a.what)}.json"
    for k, v in (
        SMALL_GROUND
        if a.what == "ground"
        else dict(num=7 if a.what == "trust" else 150 if a.what == "switches" else 512, max_time="01:00:00")
    ).items():
        setattr(a, k, v if getattr(a, k) is None else getattr(a, k))
    if a.threads:
        torch.set_num_threads(a.threads)
    warnings.filterwarnings("ignore", category=UserWarning, module="pymatgen|lightning|torch|matminer")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")  # a crystal without symmetry is no news
    if a.what == "pack":
        folder = pack_or_update(a.run, a.name or p.error("pack needs --name"), a.results, packed)
        size = (folder / "model.safetensors").stat().st_size / 1e6
        return print(f"{folder}: {size:.1f} MB; its card is {folder / 'README.md'}")
    if a.what == "page":
        return print(atomic_write(Path("results/README.md"), results_page() + "\n"))
    if a.what == "house":
        return print(house_table(write_json(a.out, house())))
    if a.what == "trust":
        return print(
            trust_table(
                trust(
                    a.data, a.out, a.num, a.max_atoms, a.calculator or "gpaw", a.seed, workers=a.workers or 1
                )
            )
        )
    if a.what == "player":
        return print(
            player_table(
                json.loads(atomic_write(a.out, json.dumps(player_bench(a.seed), indent=1) + "\n").read_text())
            )
        )
    if a.what == "presets":
        return print(
            compare_table(
                compare(
                    a.data,
                    PAPERS,
                    a.run or Path("runs/results/presets"),
                    a.out,
                    (a.seed,),
                    num=a.num,
                    max_time=a.max_time,
                    steps=a.steps,
                )
            )
        )
    if len(a.data) > 1 and a.what != "speed":
        p.error("only speed, presets and trust take more than one data set")
    if a.what != "speed":
        a.data = a.data[0]
    if a.what == "gpu":
        return print(
            gpu_table(measure_card(a.data, a.out, a.preset, max_time=a.max_time, num=a.num, seed=a.seed))
        )
    if a.what == "speed":
        result = bench(a.data, a.preset)
    elif a.what == "priors":
        result = priors(a.data, a.run or p.error("priors needs --run, a trained model"), a.num_new, a.seed)
    elif a.what == "generation":
        result = generation(
            a.data, a.run or p.error("generation needs --run, a trained model"), a.num_new, a.seed, a.property
        )
    elif a.what == "ground":
        return print(
            ground_table(
                ground(
                    a.data,
                    a.run or Path("runs/results/ground"),
                    a.out,
                    num=a.num,
                    max_time=a.max_time,
                    steps=a.steps,
                    seed=a.seed,
                    calculator=a.calculator or "chgnet",
                    max_steps=300 if a.max_steps is None else a.max_steps,
                    workers=a.workers,
                )
            )
        )
    elif a.what == "regained":
        return print(
            regained(
                a.data,
                a.run or p.error("regained needs --run, a trained model"),
                a.out,
                a.num,
                a.steps,
                a.seed,
                a.calculator or "chgnet",
                workers=a.workers,
            )["metrics"]
        )
    elif a.what == "calls":
        return print(
            calls_table(
                calls(
                    a.data,
                    a.run or p.error("calls needs --run, a trained model"),
                    a.out,
                    a.samplers,
                    a.counts,
                    a.spacings,
                    num=a.num,
                    seed=a.seed,
                )
            )
        )
    elif a.what == "anatomy":
        return print(
            ladder_table(
                anatomy(
                    a.data,
                    a.run or p.error("anatomy needs --run, a trained model"),
                    a.out,
                    a.num,
                    steps=a.steps,
                    workers=a.workers or 1,
                )
            )
        )
    elif a.what == "steering":
        return print(
            steering_table(
                steering(
                    a.data,
                    a.run or p.error("steering needs --run, a trained model"),
                    a.out,
                    a.property or p.error("steering needs --property"),
                    a.num,
                    seed=a.seed,
                    calculator=a.calculator,
                    workers=a.workers,
                    max_steps=a.max_steps or 0,
                )
            )
        )
    elif a.what == "switches":
        result = switches(
            a.data, a.run or Path("runs/results/switches"), a.out, num=a.num, seeds=range(a.seed, a.seed + 3)
        )
    else:
        result = study(
            a.data,
            a.run or Path("runs/results") / a.out.stem,
            a.out.stem,
            a.preset,
            a.max_time,
            a.num,
            a.num_new,
            a.seed,
            readings={} if a.only_new else {"free, mean": dict()} if a.only_free else READINGS,
            steps=a.steps,
        )
    if a.what == "study" and a.only_new:
        result = json.loads(a.out.read_text()) | dict(
            generations=result["generations"],
            generation_made_on=dict(result["made_on"], num=a.num_new, steps=a.steps),
        )
    a.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(a.out, json.dumps(result, indent=1) + "\n")
    if a.what == "speed":
        print(bench_table(result))
    print(a.out)


if __name__ == "__main__":
    main()
