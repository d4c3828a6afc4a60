"""Jobs that are killed: small ones of every kind, what they read, and what they leave"""

import csv
import dataclasses
import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

TIMES = ("seconds", "crystals_per_second", "date", "started", "trained")  # no two runs share them
SMALL = {
    "encoder.num_blocks": 1,
    "latent.dim": 48,
    "latent.prior_steps": 5,
    "diffusion.num_steps": 99,
    "denoiser.num_blocks": 1,
    "denoiser.edge_dim": 16,
    "denoiser.atom_dim": 16,
    "denoiser.trip_dim": 8,
    "denoiser.num_radial": 16,
    "training.batch_size": 4,
}


def load_libraries() -> None:
    "Import what jobs need, once, before they are forked."
    import ase.calculators.emt  # noqa: F401
    import lightning  # noqa: F401
    import matminer.featurizers.composition  # noqa: F401
    import pymatgen.analysis.structure_matcher  # noqa: F401
    import torch
    import torch.utils.tensorboard  # noqa: F401

    import dpcdvae.energy.relax  # noqa: F401
    import dpcdvae.evaluation.evaluate  # noqa: F401
    import dpcdvae.generation.optimize  # noqa: F401
    import dpcdvae.model.training  # noqa: F401

    torch.set_num_threads(1)


# ---- inputs ----


def metals(num: int, seed: int) -> list:
    "Make small crystals of the metals that EMT knows."
    import numpy as np

    from benchmarks.hostile import crystal

    rng = np.random.default_rng(seed)
    return [crystal(rng) for _ in range(num)]


def make_inputs(folder: Path) -> None:
    "Write a model, crystals with a property, a table of CIFs and a generated folder."
    import torch

    from dpcdvae.crystal.batch import CrystalBatch
    from dpcdvae.data.cache import save_crystals
    from dpcdvae.generation.jobs import write_crystals
    from dpcdvae.model.config import get_config
    from dpcdvae.model.dpcdvae import DPCDVAE

    for name, num in dict(train=24, val=4, test=4).items():
        crystals = CrystalBatch.from_structures(metals(num, len(name) + num))
        names = tuple(f"{name}-{i}" for i in range(num))
        energy = torch.linspace(-1, 1, num, dtype=torch.double)
        crystals = crystals.replace(ids=names, properties=dict(energy=energy))
        save_crystals(crystals, folder / "data" / f"{name}.safetensors")
    for name, num in dict(made=8, many=16, more=48).items():
        write_crystals(folder / name, ((f"m-{i}", s) for i, s in enumerate(metals(num, 3))))
    torch.manual_seed(0)
    model = DPCDVAE(get_config("tiny", **SMALL | {"latent.prior": "standard"})).eval()
    model.prepare(read(folder, "train"))
    model.save(folder / "model")


def read(folder: Path, split: str):
    "Read a split of the inputs."
    from dpcdvae.data.cache import open_crystals

    return open_crystals(folder / "data" / f"{split}.safetensors")[0]


def model_of(folder: Path):
    "Load the model of the inputs."
    from dpcdvae.model.dpcdvae import DPCDVAE

    return DPCDVAE.from_pretrained(folder / "model")


# ---- jobs: each takes the inputs' folder, its own folder, which process this is, and of how many ----


def train_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Train for two epochs, with a checkpoint after every step."
    import functools

    from dpcdvae.model import training

    often = functools.partial(training.CheckpointCallback, every=0.0)
    training.CheckpointCallback, often.keywords["every"] = often, 0.0
    training.PATIENCE = timedelta(seconds=30)  # for a process that was killed before it met the other
    sets = dict(train=read(given, "train"), val=read(given, "val"))
    how = dict(max_epochs=2, seed=3, bf16=False, quiet=True, resume=True, devices=many)
    training.train(sets, out, "tiny", **how, **SMALL)


def generate_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Generate crystals in blocks of two, and record some."
    model_of(given).generate(24, out=out, films=3, steps=10, block=2, seed=5, share=(rank, many))


def reconstruct_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Reconstruct crystals in blocks of two."
    how = dict(steps=10, block=2, seed=5, share=(rank, many))
    model_of(given).reconstruct(read(given, "train"), out=out, **how)


def relax_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Relax crystals with EMT; two processes are a pool of two."
    from dpcdvae.energy.relax import energies

    energies(given / "many", out, "emt", max_steps=100, workers=many, progress=False)


