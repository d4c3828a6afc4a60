"""Jobs in forked processes: killed at random moments, continued, and compared with unkilled ones"""

import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from benchmarks.campaign.jobs import Job, check_whole, load_libraries, make_inputs, results

TRIES = 3  # kills of one job, at most
PATIENCE = 600.0  # seconds after which a job counts as hanging: the machine may be busy


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
