"""A run survives, continued.

Killed at any moment, stopped by hand, out of time, cut at any byte, out of space; and what is asked for
in vain gets one sentence."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_data import BIG, p1, table
from test_run import SMALL, cli, model, model_folder, one_sentence, own_cache, toys  # noqa: F401  fixtures

from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.cache import save_crystals
from dpcdvae.data.datasets import load_crystals
from dpcdvae.evaluation.evaluate import evaluation_folder as next_to
from dpcdvae.generation.jobs import HEADER, csv_text, resume_at
from dpcdvae.model.checkpoint import SafeCheckpointIO
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.training import train

ROOT = Path(__file__).parents[1]
DATA = dict(train=toys(4), val=toys(1))
COMMAND = [str(Path(sys.executable).parent / "dpcdvae")]


def environment():
    return dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join((str(ROOT), str(ROOT / "tests"))))


def start(*command):
    "Start a command that hears Ctrl-C even where this process ignores it."
    hear = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [str(c) for c in command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear,
    )


def end(process, timeout=120):
    "(exit code, stdout, stderr); the whole group is gone after the time limit."
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"still running after {timeout} s: {process.communicate()[1][-1000:]}")
    return process.returncode, out, err


def wait_for(condition, process, timeout=90):
    begin = time.monotonic()
    while not (got := condition()):
        assert process.poll() is None and time.monotonic() - begin < timeout, (
            process.communicate()[1][-1500:] if process.poll() is not None else "nothing came"
        )
        time.sleep(0.1)
    return got


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    "A folder with 12 crystals to train on and 4 to validate."
    folder, cell = tmp_path_factory.mktemp("splits"), lambda k: p1(lengths=(3.9 + k / 50,) * 3)
    table(folder / "train.csv", [(f"t{k}", cell(k)) for k in range(12)])
    table(folder / "val.csv", [(f"v{k}", cell(k + 0.5)) for k in range(4)])
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    "A run of one epoch, for tests that copy it."
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(DATA, folder, "tiny", max_epochs=1, quiet=True, **SMALL)
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def train_command(splits, out, *more):
    return [
        "train",
        "--data",
        splits,
        "--out",
        out,
        "--preset",
        "tiny",
        "--set",
        "denoiser.num_blocks=1",
        "--set",
        "latent.prior_steps=5",
        "--set",
        "training.batch_size=4",
        "--workers",
        1,
        *more,
    ]


def record(folder):
    return json.loads((folder / "run.json").read_text())


# ---- killed, stopped, resumed ----

PROGRAM = """
import functools, sys, torch
torch.set_num_threads(1)
from modules import group
T = group("training")
from test_run import SMALL, toys
class CheckpointCallback(T.CheckpointCallback):
    def __init__(self, *args, **options): super().__init__(*args, **options | dict(every=0.))
