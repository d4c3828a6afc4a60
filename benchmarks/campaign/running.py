"""Jobs in forked processes: killed at random moments, continued, and compared with unkilled ones"""

import hashlib
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

from benchmarks.campaign.jobs import Job, check_whole, left_behind, load_libraries, make_inputs, results

TRIES = 5  # kills of one job, at most
LATE = "too late"  # the job had ended
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


def group(pid: int) -> list[int]:  # process ids
    "Find the processes of a group, but for those that have ended."
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has ended meanwhile
            continue
        if int(its) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


def outlive(pids: list[int], patience: float = 10.0) -> bool:
    "Tell whether workers of a pool outlive the processes that started them."
    end = time.monotonic() + patience
    while (left := any(map(group, pids))) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def sweep(pids: list[int]) -> None:
    "End what is left of the groups of processes that are gone."
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


def kill(pids: list[int], rng) -> tuple[str, list[str]]:  # name of the signal, or nothing; trouble
    "Send a signal to one of the processes that are alive, or to all; wait for them and for their workers."
    number = rng.choice((signal.SIGKILL, signal.SIGTERM))
    alive = [p for p in pids if os.waitpid(p, os.WNOHANG) == (0, 0)]
    one = number == signal.SIGTERM or (len(alive) > 1 and rng.random() < 0.5)
    for pid in rng.sample(alive, 1) if alive and one else alive:
        os.kill(pid, number)
    trouble = ["hung after a kill"] * (bool(alive) and None in codes(alive))
    trouble += ["workers outlive the job"] * outlive(pids)
    sweep(pids)
    return (number.name + (" of one" if one and len(alive) > 1 else "")) if alive else "", trouble


def tracebacks(text: str) -> list[str]:  # the line that ends each
    "Find tracebacks in what a job said, where a sentence belongs."
    after = [t.splitlines() for t in text.split("Traceback (most recent call last):")[1:]]
    return sorted({next((x for x in lines[1:] if x and not x.startswith(" ")), "")[:300] for lines in after})


def killed_run(job: Job, given: Path, out: Path, seconds: float, rng, most: int = TRIES) -> dict:
    "Kill a job at random moments, let it go on each time, and finish it; what came of it."
    kills, trouble, log = Counter(), [], out.with_suffix(".log")
    for _ in range(most):
        pids = begin(job, given, out)
        time.sleep(rng.triangular(0.0, seconds, 0.0))  # early more often: a job that goes on has less to do
        name, more = kill(pids, rng)
        kills[name or LATE] += 1
        trouble += more
        if codes([fork(lambda: check_whole(out), log)]) != [0]:
            trouble.append(f"not whole after a kill: {log.read_text()[-300:]}")
        if not name:
            break
    try:
        found, _ = whole_run(job, given, out)
        trouble += [f"left behind: {n}" for n in left_behind(out)] if job.locks else []
        trouble += [f"traceback: {s}" for s in tracebacks(log.read_text())]
    except RuntimeError as e:
        return dict(kills=kills, trouble=[*trouble, str(e)], results={})
    return dict(kills=kills, trouble=trouble, results=found)


def code_digest() -> str:
    "Hash the code that is tried and the code that tries it, so that a journal tells whose it is."
    here = Path(__file__).parent
    files = [*sorted((here.parents[1] / "dpcdvae").rglob("*.py")), here / "jobs.py", Path(__file__)]
    return hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:16]


def journal_rows(journal: Path | None, **wanted) -> list[dict]:
    "Read the rows of a journal that have these values."
    lines = journal.read_text().splitlines() if journal and journal.exists() else []
    return [r for r in map(json.loads, lines) if all(r.get(k) == v for k, v in wanted.items())]


def num_kills(rows: list[dict]) -> int:
    return sum(n for r in rows for k, n in r["kills"].items() if k != LATE)


def campaign(job: Job, given: Path, work: Path, kills: int, seed: int, journal: Path | None = None) -> dict:
    "Kill a job at least so many times; counts."
    whose = dict(job=f"{job.name}, {job.processes}", seed=seed, code=code_digest())
    whole, seconds = whole_run(job, given, work / f"{job.name}-{job.processes}-whole")
    within = seconds
    done = journal_rows(journal, **whose)
    while num_kills(done) < kills:
        rng = random.Random(f"{seed} {whose['job']} {len(done)}")
        out = work / f"{job.name}-{job.processes}-{len(done)}"
        one = killed_run(job, given, out, within, rng)
        within *= 0.8 if LATE in one["kills"] else 1.1  # the machine is less busy now, or busier
        both = whole.keys() | one["results"].keys()
        differ = sorted(k for k in both if whole.get(k) != one["results"].get(k))
        row = whose | dict(kills=one["kills"], trouble=one["trouble"], differ=differ)
        done.append(row)
        if journal:
            with open(journal, "a") as f:
                f.write(json.dumps(row) + "\n")
        if not (row["trouble"] or differ):
            shutil.rmtree(out, ignore_errors=True)
    return dict(processes=job.processes, seconds_of_a_run=round(seconds, 2), asked=kills) | counts(done)


def counts(rows: list[dict]) -> dict:
    "Sum up the rows of a journal."
    return dict(
        jobs=len(rows),
        kills=num_kills(rows),
        kinds=dict(sum((Counter(r["kills"]) for r in rows), Counter())),
        results_equal=sum(not r["differ"] for r in rows),
        faults=[dict(trouble=r["trouble"], differ=r["differ"]) for r in rows if r["trouble"] or r["differ"]],
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
