"""How stable are generated crystals, known ones, and what two methods without a network make?"""

import argparse
import json
import random
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write
from dpcdvae.energy.screening import screen
from dpcdvae.energy.stability import ceiling, stability, stability_text
from dpcdvae.evaluation.baselines import exchange_ions
from dpcdvae.evaluation.entries import Entry, structure_of
from dpcdvae.evaluation.matching import random_placement
from dpcdvae.generation.jobs import write_crystals

SHORT = dict(temperature="t", num_candidates="best", best_of="of")  # of settings in the names of arms


def generated(model: str, num: int, seed: int, folder: Path, sampling: dict | None = None) -> None:
    "Generate crystals with a pretrained model; what is there already is not made again."
    from dpcdvae.cli.commands import load_model

    load_model(model).generate(num, seed=seed, out=folder, progress=False, **(sampling or {}))


def substituted(model: str, num: int, seed: int, folder: Path, data: Path, best_of: int) -> None:
    "Exchange ions of the training crystals, of which a pretrained model chooses."
    from dpcdvae.cli.commands import load_model
    from dpcdvae.generation.substitute import substitute

    substitute(load_model(model), data / "train.csv.gz", num, folder, best_of, seed)


def one_ion_each(structures: list, seed: int = 0) -> list:  # pymatgen Structures, None where there is none
    "Exchange one ion of each prototype, each with a draw of its own."
    draws = (random.Random(f"{seed},{i}") for i in range(len(structures)))
    return [exchange_ions(s, rng, ions="one") for s, rng in zip(structures, draws)]


def crystals_of(source: str, data: Path, num: int, seed: int) -> list:  # entries
    "Make the crystals of a source that needs no network."
    part = "train" if source == "exchange" else "test"
    drawn = ceiling(data / f"{part}.csv.gz", 2 * num if source == "exchange" else num, seed)
    if source == "test":
        return drawn
    structures = [structure_of(e) for e in drawn]
    made = one_ion_each(structures, seed) if source == "exchange" else random_placement(structures, seed)
    named = [(e.material_id, s) for e, s in zip(drawn, made) if s is not None][:num]
    return [Entry(i, f"{source}-{name}", s) for i, (name, s) in enumerate(named)]


def _write(entries: list, folder: Path) -> None:
    "Write crystals as a generation would."
    if (folder / "crystals.csv").exists():
        return
    write_crystals(folder, ((e.material_id, e.source) for e in entries))


def arm_of(source: str, sampling: dict, pool: int | None, exchange: bool = False) -> str:
    "Name an arm of the comparison."
    parts = [source, "substitute" if exchange else sampling.get("symmetry")]
    parts += [f"{short}{sampling[name]:g}" for name, short in SHORT.items() if name in sampling]
    parts += ["new"] * ("reference" in sampling)
    return "-".join(filter(None, parts)) + "-screened" * (pool is not None)


def stability_study(
    source: str,  # a pretrained model, or test, exchange, random
    data: Path,  # folder of train.csv.gz and test.csv.gz
    hull: Path,  # see `read_hull`
    runs: Path,  # where crystals and journals are kept
    out: Path,  # results/stability-NAME.json
    num: int = 100,
    seed: int = 0,
    sampling: dict | None = None,  # of generated crystals: steps, symmetry, temperature, best_of, reference
    workers: int | None = None,
    pool: int | None = None,  # crystals that `screen` chooses from; None: none is chosen
    exchange: bool = False,  # of a model: let it choose among exchanges of an ion, not draw
) -> dict:
    "Make crystals, relax and evaluate them; call it again to go on where it stopped."
    sampling, chosen = sampling or {}, None
    arm = arm_of(source, sampling, pool, exchange)
    folder = Path(runs) / f"{arm}-{num}-{seed}"
    made = folder if pool is None else Path(runs) / f"{arm}-{pool}-{seed}-pool"
    if source in ("test", "exchange", "random"):
        _write(crystals_of(source, Path(data), pool or num, seed), made)
    elif exchange:
        substituted(source, num, seed, made, Path(data), sampling.get("best_of", 1))
    else:
        generated(source, pool or num, seed, made, sampling)
    if pool is not None:
        known = Path(data) / "train.csv.gz"
        chosen = screen(made, num, folder, hull, known, workers=workers, progress=False)[1]
    rows, summary = stability(
        folder, hull, folder, Path(data) / "train.csv.gz", workers=workers, progress=False
    )
    summary |= dict(screening=chosen) if chosen else {}
    summary |= dict(
        kind="stability",
        source=arm,
        sampling={k: Path(v).name if k == "reference" else v for k, v in sampling.items()},
        num=num,
        seed=seed,
        data=Path(data).name,
        reference=f"{Path(data).name} (train)",
    )
    summary |= dict(
        made_on=circumstances(),
        above_hull=sorted(round(r["energy_above_hull"], 4) for r in rows if "energy_above_hull" in r),
    )
    atomic_write(Path(out), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def main(argv=None) -> None:
    "Evaluate the stability of one source of crystals."
    p = argparse.ArgumentParser("python -m benchmarks.stability", description=main.__doc__)
    p.add_argument("source", help="a pretrained model, or test, exchange, random")
    p.add_argument("--data", type=Path, default=Path("../shared/data/mp_20"))
    p.add_argument("--hull", type=Path, default=Path("../shared/data/mp_hull"))
    p.add_argument("--runs", type=Path, default=Path("runs/stability"))
    p.add_argument("--out", type=Path)
    p.add_argument("--num", type=int, default=100)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--steps", type=int, help="function evaluations a crystal (NFE)")
    p.add_argument("--temperature", type=float, help="of formulas, groups, positions and latent vectors")
    p.add_argument("--candidates", type=int, dest="num_candidates", help="keep the best of so many")
    p.add_argument("--best-of", type=int, help="draws of each crystal, the one denoised best is kept")
    p.add_argument("--new", action="store_true", help="no formula of the training set is drawn")
    p.add_argument("--substitute", action="store_true", help="the model chooses among exchanges of an ion")
    p.add_argument("--symmetry", choices=["draw"], help="a space group for each generated crystal")
    p.add_argument("--workers", type=int)
    p.add_argument("--pool", type=int, help="generate so many and keep the --num lowest above the hull")
    a = p.parse_args(argv)
    names = ("steps", "symmetry", "temperature", "num_candidates", "best_of")
    sampling = {k: v for k in names if (v := getattr(a, k)) is not None}
    sampling |= dict(reference=f"{a.data}/train.csv.gz") if a.new else {}
    out = a.out or Path(f"results/stability-{arm_of(a.source, sampling, a.pool, a.substitute)}.json")
    where = (a.source, a.data, a.hull, a.runs, out)
    found = stability_study(*where, a.num, a.seed, sampling, a.workers, a.pool, a.substitute)
    print(stability_text(found))


if __name__ == "__main__":
    main()