T.CheckpointCallback = CheckpointCallback
data, options = dict(train=toys(4), val=toys(1)), dict(seed=3, bf16=False, quiet=True)
T.train(data, sys.argv[1], "tiny", max_time="00:00:08", resume=True, **options, **SMALL)
"""


def state(path):
    "(steps, seconds, best) of a checkpoint; it must be whole at any moment."
    checkpoint = SafeCheckpointIO().load_checkpoint(path)
    keeper = next(v for v in checkpoint["callbacks"].values() if "best" in v)
    return checkpoint["global_step"], keeper["seconds"], keeper["best"]


def test_killed_at_any_moment_the_checkpoint_is_whole_and_the_clock_goes_on(tmp_path):
    "Eight seconds of training, killed from outside after four of them: the second part has four left."
    checkpoint, seen = tmp_path / "checkpoint.safetensors", []
    process = start(sys.executable, "-c", PROGRAM, tmp_path)

    def four_seconds():
        if checkpoint.exists():
            seen.append(state(checkpoint))
        return seen and seen[-1][1] > 4

    wait_for(four_seconds, process)
    process.kill()
    assert end(process)[0] == -signal.SIGKILL and "steps" not in record(tmp_path)
    seen.append(state(checkpoint))
    assert [s[0] for s in seen] == sorted(s[0] for s in seen) and [s[2] for s in seen] == sorted(
        (s[2] for s in seen), reverse=True
    )
    steps, seconds, best = seen[-1]
    code, _, err = end(start(sys.executable, "-c", PROGRAM, tmp_path))
    assert code == 0, err[-1500:]
    whole = record(tmp_path)
    assert (
        whole["steps"] > steps
        and whole["best_val_loss"] <= best
        and whole["crystals_seen"] == 4 * whole["steps"]
    )
    # up to a quarter of the 8 seconds is kept for the prior; a clock that starts again ends after 12
    assert 6 <= whole["seconds"] < min(seconds, 6) + 5, (seconds, whole["seconds"])


def test_stopped_by_hand_says_how_to_go_on(splits, tmp_path):
    process = start(
        *COMMAND, *train_command(splits, tmp_path / "run", "--max-time", "00:05:00", "--threads", 1)
    )
    try:
        wait_for(lambda: process.stdout.readline().startswith("0:00"), process)
    finally:
        process.send_signal(signal.SIGINT)
    code, _, err = end(process, 20)
    assert code == 130 and "--resume" in err and "Traceback" not in err, (code, err[-500:])


def test_finished_run_stays_as_it_is_or_goes_on(run):
    before, weights = record(run), load_file(run / "best" / "model.safetensors")
    train(DATA, run, "tiny", max_epochs=1, resume=True, quiet=True, **SMALL)
    again = record(run)
    for key in ("steps", "epochs", "crystals_seen", "best_val_loss"):
        assert again[key] == before[key], key
    assert again["crystals_per_second"] >= 0 and all(
        torch.equal(weights[k], v) for k, v in load_file(run / "best" / "model.safetensors").items()
    )
    train(DATA, run, "tiny", max_epochs=2, resume=True, quiet=True, **SMALL)
    longer = record(run)
    assert (
        longer["steps"] == 2 * before["steps"]
        and longer["crystals_seen"] == 2 * before["crystals_seen"]
        and longer["best_val_loss"] <= before["best_val_loss"]
    )


def test_a_worse_end_leaves_the_best_as_it_was(run):
    "The best value is remembered over a resume: a checkpoint that knows a better one keeps best/ untouched."
    path = run / "checkpoint.safetensors"
    checkpoint = SafeCheckpointIO().load_checkpoint(path)
    next(v for v in checkpoint["callbacks"].values() if "best" in v)["best"] = -1.0
    SafeCheckpointIO().save_checkpoint(checkpoint, path)

    def card():
        known = json.loads((run / "best" / "config.json").read_text())["card"]
        training = known.pop("training")  # facts of the whole run: it goes on
        return known, training["started"], (run / "best" / "model.safetensors").read_bytes()

    before = card()
    train(DATA, run, "tiny", max_epochs=2, resume=True, quiet=True, **SMALL)
    assert card() == before and record(run)["best_val_loss"] == -1
    assert json.loads((run / "last" / "config.json").read_text())["card"]["step"] == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"denoiser.num_blocks": 2},
        {"denoiser.edge_dim": 64},
        {"diffusion.process": "gaussian", "diffusion.schedule": "sigmoid"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_another_model_does_not_go_on_from_this_checkpoint(run, changes):
    before = (run / "checkpoint.safetensors").read_bytes()
    with pytest.raises(ValueError, match="checkpoint.safetensors"):
        train(DATA, run, "tiny", max_epochs=2, resume=True, quiet=True, **SMALL | changes)
    assert (run / "checkpoint.safetensors").read_bytes() == before


CHECKPOINTS = dict(
    empty=lambda p: p.write_bytes(b""),
    half=lambda p: p.write_bytes(p.read_bytes()[: p.stat().st_size // 2]),
    weights=lambda p: shutil.copy(p.parent / "best" / "model.safetensors", p),
    treeless=lambda p: save_file({"a": torch.zeros(1)}, p, {"format": "dpcdvae-checkpoint"}),
    torn=lambda p: save_file({"a": torch.zeros(1)}, p, {"format": "dpcdvae-checkpoint", "tree": "{"}),
)


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_damaged_checkpoints_are_named(run, splits, kind, capsys):
    CHECKPOINTS[kind](run / "checkpoint.safetensors")
    one_sentence(
        cli(capsys, *train_command(splits, run, "--max-epochs", 2, "--resume")), "checkpoint.safetensors"
    )


def test_two_processes_train_together(splits, tmp_path):
    "On processors: the first one keeps the run, and the others end in peace."
    code, out, err = end(
        start(
            *COMMAND,
            *train_command(splits, tmp_path / "run", "--max-epochs", 1, "--devices", 2, "--threads", 1),
        ),
        400,
    )
    assert code == 0 and "Traceback" not in err, err[-1500:]
    assert record(tmp_path / "run")["steps"] == 3 and (tmp_path / "run" / "checkpoint.safetensors").exists()


# ---- losses without a value ----


def test_batches_without_any_loss_are_left_out(tmp_path, monkeypatch):
    """Nothing can be learnt from a batch of which every crystal is broken.

    The run goes on, and names them all."""
    bad = CrystalBatch.cat(
        [
            toys(1).replace(
                frac_coords=toys(1).frac_coords * torch.nan, ids=tuple(f"broken-{i}" for i in range(5))
            ),
            toys(1).replace(ids=tuple(f"good-{i}" for i in range(5))),
        ]
    )
    with pytest.warns(UserWarning, match="broken-"):
        train(
            dict(train=bad, val=toys(1)),
            tmp_path,
            "tiny",
            max_epochs=4,
            quiet=True,
            **SMALL | {"training.batch_size": 1},
        )
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert {l.split(": ")[1] for l in lines} == {f"broken-{i}" for i in range(5)} and all(
        l.startswith("step ") and l.endswith("the coord loss is nan") for l in lines
    )
    assert record(tmp_path)["skipped"] == len(lines) == 20 and record(tmp_path)["crystals_seen"] == 20
    assert all(v.isfinite().all() for v in load_file(tmp_path / "last" / "model.safetensors").values())


def test_gradient_without_a_value_changes_nothing(tmp_path, monkeypatch):
    "A finite loss may have no finite gradient: no such step is taken."
    real = DPCDVAE.losses

    def steep(self, *a, **k):
        losses = real(self, *a, **k)
        return type(losses)(
            losses.total + (next(self.denoiser.parameters()).sum() * 0).sqrt(),
            *(getattr(losses, n) for n in ("coord", "type", "num_atoms", "lattice", "composition", "kl")),
        )

    monkeypatch.setattr(DPCDVAE, "losses", steep)
    with pytest.warns(UserWarning, match="gradient is not finite"):
        train(DATA, tmp_path, "tiny", max_epochs=1, seed=1, quiet=True, **SMALL)
    torch.manual_seed(1)
    start, kept = (
        DPCDVAE(get_config("tiny", **SMALL)).state_dict(),
        load_file(tmp_path / "last" / "model.safetensors"),
    )
    assert record(tmp_path)["skipped"] == 5 and all(
        torch.equal(v, kept[k])
        for k, v in start.items()
        if not k.startswith(("scaler", "prior", "environment.loc", "environment.scale"))
    )


# ---- damaged models ----


def write(**change):
    "Change config.json: None removes an entry."

    def edit(path):
        r = json.loads(path.read_text()) | {k: v for k, v in change.items() if v is not None}
        path.write_text(json.dumps({k: v for k, v in r.items() if k not in change or change[k] is not None}))

    return edit


def setting(**kw):
    return lambda path: path.write_text(
        json.dumps((r := json.loads(path.read_text())) | dict(config=r["config"] | kw))
    )


CONFIGS = {
    "no version": write(version=None),
    "strange version": write(version="two"),
    "no config": write(config=None),
    "a list": lambda p: p.write_text("[]"),
    "a word for a number": setting(edge_dim="wide"),
    "unknown process": setting(process="boiling"),
    "not text": lambda p: p.write_bytes(b"\xff\xfe\x00"),
    "empty": lambda p: p.write_text(""),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_damaged_configurations_are_named(model_folder, tmp_path, kind, capsys):
    folder = Path(shutil.copytree(model_folder, tmp_path / "model"))
    CONFIGS[kind](folder / "config.json")
    one_sentence(
        cli(capsys, "generate", "--model", folder, "--num", 1, "--steps", 1, "--out", tmp_path / "new"),
        "config.json",
    )
    assert not (tmp_path / "new").exists()


def test_damaged_record_of_a_job_is_named(model_folder, tmp_path, capsys):
    command = ("generate", "--model", model_folder, "--num", 2, "--steps", 1, "--out", tmp_path / "new")
    assert cli(capsys, *command)[0] == 0
    before = (tmp_path / "new" / "crystals.csv").read_bytes()
    (tmp_path / "new" / "run.json").write_text('{"kind": "gen')
    one_sentence(cli(capsys, *command), "run.json")
    assert (tmp_path / "new" / "crystals.csv").read_bytes() == before


# ---- interrupted jobs ----


def test_list_cut_at_any_byte_goes_on_from_a_whole_block(tmp_path):
    """Whatever a torn write leaves.

    What is kept is a beginning of the whole list, and ends where a block ends."""
    rows = [
        [
            i,
            f"new-{i}",
            f"data_{i}\n_cell 'a, b'\n \"{i}\"\n" if i != 3 else "",
            "" if i != 3 else 'coordinates, "all", are not finite',
        ]
        for i in range(6)
    ]
    whole, path = csv_text([HEADER, *rows]).encode(), tmp_path / "crystals.csv"
    ends = {n: len(csv_text([HEADER, *rows[:n]]).encode()) for n in (0, 2, 4, 6)}
    for size in range(ends[0], len(whole) + 1):  # the header is written in one piece
        path.write_bytes(whole[:size])
        kept = resume_at(path, 6, 2)
        assert path.read_bytes() == whole[: ends[kept]] and all(ends[n] > size for n in ends if n > kept), (
            f"cut after {whole[:size][-20:]!r}: left {path.read_bytes()[-20:]!r}"
        )


JOB = """
import sys, torch
torch.set_num_threads(1)
from dpcdvae.model.dpcdvae import DPCDVAE
DPCDVAE.from_pretrained(sys.argv[1]).generate(24, out=sys.argv[2], films=3, steps=40, block=3, seed=5)
"""


def test_job_killed_at_any_moment_ends_with_the_same_crystals(model, model_folder, tmp_path):
    "kill -9 from outside, in the middle of a block, then the rest: byte for byte what nobody killed."
    out = tmp_path / "cut"
    process = start(sys.executable, "-c", JOB, model_folder, out)
    wait_for(
        lambda: (out / "crystals.csv").exists() and (out / "crystals.csv").stat().st_size > 2000, process
    )
    process.kill()
    assert end(process)[0] == -signal.SIGKILL
    torn = (out / "crystals.csv").read_bytes()
    again = DPCDVAE.from_pretrained(model_folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for folder in (out, tmp_path / "whole"):
        again.generate(24, out=folder, films=3, steps=40, block=3, seed=5)
    torch.set_num_threads(threads)
    whole = (tmp_path / "whole" / "crystals.csv").read_bytes()
    assert (out / "crystals.csv").read_bytes() == whole and whole.startswith(torn) and len(torn) < len(whole)
    for name in ("film_00000", "film_00001", "film_00002"):
        assert (out / "films" / f"{name}.safetensors").read_bytes() == (
            tmp_path / "whole" / "films" / f"{name}.safetensors"
        ).read_bytes()


# ---- no space left ----

LIMITED = (
    "import resource, sys\nresource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)\nimport "
    "torch; torch.set_num_threads(1)\nfrom dpcdvae.cli.app import main\nsys.exit(main(sys.argv[2:]))"
)


def limited(size, *args):
    "A command that may not write a file of more than `size` bytes."
    return end(start(sys.executable, "-c", LIMITED, size, *args))


def test_list_that_cannot_grow_is_named_and_goes_on_when_there_is_space(model_folder, tmp_path, capsys):
    command = lambda out: (
        "generate",
        "--model",
        model_folder,
        "--num",
        8,
        "--steps",
        2,
        "--out",
        out,
        "--threads",
        1,
    )
    one_sentence(limited(3000, *command(tmp_path / "new")), "crystals.csv")
    threads = torch.get_num_threads()
    for out in (tmp_path / "new", tmp_path / "whole"):
        assert cli(capsys, *command(out))[0] == 0
    torch.set_num_threads(threads)
    assert (tmp_path / "new" / "crystals.csv").read_bytes() == (
        tmp_path / "whole" / "crystals.csv"
    ).read_bytes()


def test_training_without_space_leaves_the_old_run_whole(run, splits, tmp_path):
    before = {p.relative_to(run): p.read_bytes() for p in run.rglob("*.safetensors")}
    one_sentence(limited(500_000, *train_command(splits, run, "--max-epochs", 2, "--resume")), str(run))
    assert {p.relative_to(run): p.read_bytes() for p in run.rglob("*.safetensors")} == before and not list(
        run.rglob("*.part")
    )


def test_cache_without_space_leaves_the_old_one_whole(splits, tmp_path, capsys):
    out = tmp_path / "cache"
    assert cli(capsys, "data", splits, "--out", out, "--workers", 1)[0] == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    one_sentence(limited(300, "data", splits, "--out", out, "--workers", 1), "train.safetensors")
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


# ---- commands ----


def test_a_split_that_cannot_be_read_leaves_no_half_of_a_set(splits, tmp_path, capsys):
    folder = Path(shutil.copytree(splits, tmp_path / "splits"))
    (folder / "val.csv").write_text("id,structure\n1,abc\n")
    one_sentence(cli(capsys, "data", folder, "--out", tmp_path / "out", "--workers", 1), "val.csv", "CIF")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    one_sentence(cli(capsys, *train_command(folder, tmp_path / "run", "--max-epochs", 1)), "val.csv", "CIF")
    assert not (tmp_path / "run").exists()


def test_three_hundred_atoms_are_refused_and_the_rest_goes_on(tmp_path, capsys):
    table(tmp_path / "x.csv", [("big", p1(lengths=(16.0,) * 3, sites=BIG)), ("good", p1())])
    code, out, _ = cli(capsys, "data", tmp_path / "x.csv", "--out", tmp_path / "out", "--workers", 1)
    rejected = list(csv.DictReader(open(tmp_path / "out" / "rejected.csv")))
    assert (
        code == 0
        and [(r["material_id"], r["field"]) for r in rejected] == [("big", "num_atoms")]
        and "300 atoms" in rejected[0]["reason"]
    )
    assert load_crystals(tmp_path / "out" / "all.safetensors").ids == ("good",)


@pytest.fixture
def made(model_folder, tmp_path, capsys):
    assert (
        cli(
            capsys, "generate", "--model", model_folder, "--num", 2, "--steps", 1, "--out", tmp_path / "made"
        )[0]
        == 0
    )
    return tmp_path / "made"


def half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_stored_crystals_can_be_the_reference(made, tmp_path, capsys):
    save_crystals(toys(), tmp_path / "train.safetensors")
    code, _, err = cli(
        capsys, "evaluate", made, "--reference", tmp_path / "train.safetensors", "--workers", 1
    )
    assert code == 0, err


def test_truncated_store_is_named_wherever_it_is_read(made, tmp_path, model_folder, capsys):
    store = half(save_crystals(toys(), tmp_path / "train.safetensors"))
    for args in (
        ("data", store, "--out", tmp_path / "out"),
        ("train", "--data", store, "--max-epochs", 1, "--out", tmp_path / "out"),
        ("evaluate", made, "--reference", store, "--workers", 1),
        ("reconstruct", "--model", model_folder, "--data", store, "--out", tmp_path / "out"),
    ):
        one_sentence(cli(capsys, *args), "train.safetensors", "damaged")
    assert not list((tmp_path / "out").glob("*")) and not (next_to(made) / "metrics.json").exists()


@pytest.mark.parametrize(
    "text,words",
    [
        ("id,words\n1,abc\n", "cif"),
        ("index,material_id,cif,error\n", "no crystals"),
        ("", "crystals.csv"),
    ],
    ids=["no cif", "no rows", "empty"],
)
def test_lists_that_cannot_be_judged_are_named(tmp_path, text, words, capsys):
    (tmp_path / "crystals.csv").write_text(text)
    one_sentence(cli(capsys, "evaluate", tmp_path, "--workers", 1), "crystals.csv", words)
    assert [p.name for p in tmp_path.iterdir()] == ["crystals.csv"]


TRAIN = [
    (("--preset", "huge"), "'huge' is none of"),
    (("--max-time", "tomorrow"), "HH:MM:SS"),
    (("--max-time", "00:00"), "HH:MM:SS"),
    (("--max-time", "-1:00:00"), "max-time"),
    (("--limit", 0), "limit"),
    (("--limit", -2), "limit"),
    (("--devices", 0), "devices"),
    (("--threads", -1), "threads"),
    (("--seed", 10**20), "seed"),
    *(
        (("--set", f"{k}={v}"), word)
        for k, v, word in (
            ("no_such", 1, "no_such"),
            ("preset", "x", "preset"),
            ("edge_dim", "abc", "edge_dim"),
            ("batch_size", 0, "batch_size"),
            ("num_steps", 0, "num_steps"),
            ("learning_rate", "fast", "learning_rate"),
            ("process", "boiling", "boiling"),
            ("schedule", "fast", "geometric"),
            ("scaler", "large", "minmax"),
            ("atoms", "big", "slim"),
            ("encoder_graph", "none", "nearest"),
            ("prior", "none", "formula"),
            ("frame", "golden", "golden"),
            ("types", "some", "some"),
            ("sampler", "euler", "euler"),
            ("boundary", "often", "often"),
            ("lr_schedule", "up", "lr_schedule"),
        )
    ),
]


def named(v):
    return "".join(map(str, v)).strip("-") if isinstance(v, tuple) else ""


@pytest.mark.parametrize("args,words", TRAIN, ids=named)
def test_wrong_arguments_of_train_get_a_sentence(splits, tmp_path, args, words, capsys):
    one_sentence(cli(capsys, *train_command(splits, tmp_path / "run", "--max-epochs", 1, *args)), words)
    assert not [p for p in (tmp_path / "run").rglob("*") if p.is_file()]


def test_training_without_an_end_is_refused(splits, tmp_path, capsys):
    one_sentence(cli(capsys, *train_command(splits, tmp_path / "run")), "max_time or max_epochs")


@pytest.mark.parametrize(
    "args,words",
    [
        (("--num", -3), "at least 1"),
        (("--num", "two"), "--num"),
        (("--num", 2, "--steps", 0), "steps"),
        (("--num", 2, "--steps", -1), "steps"),
        (("--num", 2, "--seed", 10**20), "seed"),
        (("--num", 2, "--threads", -1), "threads"),
    ],
    ids=named,
)
def test_wrong_arguments_of_generate_get_a_sentence(model_folder, tmp_path, args, words, capsys):
    one_sentence(cli(capsys, "generate", "--model", model_folder, "--out", tmp_path / "new", *args), words)
    assert not (tmp_path / "new").exists()
