"""What a campaign must find: a resume, an order of data, a write, a pool and a lock that are broken"""

import random
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from benchmarks.campaign.conditions import CONDITIONS, second_job
from benchmarks.campaign.jobs import JOBS, Job
from benchmarks.campaign.running import killed_run, num_kills, whole_run

MOST = 8  # jobs that are killed before a broken line counts as not found


def late_resume() -> dict:  # name -> what takes its place
    "Go on one block behind the last row of the table."
    from dpcdvae.generation.jobs import resume_at

    def late(path, num, block, *header):
        keep = resume_at(path, num, block, *header)
        return keep + block if 0 < keep < num else keep

    return {"dpcdvae.generation.jobs.resume_at": late}


def new_order() -> dict:
    "Begin an epoch anew in the middle of it."
    return {"dpcdvae.data.loader.CrystalLoader.load_state_dict": lambda self, state: None}


def in_place() -> dict:
    "Write a file under its own name, piece by piece."

    def write(path, data):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", buffering=0) as file:
            for half in (data[: len(data) // 2], data[len(data) // 2 :]):
                file.write(half)
                time.sleep(0.001)
        return path

    return {"dpcdvae.data.cache.atomic_write": write}


def long_life() -> dict:
    "Let workers be where the process that started them is gone."
    return {"dpcdvae.data.rows._end_with": lambda parent: None}


def no_lock() -> dict:
    "Take no lock."
    return {"fcntl.lockf": lambda *a: None}


KILLED = dict(
    late_resume=("reconstruct", 1), new_order=("train", 1), in_place=("cache", 1), long_life=("relax", 2)
)


@contextmanager
def taking_place(names: dict[str, Callable]):
    "Put other functions in the place of some, in this process and in those forked from it."
    patches = [patch(name, new) for name, new in names.items()]
    for p in patches:
        p.start()
    try:
        yield
    finally:
        for p in patches:
            p.stop()


def job_of(name: str, processes: int = 1) -> Job:
    "Find a job."
    return next(j for j in JOBS if (j.name, j.processes) == (name, processes))


def kill_broken(name: str, given: Path, work: Path, seed: int) -> dict:  # what was seen, and after how much
    "Kill jobs with a broken line until that is found."
    job, rows = job_of(*KILLED[name]), []
    whole, seconds = whole_run(job, given, work / f"{name}-whole")
    with taking_place(globals()[name]()):
        for k in range(MOST):
            one = killed_run(job, given, work / f"{name}-{k}", seconds, random.Random(f"{seed} {name} {k}"))
            rows.append(one)
            both = sorted(whole.keys() | one["results"].keys())
            differ = [f"{n} differs" for n in both if whole.get(n) != one["results"].get(n)]
            if signs := [
                *(t.splitlines()[0].replace(str(work), "FOLDER")[:160] for t in one["trouble"]),
                *differ,
            ]:
                break
    return dict(job=f"{job.name}, {job.processes}", jobs=len(rows), kills=num_kills(rows), signs=signs)


def break_lock(given: Path, work: Path) -> dict:
    "Start a second job in the folder of another, without locks."
    with taking_place(no_lock()):
        code, line = second_job(job_of("relax"), given, work / "no-lock", work)
    refused = code == 2 and CONDITIONS["two_jobs"] in line
    signs = [] if refused else [f"the second job is not refused: exit code {code}"]
    return dict(job="relax, 1", jobs=2, kills=0, signs=signs)


def broken(given: Path, work: Path, seed: int = 0) -> dict[str, dict]:
    "Break one line after the other; whether that was seen, and in what."
    found = {n: kill_broken(n, given, work, seed) for n in KILLED}
    found["no_lock"] = break_lock(given, work)
    return {n: dict(what=globals()[n].__doc__, found=bool(r["signs"])) | r for n, r in found.items()}
