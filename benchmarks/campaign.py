"""Jobs killed at random moments, continued, and compared with jobs that nobody killed.

    python -m benchmarks.campaign --out results/campaign.json [--kills 100] [--seed 0] [--only train generate]

One process imports the libraries and forks every job, so that a kill costs no import. A job is killed (by
kill -9 or SIGTERM, drawn) up to three times at moments drawn within the time of a whole run, and each time
the same command goes on. After each kill every file that is there must be whole, and in the end the results
must be equal to those of the job that was not killed. The journal makes the campaign itself resumable."""

import argparse
import csv
import dataclasses
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write

TRIES = 3  # kills of one job, at most
TIMES = ("seconds", "crystals_per_second", "date", "started", "trained")  # no two runs share them
PATIENCE = 600.0  # seconds after which a job counts as hanging: the machine may be busy
SMALL = {"denoiser.num_blocks": 1, "latent.prior_steps": 5, "training.batch_size": 4}


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
    write_crystals(folder / "made", ((f"m-{i}", s) for i, s in enumerate(metals(8, 3))))
    torch.manual_seed(0)
    model = DPCDVAE(get_config("tiny", denoiser=dict(num_blocks=1), latent=dict(prior="standard"))).eval()
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
    model_of(given).generate(12, out=out, films=3, steps=10, block=2, seed=5, share=(rank, many))


def reconstruct_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Reconstruct crystals in blocks of two."
    how = dict(steps=10, block=2, seed=5, share=(rank, many))
    model_of(given).reconstruct(read(given, "train")[:12], out=out, **how)


def relax_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Relax crystals with EMT; two processes are a pool of two."
    from dpcdvae.energy.relax import energies

    energies(given / "made", out, "emt", max_steps=100, workers=many, progress=False)


def evaluate_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Evaluate crystals; two processes are a pool of two."
    from dpcdvae.evaluation.evaluate import evaluate

    how = dict(reference=read(given, "train"), workers=many, progress=False)
    evaluate(given / "made", out=out, **how)


def optimise_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Search near four crystals, one a block."
    from dpcdvae.generation.optimize import LatentSearch, optimize

    search, how = LatentSearch(rounds=2), dict(block=1, head_steps=20, steps=3)
    optimize(model_of(given), read(given, "test"), read(given, "train"), "energy", out, search, **how)


def cache_job(given: Path, out: Path, rank: int, many: int) -> None:
    "Write a cache, again and again."
    from dpcdvae.data.cache import save_crystals

    crystals = read(given, "train")
    for _ in range(60):
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


JOBS = [
    Job("train", train_job),
    Job("train", train_job, 2),
    Job("generate", generate_job),
    Job("generate", generate_job, 2),
    Job("reconstruct", reconstruct_job),
    Job("reconstruct", reconstruct_job, 2),
    Job("relax", relax_job, 1, True),
    Job("relax", relax_job, 2, True),
    Job("evaluate", evaluate_job, 1, True),
    Job("evaluate", evaluate_job, 2, True),
    Job("optimise", optimise_job),
    Job("cache", cache_job),
    Job("model", model_job),
    Job("film", film_job),
]


# ---- processes ----


def fork(call: Callable, log: Path, **environment) -> int:  # process id, which is its group's
    "Call a function in a forked process of its own group; what it says goes to a file."
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(target, 1)
        os.dup2(target, 2)
        sys.stdout = sys.stderr = os.fdopen(target, "w", closefd=False)
        os.environ.update(environment)
        warnings.simplefilter("ignore")
        code = call() or 0
    except KeyboardInterrupt:
        code = 130
    except (ValueError, OSError) as e:
        print(f"refused: {e}")
        code = 2
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rank_of(job: Job, given: Path, out: Path, rank: int) -> None:
    "Do one process's part of a job."
    from lightning.pytorch.utilities import rank_zero_only

    rank_zero_only.rank = rank
    job.run(given, out, rank, job.processes)


