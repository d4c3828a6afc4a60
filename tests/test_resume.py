"""A training that was interrupted and resumed is the run that nobody interrupted.

To the bit, in weights and tables."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_run import SMALL, toys

from dpcdvae.model import training
from dpcdvae.model.checkpoint import CheckpointCallback, read_position
from dpcdvae.model.training import train

ROOT = Path(__file__).parents[1]
NAMED = toys(8).replace(ids=tuple(f"toy-{i}" for i in range(40)))
BROKEN = NAMED.replace(frac_coords=NAMED.frac_coords.index_fill(0, torch.tensor([2]), torch.nan))
DATA = dict(train=BROKEN, val=toys(1))  # the first crystal has no loss: it is skipped in every epoch
HOW = SMALL | dict(max_epochs=2, seed=3, bf16=False, quiet=True, training=dict(lr_schedule="plateau"))


class Killed(BaseException):
    "Ends a run as kill -9 does: nothing more is written."


class Interrupted(CheckpointCallback):
    "Interrupts the run after a step, in one of several ways."

    how, step, count = "none", 7, 0

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.count += 1
        here = trainer.global_step == self.step
        if here and self.how in ("SIGINT", "SIGTERM"):
            os.kill(os.getpid(), getattr(signal, self.how))
        if here and self.how == "max_time":
            self.max_seconds = 1e-9
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == self.step and self.how == "kill":
            raise Killed


def run(out, monkeypatch, how="none", step=7, resume=False, **changes):
    "Train with an interruption; the callback, or None where the run was stopped."
    torch.set_num_threads(1)
    kind = type("Kind", (Interrupted,), dict(how=how, step=step))
    monkeypatch.setattr(
        training, "CheckpointCallback", functools.partial(kind, every=0.0 if how == "kill" else 30.0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            train(DATA, out, "tiny", resume=resume, **HOW | changes)
        except Killed:
            return False
        except KeyboardInterrupt as e:  # says how to go on
            assert str(e).endswith(f"train(..., resume=True) goes on from {out / 'checkpoint.safetensors'}")
            return False
    return True


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "The run that nobody interrupts."
    out = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        assert run(out, patch)
    return out


def same_run(a: Path, b: Path, kept=("last", "best")) -> None:
    "Compare weights to the bit, and tables byte by byte."
    for name in kept:
        one, two = (load_file(f / name / "model.safetensors") for f in (a, b))
        different = [k for k in one if not torch.equal(one[k], two[k])]
        assert not different, (name, different[:3])
    assert (a / "logs/metrics.csv").read_text() == (b / "logs/metrics.csv").read_text()
    assert (a / "skipped.txt").read_text() == (b / "skipped.txt").read_text()
    one, two = (json.loads((f / "run.json").read_text()) for f in (a, b))
    for key in ("steps", "epochs", "crystals_seen", "best_val_loss", "skipped"):
        assert one[key] == two[key], key


@pytest.mark.parametrize(
    "how,step", [("SIGINT", 7), ("SIGINT", 10), ("SIGTERM", 14), ("kill", 7), ("kill", 10)]
)
def test_interrupted_and_resumed_is_the_same_run(whole, tmp_path, monkeypatch, how, step):
    assert not run(tmp_path, monkeypatch, how, step)
    assert "steps" not in json.loads((tmp_path / "run.json").read_text())
    assert run(tmp_path, monkeypatch, resume=True)
    same_run(whole, tmp_path)


@pytest.mark.parametrize("step", [7])
def test_time_up_within_an_epoch_and_resumed_is_the_same_run(whole, tmp_path, monkeypatch, step):
    "best/ may come from the validation at the stop, which the other run has not; all else is equal."
    assert run(tmp_path, monkeypatch, "max_time", step)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["steps"] == step
    assert run(tmp_path, monkeypatch, resume=True)
    best, other = (json.loads((f / "run.json").read_text())["best_val_loss"] for f in (tmp_path, whole))
    assert best <= other
    path = tmp_path / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(best_val_loss=other)))
    same_run(whole, tmp_path, kept=["last"])


def test_stopped_again_and_again(whole, tmp_path, monkeypatch):
    "Three stops in one run: after the first step, and before the last of each epoch."
    for step in (1, 9, 19):
        assert not run(tmp_path, monkeypatch, "SIGINT", step, resume=True)
    assert run(tmp_path, monkeypatch, resume=True)
    same_run(whole, tmp_path)


def test_the_order_of_the_data_matters(whole, tmp_path, monkeypatch):
    "A loader that begins the epoch anew is found out."
    monkeypatch.setattr("dpcdvae.data.loader.CrystalLoader.load_state_dict", lambda self, state: None)
    assert not run(tmp_path, monkeypatch, "SIGINT", 7)
    assert run(tmp_path, monkeypatch, resume=True)
    with pytest.raises(AssertionError):
        same_run(whole, tmp_path)


# ---- two processes ----

PROGRAM = """
import os, signal, sys, warnings
import torch
from test_resume import DATA, HOW, Interrupted
from dpcdvae.model import training
warnings.simplefilter("ignore")
torch.set_num_threads(1)
out, how, resume = sys.argv[1:4]

