"""A long job, stopped and resumed on its way: memory and speed as it goes, and a check of its folder.

    python -m benchmarks.longrun generate --num 100000 --steps 5 --stops 4 --out results/long-generate.json
    python -m benchmarks.longrun train --data DIR/perov_5 --max-time 01:00:00 --out results/long-train.json

The job is the command itself, one thread, one process of its own; SIGINT, SIGKILL and SIGTERM end it in turn
at even shares of the way, and the same command goes on. Memory is resident memory of the process and its
children, seconds are those of the clock and of the processor (what else runs here slows only the first).
A call that is ended, or dies, goes on with its next part when it is made again; what its last part had
measured is kept."""

import argparse
import csv
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.speed import circumstances
from dpcdvae.data.files import atomic_write

SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
MARK = b"# generated using pymatgen"  # once in every row that holds a crystal
BLOCK = 256  # crystals that `dpcdvae generate` writes at a time
PROGRAM = [str(Path(sys.executable).parent / "dpcdvae")]


class Table:
    "Counts the crystals of a table that grows, and may be cut."

    def __init__(self, path: Path):
        self.path, self.size, self.count = path, 0, 0

    def begin(self) -> None:
        "Nothing is to be done where a part of the run begins: the table holds all."

    def __call__(self) -> int:
        if not self.path.exists():
            return 0
        if self.path.stat().st_size < self.size:
            self.size = self.count = 0
        with open(self.path, "rb") as f:
            f.seek(self.size)
            new = f.read()
        whole = new.rfind(b"\n") + 1
        self.size, self.count = self.size + whole, self.count + new[:whole].count(MARK)
        return self.count


class Log:
    "Reads seconds and steps of a training from its lines of progress."

    def __init__(self, path: Path, batch: int):
        self.path, self.batch, self.seconds, self.start, self.done = path, batch, 0.0, 0, 0

    def begin(self) -> None:
        "Forget the lines of earlier parts: a killed part had printed more than its checkpoint holds."
        self.start = len(self.path.read_text(errors="replace")) if self.path.exists() else 0
        self.seconds = 0.0

    def __call__(self) -> int:
        text = self.path.read_text(errors="replace")[self.start :]
        found = re.findall(r"^(\d+):(\d+):(\d+) epoch \d+ step (\d+) ", text, re.MULTILINE)
        if not found:
            return self.done
        hours, minutes, seconds, steps = map(int, found[-1])
        self.seconds = hours * 3600 + minutes * 60 + seconds
        self.done = steps * self.batch
        return self.done


def memory_and_processor(process: psutil.Process) -> tuple[float, float]:  # MiB, seconds
    "Measure a process with its children; zeros where it is gone."
    try:
        family = [process, *process.children(recursive=True)]
        times = process.cpu_times()
        memory = sum(p.memory_info().rss for p in family)
        return memory / 2**20, times.user + times.system
    except psutil.NoSuchProcess:
        return 0.0, 0.0


def part_of_run(command: list, log: Path, done, over, stop: tuple, every: float, begin: float, keep) -> dict:
    """Run the command until a share of its way, then stop it; samples: [s, MiB, processor s, crystals].

    `keep(part)` is called with what there is after each sample, its exit code still None."""
    end, number = stop
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONUNBUFFERED="1")
    start, samples = time.monotonic(), []
    done.begin()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with open(log, "ab") as f:
        process = subprocess.Popen(command, stdout=f, stderr=f, env=env, start_new_session=True)
    watched, stopped = psutil.Process(process.pid), None
    part = lambda: dict(
        stopped_by=stopped,
        exit_code=process.returncode,
        done=done(),
        seconds=round(time.monotonic() - start, 1),
        samples=samples,
    )
    while process.poll() is None:
        memory, seconds = memory_and_processor(watched)
        if memory:
            samples.append([round(time.monotonic() - begin, 1), round(memory), round(seconds, 1), done()])
            keep(part() | dict(pid=process.pid))
        if number and not stopped and over() >= end:
            os.kill(process.pid, number)
            stopped = number.name
        try:
            process.wait(1.0 if stopped else every)
        except subprocess.TimeoutExpired:
            continue
    return part()


