"""Conditions: each must be refused, or survived, with a named cause"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaign.jobs import JOBS, Job, generate_job, model_of, read, results
from benchmarks.campaign.running import begin, codes, fork, rank_of
from dpcdvae.data.files import atomic_write


def said(call: Callable, work: Path) -> tuple[int, str]:  # exit code, last line
    "Call a function in a fork; its exit code and what it said last."
    log = Path(tempfile.mkstemp(dir=work, suffix=".log")[1])
    (code,) = codes([fork(call, log)])
    return code, last_said(log.read_text())


def last_said(text: str) -> str:  # a line, or nothing
    "Find the last line that is an error's."
    begins = ("refused:", "Traceback", "dpcdvae ")
    return next((x for x in reversed(text.splitlines()) if x.startswith(begins)), "")


def second_job(job: Job, given: Path, out: Path, work: Path) -> tuple[int, str]:  # exit code, last line
    "Start a second job in the folder of one that is at work."
    pids = begin(job, given, out)
    while not (out / ".dpcdvae.lock").exists() and os.waitpid(pids[0], os.WNOHANG) == (0, 0):
        time.sleep(0.005)
    os.kill(pids[0], signal.SIGSTOP)
    found = said(lambda: rank_of(job, given, out, 0), work)
    os.kill(pids[0], signal.SIGKILL)
    codes(pids)
    return found


def two_jobs(given: Path, work: Path) -> dict[str, tuple[int, str]]:
    "Start a second job next to the first, for every kind that locks its folder."
    once = [j for j in JOBS if j.processes == 1 and j.locks]
    return {f"two jobs: {j.name}": second_job(j, given, work / f"two-{j.name}", work) for j in once}


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
import importlib, resource, sys
from pathlib import Path
from dpcdvae.cli.app import main

for name in sys.argv[1].split(","):
    importlib.import_module(name)
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**24
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[2:]))
"""
LIBRARIES = "dpcdvae.generation.generate,dpcdvae.model.pretrained"


def _limited(given: Path, work: Path, loaded: str) -> tuple[int, str]:
    "Let a process have hardly more memory than it has; a new one, for an old one has some in stock."
    words = f"generate --model {given / 'model'} --num 2000 --steps 2 --out {work / 'memory'} --quiet"
    call = [sys.executable, "-c", LIMITED, loaded, *words.split()]
    done = subprocess.run(call, capture_output=True, text=True)
    return done.returncode, last_said(done.stderr)


def memory_limit(given: Path, work: Path) -> dict:
    "Let memory run out in a job."
    return {"memory limit": _limited(given, work, LIBRARIES + ",scipy.optimize")}


def memory_to_load(given: Path, work: Path) -> dict:
    "Let memory run out where a library is loaded."
    return {"memory limit, while a library loads": _limited(given, work, LIBRARIES)}


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
        dying = "benchmarks.campaign.conditions:DyingCalculator()"
        rows, _ = energies(given / "made", work / "dying", dying, **how)
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
    memory_to_load="memory ran out",
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
