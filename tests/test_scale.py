"Several processes: the losses and the crystals of one, no crystal lost or doubled, and a killed one resumed."

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dpcdvae.data.datasets import load_crystals
from dpcdvae.generation.generate import generate
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE

ROOT, COMMAND = Path(__file__).resolve().parents[1], (str(Path(sys.executable).parent / "dpcdvae"),)
ENV = dict(
    os.environ,
    PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    OMP_NUM_THREADS="1",
)
SETTINGS = (
    "--preset",
    "tiny",
    "--limit",
    64,
    "--no-bf16",
    "--threads",
    1,
    "--set",
    "training.batch_size=32",
    "--set",
    "latent.prior=standard",
)


def begin(*words, **more):
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        env=ENV | more,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(*processes, seconds=400):
    said = [p.communicate(timeout=seconds) for p in processes]
    for p, (out, err) in zip(processes, said):
        assert p.returncode == 0, err[-2000:]
    return [out for out, _ in said]


def curve(run, name):
    log = pd.concat(map(pd.read_csv, sorted(Path(run).glob("logs*/metrics.csv"))))
    return log[["step", name]].dropna().drop_duplicates("step").sort_values("step")[name].tolist()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    "A run of one process."
    run = tmp_path_factory.mktemp("alone") / "run"
    end(begin("train", "--data", "perov_mini", "--out", run, "--max-epochs", 2, *SETTINGS))
    return run


def test_two_processes_have_the_losses_of_one(alone, tmp_path):
    "At the same batch of both together: the curves, and the weights they lead to."
    end(
        begin(
            "train",
            "--data",
            "perov_mini",
            "--out",
            tmp_path / "run",
            "--max-epochs",
            2,
            "--devices",
            2,
            *SETTINGS,
        )
    )
    for name in ("train/total", "train/coord", "train/kl"):
        assert curve(tmp_path / "run", name) == pytest.approx(curve(alone, name), rel=2e-4), name
    one, two = (json.loads((r / "run.json").read_text()) for r in (alone, tmp_path / "run"))
    assert (
        two["best_val_loss"] == pytest.approx(one["best_val_loss"], rel=2e-4)
        and two["crystals_seen"] == one["crystals_seen"] == 128
    )
    one, two = (load_file(r / "last" / "model.safetensors") for r in (alone, tmp_path / "run"))
    assert (
        one.keys() == two.keys()
        and max(float((one[k].double() - two[k].double()).abs().max()) for k in one) < 2e-3
    )