def end_of_orphan(part: dict, wait: float = 600.0) -> dict:  # the part as it ended
    "Stop the process of a part whose call died before it, and let it save."
    try:
        left = psutil.Process(part.pop("pid"))
        if PROGRAM[0] in left.cmdline():
            left.send_signal(signal.SIGINT)
            left.wait(wait)
    except psutil.NoSuchProcess:
        pass
    return part | dict(stopped_by="the end of the call")


def stopped_run(
    command: list, work: Path, done, over, stops: int, every: float, so_far: bool = False
) -> list[dict]:
    "Run a command to its end, stopped on its way; parts of an earlier call count, and are not run again."
    log, journal = work / "log.txt", work / "parts.json"
    parts = json.loads(journal.read_text()) if journal.exists() else []
    if so_far:
        going_on = lambda p: {k: v for k, v in p.items() if k != "pid"} | dict(stopped_by="goes on")
        return [going_on(p) if "pid" in p else p for p in parts]
    if parts and "pid" in parts[-1]:
        parts[-1] = end_of_orphan(parts[-1])
    past = parts[-1]["samples"][-1][0] if parts else 0.0
    begin = time.monotonic() - past
    keep = lambda part: atomic_write(journal, json.dumps([*parts, part]))
    while not parts or parts[-1]["exit_code"] != 0:
        planned = sum(p["stopped_by"] in {s.name for s in SIGNALS} for p in parts)
        share = (planned + 1) / (stops + 1)
        stop = (share, SIGNALS[planned % len(SIGNALS)] if share < 1 else None)
        parts.append(part_of_run(command, log, done, over, stop, every, begin, keep))
        print(json.dumps({key: v for key, v in parts[-1].items() if key != "samples"}), flush=True)
        if parts[-1]["exit_code"] and not parts[-1]["stopped_by"]:
            raise SystemExit(f"the command failed; see {log}")
        atomic_write(journal, json.dumps(parts))
    return parts


def leftovers(out: Path) -> list[str]:
    "List half-written files and locks."
    return [str(p.relative_to(out)) for p in out.rglob("*") if p.suffix == ".part" or "lock" in p.name]