def begin(job: Job, given: Path, out: Path) -> list[int]:  # process ids
    "Start all processes of a job."
    log = out.with_suffix(".log")
    many = 1 if job.pool else job.processes
    if many == 1:
        return [fork(lambda: rank_of(job, given, out, 0), log)]
    words = dict(WORLD_SIZE=str(many), LOCAL_WORLD_SIZE=str(many), GROUP_RANK="0", TORCHELASTIC_RUN_ID="1")
    words |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()))
    ranks = [words | dict(RANK=str(r), LOCAL_RANK=str(r)) for r in range(many)]
    if job.name != "train":
        ranks = [{}] * many
    return [fork(lambda r=r: rank_of(job, given, out, r), log, **e) for r, e in enumerate(ranks)]


def codes(pids: list[int], patience: float = PATIENCE) -> list[int | None]:  # None: it hung, and was killed
    "Wait for processes to end."
    end, found = time.monotonic() + patience, {}
    while len(found) < len(pids):
        for pid in set(pids) - set(found):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                found[pid] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > end:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                found[pid] = None
        time.sleep(0.005)
    return [found[p] for p in pids]


def sweep(pids: list[int]) -> None:
    "End what is left of the groups of processes that are gone: workers of a pool."
    for pid in pids:
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue


def whole_run(job: Job, given: Path, out: Path) -> tuple[dict, float]:  # results, seconds
    "Do a job that nobody kills."
    start = time.monotonic()
    pids = begin(job, given, out)
    if any(codes(pids)):
        raise RuntimeError(f"{job.name} fails unkilled: {out.with_suffix('.log').read_text()[-2000:]}")
    return results(out), time.monotonic() - start


def killed_run(job: Job, given: Path, out: Path, seconds: float, rng, most: int = TRIES) -> dict:
    "Kill a job at random moments, let it go on each time, and finish it; what came of it."
    kills, trouble = Counter(), []
    for _ in range(most):
        pids = begin(job, given, out)
        time.sleep(rng.uniform(0.0, seconds))
        number = rng.choice((signal.SIGKILL, signal.SIGTERM))
        alive = [p for p in pids if os.waitpid(p, os.WNOHANG) == (0, 0)]
        one = number == signal.SIGTERM or (len(alive) > 1 and rng.random() < 0.5)
        for pid in rng.sample(alive, 1) if alive and one else alive:
            os.kill(pid, number)
        if alive and None in codes(alive):
            trouble.append("hung after a kill")
        sweep(pids)
        name = number.name + (" of one" if one and len(alive) > 1 else "")
        kills[name if alive else "too late"] += 1
        check = fork(lambda: check_whole(out), out.with_suffix(".log"))
        if codes([check]) != [0]:
            trouble.append(f"not whole after a kill: {out.with_suffix('.log').read_text()[-300:]}")
    try:
        found, _ = whole_run(job, given, out)
    except RuntimeError as e:
        return dict(kills=kills, trouble=[*trouble, str(e)], results={})
    return dict(kills=kills, trouble=trouble, results=found)


def campaign(job: Job, given: Path, work: Path, kills: int, seed: int, journal: Path | None = None) -> dict:
    "Kill a job at least so many times; counts."
    label = f"{job.name}, {job.processes}"
    whole, seconds = whole_run(job, given, work / f"{job.name}-{job.processes}-whole")
    old = journal.read_text().splitlines() if journal and journal.exists() else []
    done = [r for r in map(json.loads, old) if r["job"] == label and r["seed"] == seed]
    count = lambda: sum(n for r in done for k, n in r["kills"].items() if k != "too late")
    while count() < kills:
        rng = random.Random(f"{seed} {label} {len(done)}")
        out = work / f"{job.name}-{job.processes}-{len(done)}"
        one = killed_run(job, given, out, seconds, rng)
        differ = sorted(
            k for k in whole.keys() | one["results"].keys() if whole.get(k) != one["results"].get(k)
        )
        row = dict(job=label, seed=seed, kills=one["kills"], trouble=one["trouble"], differ=differ)
        done.append(row)
        if journal:
            with open(journal, "a") as f:
                f.write(json.dumps(row) + "\n")
        if not (row["trouble"] or differ):
            shutil.rmtree(out, ignore_errors=True)
    kinds = sum((Counter(r["kills"]) for r in done), Counter())
    return dict(
        processes=job.processes,
        seconds_of_a_run=round(seconds, 2),
        jobs=len(done),
        kills=count(),
        kinds=dict(kinds),
        results_equal=sum(not r["differ"] for r in done),
        faults=[dict(trouble=r["trouble"], differ=r["differ"]) for r in done if r["trouble"] or r["differ"]],
    )