def test_pieces_have_the_losses_of_the_whole():
    "A batch that a processor takes in pieces meets the noise of the whole."
    from dpcdvae.crystal.rng import CounterRNG

    crystals = load_crystals("perov_mini", split="train", progress=False)[:24]
    torch.manual_seed(0)
    model = DPCDVAE(get_config("tiny", diffusion=dict(types="argmax"))).eval()
    model.prepare(crystals)
    numbers, key = torch.arange(24), (5, 7)
    whole = model.losses(crystals, CounterRNG(crystals, numbers, *key)).total
    for mine in (slice(0, 10), slice(10, 24), slice(1, None, 2)):
        assert torch.allclose(
            model.losses(
                crystals[numbers[mine]], CounterRNG(crystals[numbers[mine]], numbers[mine], *key)
            ).total,
            whole[mine],
            rtol=1e-4,
        )
    assert not torch.allclose(
        model.losses(crystals, CounterRNG(crystals, numbers, 5, 8)).total, whole, rtol=1e-2
    )


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    process = begin(
        "train",
        "--data",
        "perov_mini",
        "--out",
        tmp_path / "run",
        "--max-epochs",
        1,
        "--devices",
        2,
        *SETTINGS,
        "--set",
        "training.batch_size=33",
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode and "multiple of 2 for batch_size" in err and "Traceback" not in err


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = DPCDVAE(get_config("tiny", latent=dict(prior="standard"))).eval()
    made.prepare(load_crystals("perov_mini", split="train", progress=False)[:64])
    return made


@pytest.mark.parametrize("many", [1, 2, 3, 7])
def test_processes_share_a_job(model, tmp_path, many):
    "In any order, with one more that comes late and one that comes again."
    how = dict(num=11, steps=2, block=2, films=1)
    generate(model, out=tmp_path / "one", **how)
    for which in reversed(range(many)):
        generate(model, out=tmp_path / "many", share=(which, many), **how)
        if which:
            assert (tmp_path / "many" / "crystals.csv").read_text().count("new-") == 0
    generate(model, out=tmp_path / "many", share=(0, many), **how)
    assert (tmp_path / "many" / "crystals.csv").read_bytes() == (
        tmp_path / "one" / "crystals.csv"
    ).read_bytes()
    assert [p.name for p in (tmp_path / "many" / "films").iterdir()] == ["film_00000.safetensors"] and not (
        tmp_path / "many" / "parts"
    ).exists()


def test_a_job_changes_hands(model, tmp_path):
    "Begun alone and cut, gone on by two, one of which is lost, and ended alone."
    how = dict(num=11, steps=2, block=2)
    generate(model, out=tmp_path / "one", **how)
    whole, job = (tmp_path / "one" / "crystals.csv").read_text(), tmp_path / "job"
    generate(model, out=job, **how)
    (job / "crystals.csv").write_text(whole[: len(whole) // 3])
    generate(model, out=job, share=(1, 2), **how)
    generate(model, out=job, **how)
    assert (job / "crystals.csv").read_text() == whole and not (job / "parts").exists()
    with pytest.raises(ValueError, match="share is 2/2"):
        generate(model, out=job, share=(2, 2), **how)
    with pytest.raises(ValueError, match="give out"):
        generate(model, share=(0, 2), **how)


def test_torchrun_shares_a_job(model, tmp_path):
    "Two processes at the same time, numbered as torchrun and --share tell them."
    model.save(tmp_path / "model")
    words = ("generate", "--model", tmp_path / "model", "--num", 600, "--steps", 1, "--threads", 1)
    end(begin(*words, "--out", tmp_path / "one"))
    said = end(
        begin(*words, "--out", tmp_path / "two", RANK="0", WORLD_SIZE="2"),
        begin(*words, "--out", tmp_path / "two", "--share", "1/2"),
    )
    assert (tmp_path / "two" / "crystals.csv").read_bytes() == (
        tmp_path / "one" / "crystals.csv"
    ).read_bytes()
    assert any("600 crystals generated" in s for s in said)


PROGRAM = """
import functools, sys
from modules import group
T = group("training")
from dpcdvae.cli.app import main
class CheckpointCallback(T.CheckpointCallback):
    def __init__(self, *args, **options): super().__init__(*args, **options | dict(every=0.))
T.CheckpointCallback = CheckpointCallback
if __name__ == "__main__": sys.exit(main(sys.argv[1:]))
"""


def children(pid):
    parent = lambda p: int((p / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found = []
    for p in Path("/proc").glob("[0-9]*"):
        try:
            if parent(p) == pid and b"LOCAL_RANK=1" in (p / "environ").read_bytes():
                found.append(int(p.name))
        except OSError:
            pass  # it ended meanwhile
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the second process in /proc")
def test_a_killed_process_stops_the_others_and_the_run_goes_on(tmp_path):
    "No process waits for ever for one that is gone; resumed, the run ends where an undisturbed one does."
    (tmp_path / "program.py").write_text(PROGRAM)
    words = lambda out, *more: [
        sys.executable,
        str(tmp_path / "program.py"),
        *map(
            str,
            (
                "train",
                "--data",
                "perov_mini",
                "--out",
                out,
                "--max-epochs",
                8,
                "--devices",
                2,
                *SETTINGS,
                *more,
            ),
        ),
    ]
    start = lambda *a: subprocess.Popen(
        words(*a), env=ENV, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    whole, run = tmp_path / "whole", tmp_path / "run"
    end(start(whole))
    first, deadline = start(run), time.monotonic() + 300
    while not (run / "checkpoint.safetensors").exists():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    [helper] = children(first.pid)
    os.kill(helper, signal.SIGKILL)
    out, err = first.communicate(timeout=120)
    assert (
        first.returncode == 2 and "another process of this run is gone" in err and "Traceback" not in err
    ), err[-1500:]
    assert "steps" not in json.loads((run / "run.json").read_text())
    end(start(run, "--resume"))
    one, two = (load_file(r / "last" / "model.safetensors") for r in (whole, run))
    assert max(float((one[k].double() - two[k].double()).abs().max()) for k in one) < 2e-3
    assert json.loads((run / "run.json").read_text())["crystals_seen"] == 64 * 8


def test_cluster_scripts_are_whole_and_torchrun_works(model, tmp_path):
    "The scripts in share/cluster parse and name options that exist; the one that needs no queue runs."
    from dpcdvae.cli.arguments import parser

    known = {
        name: {o for a in p._actions for o in a.option_strings}
        for name, p in parser()._subparsers._group_actions[0].choices.items()
    }
    scripts = sorted((ROOT / "share/cluster").iterdir())
    assert len(scripts) == 4
    for script in scripts:
        assert subprocess.run(["bash", "-n", script]).returncode == 0, script
        lines = re.findall(
            r"dpcdvae (train|generate|evaluate|relax) (.*)", script.read_text().replace("\\\n", " ")
        )
        assert lines, script
        for command, line in lines:
            assert not (strange := set(re.findall(r"(?<!\S)--[a-z-]+", line)) - known[command]), (
                script,
                strange,
            )
    model.save(tmp_path / "model")
    done = subprocess.run(
        [ROOT / "share/cluster/torchrun.sh", "2", tmp_path / "model", "5", tmp_path / "new"],
        env=ENV | dict(PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-1500:]
    generate(model, out=tmp_path / "one", num=5)
    assert (tmp_path / "new" / "crystals.csv").read_bytes() == (
        tmp_path / "one" / "crystals.csv"
    ).read_bytes()