class Kind(Interrupted):
    how, step = ("SIGTERM" if how == "stop" and os.environ.get("LOCAL_RANK", "0") == "0" else "none"), 7

training.CheckpointCallback = Kind
if __name__ == "__main__":
    training.train(DATA, out, "tiny", devices=2, resume=resume == "resume", **HOW)
"""


def environment():
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=path)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_two_processes_stop_together_and_resume_at_the_same_batch(tmp_path):
    "SIGTERM reaches one of two processes in the first epoch: both stop after the same step."
    (tmp_path / "program.py").write_text(PROGRAM)

    def launch(out, how="go", resume="new"):
        words = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / out), how, resume]
        options = dict(cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=400)
        return subprocess.run(words, **options)

    done = launch("whole")
    assert done.returncode == 0, done.stderr[-1500:]
    assert launch("cut", "stop").returncode != 0
    assert "steps" not in json.loads((tmp_path / "cut" / "run.json").read_text())
    assert read_position(tmp_path / "cut" / "checkpoint.safetensors") == (7, 0)
    done = launch("cut", resume="resume")
    assert done.returncode == 0, done.stderr[-1500:]
    one, two = (load_file(tmp_path / k / "last" / "model.safetensors") for k in ("whole", "cut"))
    assert max(float((one[k].double() - two[k].double()).abs().max()) for k in one) < 1e-6
    one, two = ((tmp_path / k / "logs" / "metrics.csv").read_text() for k in ("whole", "cut"))
    assert one.splitlines()[0] == two.splitlines()[0] and len(one.splitlines()) == len(two.splitlines())


ALONE = """
import os, sys
from datetime import timedelta
os.environ.update(WORLD_SIZE="2", RANK="0", LOCAL_RANK="0", LOCAL_WORLD_SIZE="2", GROUP_RANK="0")
os.environ.update(TORCHELASTIC_RUN_ID="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2])
from test_resume import DATA, HOW
from dpcdvae.model import training
training.PATIENCE = timedelta(seconds=2)
try:
    training.train(DATA, sys.argv[1], "tiny", devices=2, **HOW)
except ConnectionError as e:
    sys.exit(f"named: {e}")
"""


def test_a_process_that_never_comes_is_named(tmp_path):
    "One of two processes is killed before they meet: the other waits for a bounded time."
    words = [sys.executable, "-c", ALONE, str(tmp_path / "run"), str(free_port())]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=200)
    assert done.returncode == 1 and "did not come within 2 s" in done.stderr, done.stderr[-1500:]


def test_a_process_that_is_gone_at_the_end_of_a_run_is_named(tmp_path, monkeypatch):
    "The others wait there for the first one, which writes the models and then run.json."
    ended = lambda: training.is_finished(tmp_path)

    def barrier(self, *args, **options):
        if ended():
            raise RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    monkeypatch.setattr("lightning.pytorch.strategies.SingleDeviceStrategy.barrier", barrier)
    monkeypatch.setattr("lightning.Trainer.world_size", property(lambda self: 1 + ended()))
    with pytest.raises(ConnectionError, match="another process of this run is gone.*resume to go on"):
        run(tmp_path, monkeypatch, max_epochs=1)


def rank_of(process: psutil.Process) -> str | None:
    "The rank of a process in its training; none for the short-lived helpers of libraries."
    try:
        return process.environ().get("LOCAL_RANK")
    except psutil.Error:  # it has ended
        return None


def started_by(process) -> int:
    "The second process of a training; waits for it."
    for _ in range(1200):
        assert process.poll() is None, process.communicate()[1][-1500:]
        if found := [c for c in psutil.Process(process.pid).children() if rank_of(c) == "1"]:
            return found[0].pid
        time.sleep(0.1)
    raise AssertionError("no second process came")


@pytest.mark.parametrize("victim,moment", [("second", "met"), ("second", "started"), ("first", "started")])
def test_where_one_process_is_killed_the_other_ends_with_a_sentence(tmp_path, victim, moment):
    "kill -9 reaches one of two processes in a step, or before they have met."
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "run"), "go", "new"]
    how = dict(cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process = subprocess.Popen(words, **how)
    second = psutil.Process(started_by(process))
    while moment == "met" and not (tmp_path / "run" / "logs" / "metrics.csv").exists():
        time.sleep(0.05)
    (second if victim == "second" else process).kill()
    left = process if victim == "second" else second
    begin = time.monotonic()
    left.wait(60)
    assert time.monotonic() - begin < 60
    _, err = process.communicate(timeout=60)
    assert "resume to go on from" in err and "of this run" in err, err[-1500:]