def prepare(work: Path) -> Path:  # folder of the inputs
    "Import, and make the inputs in a process of their own."
    load_libraries()
    given = work / "given"
    if not (given / "model" / "config.json").exists():
        given.mkdir(parents=True, exist_ok=True)
        if codes([fork(lambda: make_inputs(given), work / "given.log")]) != [0]:
            raise RuntimeError((work / "given.log").read_text()[-2000:])
    return given


# ---- conditions: each must be refused, or survived, with a named cause ----


def said(call: Callable, work: Path) -> tuple[int, str]:  # exit code, last line
    "Call a function in a fork; its exit code and what it said last."
    log = Path(tempfile.mkstemp(dir=work, suffix=".log")[1])
    (code,) = codes([fork(call, log)])
    return code, last_said(log.read_text())


def last_said(text: str) -> str:  # a line, or nothing
    "Find the last line that is an error's."
    begins = ("refused:", "Traceback", "dpcdvae ")
    return next((x for x in reversed(text.splitlines()) if x.startswith(begins)), "")


def two_jobs(given: Path, work: Path) -> dict[str, tuple[int, str]]:
    "Start a second job in the folder of one that is at work."
    found = {}
    for job in JOBS:
        if job.processes > 1 or job.name in ("cache", "model", "film"):
            continue
        out = work / f"two-{job.name}"
        pids = begin(job, given, out)
        while not (out / ".dpcdvae.lock").exists() and os.waitpid(pids[0], os.WNOHANG) == (0, 0):
            time.sleep(0.005)
        os.kill(pids[0], signal.SIGSTOP)
        found[f"two jobs: {job.name}"] = said(lambda j=job, o=out: rank_of(j, given, o, 0), work)
        os.kill(pids[0], signal.SIGKILL)
        codes(pids)
    return found


def limited_file(given: Path, work: Path) -> dict:
    "Let no file grow over 300 bytes."
    import resource

    def call():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        generate_job(given, work / "limited", 0, 1)

    return {"file limit": said(call, work)}


def read_only(given: Path, work: Path) -> dict:
    "Write, as a user without rights, into a folder of another."
    folder = Path(tempfile.mkdtemp(prefix="read-only-"))  # where another user may look
    folder.chmod(0o555)

    def call():
        model = model_of(given)
        if os.getuid() == 0:
            os.setuid(65534)
        model.generate(2, out=folder, steps=1)

    found = said(call, work)
    shutil.rmtree(folder)
    return {"read-only folder": found}


