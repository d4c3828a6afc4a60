"A long job: stopped at even shares, gone on with after its own end, and the way kept"

import json
import os
import signal
import subprocess
import sys
import time

import pytest

psutil = pytest.importorskip("psutil")

from benchmarks import longrun

JOB = """
import pathlib, signal, sys, time
done, end = pathlib.Path(sys.argv[1]), int(sys.argv[2])
def leave(*_): print("saved"), sys.exit(130)
signal.signal(signal.SIGINT, leave), signal.signal(signal.SIGTERM, leave)
step = int(done.read_text()) if done.exists() else 0
while step < end:
    time.sleep(0.02)
    step += 1
    done.with_suffix(".part").write_text(str(step))
    done.with_suffix(".part").replace(done)
    print(f"0:00:{step:02d} epoch 0 step {step} ", flush=True)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    "A job of 40 steps, of which each is written down; returns the folder and how to run it."
    monkeypatch.setattr(longrun, "PROGRAM", [sys.executable])
    command = [sys.executable, "-c", JOB, str(tmp_path / "step"), "40"]
    done = longrun.Log(tmp_path / "log.txt", batch=10)

    def run(stops: int) -> list[dict]:
        return longrun.stopped_run(command, tmp_path, done, lambda: done.seconds / 40, stops, every=0.02)

    return tmp_path, command, run


def test_a_job_is_stopped_at_even_shares_and_ends(job):
    _, _, run = job
    parts = run(2)
    assert [p["stopped_by"] for p in parts] == ["SIGINT", "SIGKILL", None]
    assert [p["exit_code"] for p in parts] == [130, -signal.SIGKILL, 0]
    thirds = [p["done"] / 400 for p in parts]
    assert 1 / 3 <= thirds[0] < 2 / 3 <= thirds[1] < 1 == thirds[2], thirds
    assert run(2) == parts, "a job that has ended is not run again"


def test_a_call_that_died_goes_on_with_what_it_had_measured(job):
    folder, command, run = job
    left = subprocess.Popen(command, stdout=open(folder / "log.txt", "ab"), start_new_session=True)
    while not (folder / "step").exists():
        time.sleep(0.02)
    half = dict(stopped_by=None, exit_code=None, done=50, seconds=1.0, samples=[[1.0, 9, 0.5, 50]])
    (folder / "parts.json").write_text(json.dumps([half | dict(pid=left.pid)]))
    parts = run(1)
    assert left.wait(10) is not None
    assert (folder / "log.txt").read_text().count("saved") == 2, "the process that was left saves, too"
    assert parts[0] == half | dict(stopped_by="the end of the call")
    assert [p["stopped_by"] for p in parts[1:]] == ["SIGINT", None], "it does not count as a planned stop"
    assert parts[1]["samples"][0][0] >= 1.0, "the clock goes on"
    assert parts[-1]["done"] == 400


def test_the_process_of_another_program_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(longrun, "PROGRAM", ["dpcdvae of another place"])
    part = dict(stopped_by=None, exit_code=None, samples=[], pid=os.getpid())
    assert longrun.end_of_orphan(part) == dict(stopped_by="the end of the call", exit_code=None, samples=[])


def test_what_there_is_so_far_says_that_it_goes_on(tmp_path):
    part = dict(stopped_by=None, exit_code=None, done=0, seconds=1.0, samples=[[0.0, 1, 0.0, 0]], pid=1)
    (tmp_path / "parts.json").write_text(json.dumps([part]))
    (found,) = longrun.stopped_run([], tmp_path, None, None, 1, 1.0, so_far=True)
    assert found["stopped_by"] == "goes on" and "pid" not in found


def test_memory_that_grows_is_seen():
    samples = [[60.0 * i, 500 + 2 * i, 60.0 * i, 10 * i] for i in range(30)]  # 2 MiB a processor minute
    assert longrun.growth(dict(samples=samples)) == pytest.approx(120)
    assert [v for _, v in longrun.speeds(dict(samples=samples))] == pytest.approx([1 / 6] * 28)


def test_a_job_hears_an_interrupt_though_the_shell_that_began_the_call_ignores_it(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as for background jobs of a script
    try:
        sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
        none = longrun.Table(tmp_path / "none.csv")
        part = longrun.part_of_run(
            sleeper,
            tmp_path / "log.txt",
            none,
            lambda: 1.0,
            (0.5, signal.SIGINT),
            0.3,
            0.0,
            lambda part: None,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert part["stopped_by"] == "SIGINT" and part["exit_code"] == -signal.SIGINT and part["seconds"] < 30