def same_blocks(out: Path, command: list, num: int, firsts: list[int]) -> dict:
    "Make the blocks again that a stop hit, in processes that nobody stops; how many are equal to the byte."
    from dpcdvae.generation.jobs import csv_text

    csv.field_size_limit(2**30)
    wanted = {first: [] for first in firsts}
    with open(out / "crystals.csv", newline="") as f:
        for row in list(csv.reader(f))[1:]:
            if int(row[0]) // BLOCK * BLOCK in wanted:
                wanted[int(row[0]) // BLOCK * BLOCK].append(row)
    many, equal = -(-num // BLOCK), 0
    again = out.with_name(out.name + "-again")
    for first, rows in wanted.items():
        shutil.rmtree(again, ignore_errors=True)
        words = [w if w != str(out) else str(again) for w in command]
        subprocess.run([*words, "--share", f"{first // BLOCK}/{many}"], check=True, env=os.environ)
        equal += (again / "parts" / f"{first:09d}.csv").read_text() == csv_text(rows)
    shutil.rmtree(again, ignore_errors=True)
    return dict(made_again=len(wanted), equal=equal)


def check_table(out: Path, num: int) -> dict:
    "Count the rows of a table, those that are not where they belong, and those without a crystal."
    csv.field_size_limit(2**30)
    rows = misplaced = empty = 0
    with open(out / "crystals.csv", newline="") as f:
        for row in csv.DictReader(f):
            misplaced += int(row["index"]) != rows
            empty += not row["cif"]
            rows += 1
    return dict(rows=rows, missing=num - rows, misplaced=misplaced, without_crystal=empty)


def check_training(out: Path) -> dict:
    "Count gaps and doubles in the table of losses, and load what is kept."
    from dpcdvae.model.checkpoint import SafeCheckpointIO
    from dpcdvae.model.dpcdvae import DPCDVAE

    epochs = [int(r["epoch"]) for r in csv.DictReader(open(out / "logs" / "metrics.csv")) if r["train/total"]]
    for path in out.glob("*/config.json"):
        DPCDVAE.from_pretrained(path.parent)
    SafeCheckpointIO().load_checkpoint(out / "checkpoint.safetensors")
    gaps = len(set(range(max(epochs) + 1)) - set(epochs))
    record = json.loads((out / "run.json").read_text())
    facts = ("steps", "epochs", "crystals_seen", "seconds", "best_val_loss", "skipped")
    facts = {k: record[k] for k in facts if k in record}  # only a run that has ended has them
    return facts | dict(epochs_missing=gaps, epochs_doubled=len(epochs) - len(set(epochs)))


def generate(a, work: Path) -> dict:
    "Generate many crystals."
    out = work / "new"
    words = f"generate --model {a.model} --num {a.num} --steps {a.steps} --threads 1 --workers 1 --quiet"
    command = [*PROGRAM, *words.split(), "--out", str(out)]
    done = Table(out / "crystals.csv")
    parts = stopped_run(command, work, done, lambda: done() / a.num, a.stops, a.every, a.so_far)
    kept = check_table(out, a.num)
    hit = sorted({p["done"] // BLOCK * BLOCK for p in parts if p["done"] < kept["rows"]})
    kept |= dict(leftovers=leftovers(out), blocks=same_blocks(out, command, a.num, hit))
    return dict(
        command=f"dpcdvae {words}", num=a.num, steps=a.steps, model=a.model, parts=parts, complete=kept
    )


def train(a, work: Path) -> dict:
    "Train for a long time."
    from dpcdvae.model.config import get_config
    from dpcdvae.model.training import _seconds

    out, limit = work / "run", _seconds(a.max_time)
    words = f"--preset {a.preset} --max-time {a.max_time} --threads 1 --workers 1 --resume"
    words += "".join(f" --set {setting}" for setting in a.set)
    command = [*PROGRAM, "train", "--data", str(a.data), *words.split(), "--out", str(out)]
    done = Log(work / "log.txt", get_config(a.preset).training.batch_size)
    over = lambda: done.seconds / limit
    parts = stopped_run(command, work, done, over, a.stops, a.every, a.so_far)
    kept = check_training(out) | dict(leftovers=leftovers(out))
    about = dict(command=f"dpcdvae train --data {a.data.name} {words}", data=a.data.name, preset=a.preset)
    return about | dict(max_time=a.max_time, parts=parts, complete=kept)


# ---- what came of it ----


def settled(part: dict, after: float = 60.0) -> list:
    "Drop the samples of a part's first seconds, in which libraries are imported and data are read."
    begin = part["samples"][0][0] if part["samples"] else 0.0
    return [s for s in part["samples"] if s[0] - begin >= after]


def speeds(part: dict, window: float = 30.0) -> list[tuple[float, float]]:  # s, crystals a processor second
    "Measure speed between samples that are some processor seconds apart."
    found, last = [], None
    for s in settled(part):
        if last is None:
            last = s
        elif s[2] - last[2] >= window:
            found.append(((s[0] + last[0]) / 2, (s[3] - last[3]) / (s[2] - last[2])))
            last = s
    return found


def growth(part: dict) -> float | None:  # MiB an hour
    "Fit a line to the memory of a part, over the processor's time."
    samples = settled(part)
    if len(samples) < 5:
        return None
    hours, memory = [s[2] / 3600 for s in samples], [s[1] for s in samples]
    return statistics.linear_regression(hours, memory).slope if len(set(hours)) > 1 else None


def part_row(part: dict) -> list[str]:
    "Say what a part did: seconds, processor seconds, crystals, memory, growth, speed."
    kept = settled(part) or part["samples"]
    memory = [s[1] for s in kept]
    fast = [v for _, v in speeds(part)]
    more = growth(part)
    return [
        part["stopped_by"] or "the end",
        f"{part['seconds']:.0f}",
        f"{part['samples'][-1][2]:.0f}",
        f"{part['done']:,}",
        f"{min(memory)} to {max(memory)}",
        "–" if more is None else f"{more:+.0f}",
        f"{statistics.median_high(fast):.1f} ({min(fast):.1f} to {max(fast):.1f})" if fast else "–",
    ]


def long_table(r: dict) -> str:  # markdown
    "Lay a long run out, part by part, with the check of its folder."
    head = ["until", "seconds", "of the processor", "crystals by then", "memory, MiB", "MiB a processor hour"]
    head += ["crystals a processor second: median (range)"]
    rows = [" | ".join(("", *head, "")).strip(), "|" + "---|" * len(head)]
    rows += [" | ".join(("", *part_row(p), "")).strip() for p in r["parts"]]
    kept = {k: v for k, v in r["complete"].items() if v not in ([], None)}
    found = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in kept.items() if k != "blocks")
    if blocks := kept.get("blocks"):
        found += (
            f"; {blocks['equal']} of {blocks['made_again']} blocks in which it was stopped are, made again "
        )
        found += "by a process that nobody stops, equal to the byte"
    return "\n".join([f"`{r['command']}`", "", *rows, "", f"Its folder: {found}."])


def long_plot(r: dict):
    "Draw memory and speed of a long run over time; a line where it was stopped."
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    fig = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08)
    for part in r["parts"]:
        if not part["samples"]:
            continue
        x, how = [s[0] / 60 for s in part["samples"]], dict(mode="lines", showlegend=False)
        fig.add_scatter(x=x, y=[s[1] for s in part["samples"]], line_color="#1f77b4", **how, row=1, col=1)
        line = [(t / 60, round(v, 1)) for t, v in speeds(part)]
        x, y = [t for t, _ in line], [v for _, v in line]
        fig.add_scatter(x=x, y=y, line_color="#d62728", **how, row=2, col=1)
        if part["stopped_by"]:
            fig.add_vline(part["samples"][-1][0] / 60, line_dash="dot", line_color="gray")
    fig.update_yaxes(title="memory, MiB", rangemode="tozero", row=1, col=1)
    fig.update_yaxes(title="crystals / processor s", rangemode="tozero", row=2, col=1)
    fig.update_xaxes(title="minutes of the clock; dotted: stopped and resumed", row=2, col=1)
    return go.Figure(fig.update_layout(height=420, margin=dict(l=60, r=20, t=20, b=50)))


def main(argv=None) -> None:
    "Run the job and write its curve."
    p = argparse.ArgumentParser("python -m benchmarks.longrun")
    p.add_argument("job", choices=("generate", "train"))
    p.add_argument("--out", type=Path)
    p.add_argument("--work", type=Path)
    p.add_argument("--so-far", action="store_true", help="run nothing: write down the parts that there are")
    p.add_argument("--stops", type=int, default=3)
    p.add_argument("--every", type=float, default=20.0, help="seconds between two samples")
    p.add_argument("--model", default="perov_mini")
    p.add_argument("--num", type=int, default=100_000)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--data", type=Path, default=Path("perov_mini"))
    p.add_argument("--preset", default="tiny")
    p.add_argument("--max-time", default="01:00:00")
    p.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of the training")
    a = p.parse_args(argv)
    work = (a.work or Path("runs") / f"long-{a.job}").resolve()
    work.mkdir(parents=True, exist_ok=True)
    found = dict(kind="long_run", job=a.job) | dict(generate=generate, train=train)[a.job](a, work)
    found |= dict(every=a.every, made_on=circumstances())
    text = json.dumps(found, indent=1)
    text = re.sub(r"\[\s+([-\d.]+),\s+([-\d.]+),\s+([-\d.]+),\s+([-\d.]+)\s+\]", r"[\1, \2, \3, \4]", text)
    if a.out:
        atomic_write(a.out, text + "\n")
    print(json.dumps(found["complete"]))


if __name__ == "__main__":
    main()
