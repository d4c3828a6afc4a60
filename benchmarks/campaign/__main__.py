"""The command that kills jobs and writes what came of it"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.campaign.broken import broken
from benchmarks.campaign.conditions import conditions, flipped_model
from benchmarks.campaign.counts import campaign_table, is_clean
from benchmarks.campaign.jobs import JOBS
from benchmarks.campaign.running import campaign, counts, prepare
from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write


def counted(lines: list[str], asked: int, seed: int, old: dict) -> dict:  # job -> counts
    "Count the rows of a journal, whichever build wrote them; the seconds of a run are those known before."
    rows, found = [r for r in map(json.loads, lines) if r["seed"] == seed], {}
    for name in dict.fromkeys(f"{j.name}, {j.processes}" for j in JOBS):
        if mine := [r for r in rows if r["job"] == name]:
            seconds = {k: v for k, v in old.get(name, {}).items() if k == "seconds_of_a_run"}
            codes = sorted({r["code"] for r in mine})
            found[name] = dict(processes=int(name[-1]), **seconds, asked=asked, code=codes) | counts(mine)
    return found


def main(argv=None) -> int:  # 1 where anything was lost
    "Run the campaign and write its counts."
    p = argparse.ArgumentParser("python -m benchmarks.campaign")
    p.add_argument("--out", type=Path, default=Path("results/campaign.json"))
    p.add_argument("--work", type=Path, default=Path("runs/campaign"))
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--kills-two", type=int, help="of two trainings in step; else as --kills")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--only", nargs="+", help="jobs, conditions, or broken")
    p.add_argument("--count", type=Path, metavar="JOURNAL", help="count an earlier journal; nothing is run")
    a = p.parse_args(argv)
    if a.count:
        old = json.loads(a.out.read_text())
        jobs = counted(a.count.read_text().splitlines(), a.kills, a.seed, old["jobs"])
        atomic_write(a.out, json.dumps(old | dict(jobs=jobs), indent=1) + "\n")
        return int(not is_clean(old | dict(jobs=jobs)))
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
    if not a.only or "broken" in a.only:
        found |= dict(broken=broken(given, Path(tempfile.mkdtemp(dir=work)), a.seed))
    found["made_on"] = circumstances()
    atomic_write(a.out, json.dumps(found, indent=1) + "\n")
    if not a.only:
        print(campaign_table(found))
    return int(not is_clean(found))


if __name__ == "__main__":
    sys.exit(main())
