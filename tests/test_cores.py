"""How many threads a training takes next to other work"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from dpcdvae.cli import app, cores
from dpcdvae.cli.cores import Look, choose_threads, look, others


@pytest.fixture
def free_choice(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def args(command="train", **more):
    return SimpleNamespace(**dict(command=command, threads=None, resume=False) | more)


def seen(monkeypatch, held: float):
    "Let other processes have held some cores for a second."
    first = Look(time.monotonic() - 1.0, 0.0, 0.0)
    monkeypatch.setattr(cores, "look", lambda: Look(first.clock + 1.0, held + 0.7, 0.7))
    monkeypatch.setattr("dpcdvae.data.rows.num_cores", lambda: 8)
    return first


def test_a_training_leaves_cores_to_others(free_choice, monkeypatch):
    assert choose_threads(args(), seen(monkeypatch, 0.0)) == 8
    assert choose_threads(args("demo"), seen(monkeypatch, 3.2)) == 5
    assert choose_threads(args("finetune"), seen(monkeypatch, 9.0)) == 1


def test_what_was_asked_for_is_taken(free_choice, monkeypatch):
    first = seen(monkeypatch, 9.0)
    assert choose_threads(args(threads=3), first) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert choose_threads(args(), first) is None


def test_other_commands_and_systems_are_left_alone(free_choice, monkeypatch):
    assert choose_threads(args("generate"), seen(monkeypatch, 9.0)) is None
    assert choose_threads(args(), None) is None


def test_a_resumed_training_keeps_its_threads(free_choice, monkeypatch, tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(dict(machine=dict(threads=6))))
    first = seen(monkeypatch, 9.0)
    assert choose_threads(args(resume=True, out=tmp_path), first) == 6
    assert choose_threads(args(out=tmp_path), first) == 1  # a new one
    (tmp_path / "run.json").write_text("{}")
    assert choose_threads(args(resume=True, out=tmp_path), first) == 1


def test_threads_sleep_soon_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    app.prepare(args("generate"))
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    makefile = (Path(__file__).parents[1] / "Makefile").read_text()
    assert f"export GOMP_SPINCOUNT ?= {cores.PATIENCE}\n" in makefile  # the same in notebooks
    for own in (dict(GOMP_SPINCOUNT="7"), dict(OMP_WAIT_POLICY="ACTIVE")):
        monkeypatch.setattr(os, "environ", dict(own))
        app.prepare(args("generate"))
        assert {k: v for k, v in os.environ.items() if "SPGLIB" not in k} == own


def test_they_are_asked_before_torch_is_loaded():
    "Its OpenMP reads the environment once."
    code = (
        "import os, sys; from dpcdvae.cli import app; "
        "seen = []; app.sleep_while_waiting = lambda: seen.append('torch' in sys.modules); "
        "app.run_command = lambda a: print(seen); app.main(['train', '--data', 'perov_mini', '--out', 'x'])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.stdout.splitlines()[-1] == "[False]", out.stderr


@pytest.mark.skipif(look() is None, reason="this system does not tell what processes take")
def test_a_busy_process_is_seen_and_own_work_is_not_counted():
    first = look()
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        assert others(first, look()) > 0.2  # it gets a share of a core however busy the machine is
    finally:
        busy.kill()
        busy.wait()
    first, begun = look(), os.times()
    while os.times().user - begun.user < 0.4:
        pass
    last = look()
    assert last.own - first.own >= 0.39 and last.all - first.all >= 0.35