def evaluate_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Evaluate crystals; two processes are a pool of two."
    from dpcdvae.evaluation.evaluate import evaluate

    how = dict(reference=read(given, "train"), workers=many, progress=False)
    evaluate(given / "more", out=out, **how)


def optimise_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Search near four crystals, one a block."
    from dpcdvae.generation.optimize import LatentSearch, optimize

    search, how = LatentSearch(rounds=2), dict(block=1, head_steps=20, steps=3)
    optimize(model_of(given), read(given, "test"), read(given, "train"), "energy", out, search, **how)


def cache_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Write a cache, again and again."
    from dpcdvae.data.cache import save_crystals

    crystals = read(given, "train")
    for _ in range(600):
        save_crystals(crystals, out / "cache.safetensors")


def model_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Write a model, again and again."
    model = model_of(given)
    for _ in range(20):
        model.save(out / "best")


def film_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Write a film, again and again."
    film = model_of(given).generate(1, steps=20, seed=5)[0]
    for _ in range(60):
        film.save(out / "films" / "film_00000.safetensors")


# ---- what a job left ----


def same_columns(path: Path, without=("seconds",)) -> str:
    "Read a table without the columns that time changes."
    csv.field_size_limit(2**30)
    with open(path, newline="") as f:
        rows = [{k: v for k, v in r.items() if k not in without} for r in csv.DictReader(f)]
    return json.dumps(rows)


def steady(tree, without=(*TIMES, "versions", "run", "files", "machine", "input", "digest")):
    "Drop from a record what time, place or machine change."
    if isinstance(tree, dict):
        return {k: steady(v) for k, v in tree.items() if k not in without}
    return [steady(v) for v in tree] if isinstance(tree, list) else tree


def tensors_digest(path: Path) -> str:
    "Hash the tensors of a safetensors file."
    from dpcdvae.data.cache import content_digest, read_tensors

    return content_digest(read_tensors(path)[0], {})


def results(out: Path) -> dict[str, str]:  # name of a file -> digest of what must be equal
    "Fingerprint what a finished job left, but for temporary files."
    found = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        left_out = ("checkpoint.safetensors", "report.html", ".dpcdvae.lock")
        if "tensorboard" in name or path.name in left_out or path.suffix == ".part":
            continue
        if path.suffix == ".safetensors":
            text = tensors_digest(path)
        elif path.suffix == ".csv":
            text = same_columns(path)
        elif path.suffix == ".json":
            text = json.dumps(steady(json.loads(path.read_text())))
        else:
            text = path.read_text(errors="replace")
        found[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return found


def left_behind(out: Path) -> list[str]:
    "Find temporary files: none should outlive the job that goes on after a killed one."
    return sorted(str(p.relative_to(out)) for p in out.rglob("*.part"))


def check_whole(out: Path) -> None:
    "Read every file that a killed job left under its own name; raise for one that is not whole."
    from dpcdvae.data.cache import open_crystals
    from dpcdvae.diffusion.trajectory import Trajectory
    from dpcdvae.model.checkpoint import SafeCheckpointIO
    from dpcdvae.model.dpcdvae import DPCDVAE

    for path in out.rglob("*.json"):
        json.loads(path.read_text())
    for path in out.rglob("config.json"):
        DPCDVAE.from_pretrained(path.parent)
    for path in out.rglob("checkpoint.safetensors"):
        SafeCheckpointIO().load_checkpoint(path)
    for path in out.rglob("film_*.safetensors"):
        Trajectory.load(path)
    for path in out.rglob("cache.safetensors"):
        open_crystals(path)


@dataclasses.dataclass(frozen=True)
class Job:
    "A job that is killed."

    name: str
    run: Callable
    processes: int = 1
    pool: bool = False  # its second process is a pool's; else both are started alike
    locks: bool = True  # its folder


JOBS = [
    Job("train", train_job),
    Job("reconstruct", reconstruct_job),
    Job("evaluate", evaluate_job, 1, True),
    Job("optimise", optimise_job),
    Job("generate", generate_job),
    Job("relax", relax_job, 1, True),
    Job("cache", cache_job, locks=False),
    Job("model", model_job, locks=False),
    Job("film", film_job, locks=False),
    Job("train", train_job, 2),
    Job("reconstruct", reconstruct_job, 2),
    Job("evaluate", evaluate_job, 2, True),
    Job("generate", generate_job, 2),
    Job("relax", relax_job, 2, True),
]