def full_disk(given: Path, work: Path) -> dict:
    "Every file that is opened for writing has no space (simulated: write fails with ENOSPC)."
    import errno
    import pathlib

    def call():
        def fail(self, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        pathlib.Path.write_bytes = fail
        generate_job(given, work / "full", 0, 1)

    return {"full disk": said(call, work)}


LIMITED = """
import resource, sys
from pathlib import Path
from dpcdvae.cli.app import main
import dpcdvae.generation.generate, dpcdvae.model.pretrained

pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**24
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[1:]))
"""


def memory_limit(given: Path, work: Path) -> dict:
    "Let a process have hardly more memory than it has; a new one, for an old one has some in stock."
    words = f"generate --model {given / 'model'} --num 2000 --steps 2 --out {work / 'memory'} --quiet"
    done = subprocess.run([sys.executable, "-c", LIMITED, *words.split()], capture_output=True, text=True)
    return {"memory limit": (done.returncode, last_said(done.stderr))}


def other_version(given: Path, work: Path) -> dict:
    "Read a cache that another version wrote."
    from dpcdvae.data import cache

    def call():
        now, cache.FORMAT = cache.FORMAT, cache.FORMAT + 1
        cache.save_crystals(read_now(given), work / "other.safetensors")
        cache.FORMAT = now
        cache.open_crystals(work / "other.safetensors")

    def read_now(given):
        cache.FORMAT -= 1
        crystals = read(given, "val")
        cache.FORMAT += 1
        return crystals

    return {"cache of another version": said(call, work)}


def flip(path: Path, target: Path, place: int) -> Path:
    "Copy a file with one bit of one byte turned."
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def flip_places(path: Path, num: int, rng) -> dict[str, list[int]]:  # kind of place -> bytes
    "Draw places in a file: of a safetensors file in each of its parts."
    size = path.stat().st_size
    if path.suffix != ".safetensors":
        return {"text": sorted(rng.sample(range(size), min(num, size)))}
    head = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    parts = {"length": range(8), "header": range(8, head), "tensors": range(head, size)}
    return {k: sorted(rng.sample(v, min(num, len(v)))) for k, v in parts.items()}


def flipped_model(given: Path, work: Path, num: int = 40, seed: int = 0) -> dict[str, dict]:
    "Read a model with one flipped byte: how often that was named, by the place of the byte."
    counts = {}

    def call():
        from dpcdvae.model import pretrained

        readers = {"model.safetensors": pretrained._read_weights, "config.json": pretrained._read_config}
        rng = random.Random(seed)
        for name, reader in readers.items():
            for part, places in flip_places(given / "model" / name, num, rng).items():
                named = 0
                for place in places:
                    path = flip(given / "model" / name, work / "flipped" / name, place)
                    try:
                        reader(path)
                    except ValueError as e:
                        named += name in str(e)
                counts[f"{name}, {part}"] = dict(flipped=len(places), named=named)
        atomic_write(work / "flipped.json", json.dumps(counts))

    code, line = said(call, work)
    return json.loads((work / "flipped.json").read_text()) if code == 0 else {"failed": dict(why=line)}


class DyingCalculator:
    "An ASE calculator whose process is killed, as the kernel does where memory runs out."

    def __new__(cls):
        from ase.calculators.emt import EMT

        class Dying(EMT):
            def calculate(self, atoms=None, *args, **how):
                if len(set(atoms.numbers)) == 2 and 13 in atoms.numbers:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().calculate(atoms, *args, **how)

        return Dying()


def worker_killed(given: Path, work: Path) -> dict:
    "Kill a worker in the middle of a crystal: that crystal has a reason, and the others are relaxed."

    def call():
        from dpcdvae.energy.relax import energies

        how = dict(max_steps=20, workers=2, progress=False)
        rows, _ = energies(given / "made", work / "dying", "benchmarks.campaign:DyingCalculator()", **how)
        lost = [r for r in rows if r.get("reason") == "the process ended"]
        if lost and len(rows) == 8 and any(r["converged"] for r in rows):
            raise ValueError(f"{len(lost)} of 8 rows: the process ended")

    return {"worker killed": said(call, work)}


def clock_back(given: Path, work: Path) -> dict:
    "Set the clock back by a day in the middle of a job."

    def call():
        seconds = iter(range(10**9, 0, -86400))
        time.time = lambda: float(next(seconds))
        generate_job(given, work / "clock", 0, 1)
        if json.loads((work / "clock" / "run.json").read_text())["seconds"] < 0:
            raise ValueError("a negative duration was written")

    whole = work / "clock-whole"
    code, line = said(call, work)
    codes([fork(lambda: generate_job(given, whole, 0, 1), work / "clock.log")])
    same = code == 0 and results(work / "clock") == results(whole)
    return {"clock set back": (2, "survived, with equal results") if same else (1, line)}


CONDITIONS = dict(  # what the sentence must hold
    two_jobs="another process is at work",
    limited_file="could not be written",
    read_only="cannot be written",
    full_disk="could not be written",
    memory_limit="memory ran out",
    other_version="of another version",
    worker_killed="the process ended",
    clock_back="survived",
)


def conditions(given: Path, work: Path) -> dict[str, dict]:
    "Try every condition: whether its cause was named, and the sentence."
    found = {}
    for name, words in CONDITIONS.items():
        for label, (code, line) in globals()[name](given, work).items():
            line = line.removeprefix("refused: ").replace(str(work), "FOLDER")
            line = re.sub(r"/\S*/read-only-\w+", "FOLDER", line)
            found[label] = dict(named=code == 2 and words in line, sentence=line)
    return found


def campaign_table(found: dict) -> str:
    "Lay the counts out as Markdown."
    out = io.StringIO()
    head = ("job", "processes", "kills", "of which", "jobs", "equal results", "faults")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", file=out)
    for name, r in found["jobs"].items():
        kinds = ", ".join(f"{n} {k}" for k, n in sorted(r["kinds"].items()) if k != "too late")
        cells = (name.split(",")[0], r["processes"], r["kills"], kinds, r["jobs"], r["results_equal"])
        print(f"| {' | '.join(map(str, cells))} | {len(r['faults'])} |", file=out)
    print("\n| condition | named | sentence |\n|---|---|---|", file=out)
    for name, r in found["conditions"].items():
        print(f"| {name} | {'yes' if r['named'] else 'no'} | {r['sentence'][:160]} |", file=out)
    print("\n| flipped byte in | files read | named |\n|---|---|---|", file=out)
    for name, r in found["flipped_bytes"].items():
        print(f"| {name} | {r['flipped']} | {r['named']} |", file=out)
    print(f"\nSeed {found['seed']}.", file=out)
    return out.getvalue()


def main(argv=None) -> int:  # 1 where anything was lost
    "Run the campaign and write its counts."
    p = argparse.ArgumentParser("python -m benchmarks.campaign")
    p.add_argument("--out", type=Path, default=Path("results/campaign.json"))
    p.add_argument("--work", type=Path, default=Path("runs/campaign"))
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--kills-two", type=int, help="of two trainings in step; else as --kills")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", nargs="+", help="jobs, or conditions")
    a = p.parse_args(argv)
    work = a.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    given, journal = prepare(work), work / "journal.jsonl"
    old = json.loads(a.out.read_text()) if a.out.exists() else {}
    found = dict(kind="campaign", seed=a.seed, jobs=old.get("jobs", {}))
    for job in JOBS:
        if a.only and job.name not in a.only:
            continue
        kills = a.kills_two if a.kills_two and (job.name, job.processes) == ("train", 2) else a.kills
        folder = Path(tempfile.mkdtemp(dir=work))
        found["jobs"][f"{job.name}, {job.processes}"] = campaign(job, given, folder, kills, a.seed, journal)
        print(job.name, job.processes, found["jobs"][f"{job.name}, {job.processes}"], flush=True)
        atomic_write(a.out, json.dumps(old | found, indent=1) + "\n")
    found = old | found
    if not a.only or "conditions" in a.only:
        folder = Path(tempfile.mkdtemp(dir=work))
        folder.chmod(0o755)  # for another user, who may read and not write
        found |= dict(conditions=conditions(given, folder), flipped_bytes=flipped_model(given, folder))
    found["made_on"] = circumstances()
    atomic_write(a.out, json.dumps(found, indent=1) + "\n")
    if not a.only:
        print(campaign_table(found))
    return int(not is_clean(found))


def is_clean(found: dict) -> bool:
    "Tell whether nothing was lost, doubled, or left without a name."
    jobs = all(not r["faults"] for r in found["jobs"].values())
    flips = all(r["named"] == r["flipped"] for r in found.get("flipped_bytes", {}).values())
    return jobs and flips and all(r["named"] for r in found.get("conditions", {}).values())


if __name__ == "__main__":
    sys.exit(main())
