"""A run survives: killed and resumed training, loss without a value, damaged models, interrupted jobs, full
disks, and wrong commands get one sentence."""

import csv
import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from modules import group
from safetensors.torch import load_file

data = group("data")
from test_data import p1

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.datasets import load_crystals
from dpcdvae.diffusion.trajectory import Trajectory
from dpcdvae.evaluation.evaluate import evaluation_folder as next_to
from dpcdvae.generation.decode import Sampling
from dpcdvae.generation.generate import generate, reconstruct
from dpcdvae.generation.jobs import open_job
from dpcdvae.model.config import get_config, read_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.training import _same_run, train

ROOT = Path(__file__).parents[1]
SMALL = {"denoiser.num_blocks": 1, "latent.prior_steps": 5, "training.batch_size": 4}
TOYS = ("SrTiO3", "NaCl", "CsCl", "Si", "Cu")


def toys(times=2):
    return CrystalBatch.cat([toy(k) for k in TOYS * times])


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DPCDVAE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    m = DPCDVAE(get_config("tiny", denoiser=dict(num_blocks=1), latent=dict(prior="standard"))).eval()
    m.prepare(toys())
    return m


@pytest.fixture(scope="module")
def model_folder(model, tmp_path_factory):
    return model.save(tmp_path_factory.mktemp("model"))


def cli(capsys, *args):
    "Run a command in this process: (exit code, what it printed, what it complained)."
    try:
        code = main([str(a) for a in args])
    except SystemExit as e:
        code = e.code
    out, err = capsys.readouterr()
    return code or 0, out, err


def one_sentence(result, *words):
    code, _, err = result
    lines = [l for l in err.splitlines() if l.startswith("dpcdvae")]
    assert code == 2 and "Traceback" not in err and len(lines) == 1, (code, err)
    for w in words:
        assert w in lines[0], (w, lines[0])


# ---- training ----

PROGRAM = """
import functools, os, signal, sys
sys.path.insert(0, {tests!r})
import torch; torch.set_num_threads(1)
from modules import group
T = group("training")
from test_run import toys, SMALL
class CheckpointCallback(T.CheckpointCallback):
    def __init__(self, *args, **options): super().__init__(*args, **options | dict(every=0.))
    def on_train_epoch_end(self, trainer, module):
        super().on_train_epoch_end(trainer, module)
        if trainer.current_epoch == {die}: os.kill(os.getpid(), signal.SIGKILL)
T.CheckpointCallback = CheckpointCallback
data, options = dict(train=toys(4), val=toys(1)), dict(seed=3, bf16=False, quiet=True)
T.train(data, {out!r}, "tiny", max_epochs=6, resume={resume}, **options, **SMALL)
"""


def program(out, die=-1, resume=False):
    code = PROGRAM.format(tests=str(ROOT / "tests"), die=die, out=str(out), resume=resume)
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_killed_and_resumed_is_the_same_run(tmp_path):
    "kill -9 in the fourth of six epochs, resumed: the weights of the run that nobody killed."
    assert program(tmp_path / "whole").returncode == 0
    assert program(tmp_path / "cut", die=3).returncode == -9
    assert "steps" not in json.loads((tmp_path / "cut" / "run.json").read_text()) and not list(
        (tmp_path / "cut").glob("*.tmp*")
    )
    done = program(tmp_path / "cut", resume=True)
    assert done.returncode == 0, done.stderr[-1500:]
    whole, cut = (json.loads((tmp_path / k / "run.json").read_text()) for k in ("whole", "cut"))
    for key in ("steps", "epochs", "crystals_seen", "best_val_loss"):
        assert cut[key] == pytest.approx(whole[key]), key
    assert whole["steps"] == 6 * 5 and whole["crystals_seen"] == 6 * 20
    tables = [(tmp_path / k / "logs" / "metrics.csv").read_text() for k in ("whole", "cut")]
    assert tables[0] == tables[1] and len(tables[0].splitlines()) == 1 + 6
    for kept in ("best", "last"):
        a, b = (load_file(tmp_path / k / kept / "model.safetensors") for k in ("whole", "cut"))
        for name in a:
            assert torch.equal(a[name], b[name]), f"{kept}: {name}"


def test_a_finished_folder_is_not_trained_over(tmp_path):
    train(dict(train=toys(), val=toys(1)), tmp_path, "tiny", max_epochs=1, quiet=True, **SMALL)
    with pytest.raises(ValueError, match="already holds a run: resume it, or choose another folder"):
        train(dict(train=toys(), val=toys(1)), tmp_path, "tiny", max_epochs=1, quiet=True, **SMALL)


def test_crystal_without_a_loss_is_named_and_left_out(tmp_path):
    bad = toy("NaCl")
    bad = bad.replace(frac_coords=bad.frac_coords * torch.nan, ids=("broken-one",))
    named = CrystalBatch.cat([c.replace(ids=(f"good-{i}",)) for i, c in enumerate(toys(3))] + [bad])
    with pytest.warns(UserWarning, match="broken-one"):
        model = train(
            dict(train=named, val=toys(1)),
            tmp_path,
            "tiny",
            max_epochs=2,
            quiet=True,
            **SMALL | {"training.batch_size": 16},
        )
    assert (
        "broken-one" in (tmp_path / "skipped.txt").read_text()
        and "good-" not in (tmp_path / "skipped.txt").read_text()
    )
    assert json.loads((tmp_path / "run.json").read_text())["skipped"] >= 1 and all(
        p.isfinite().all() for p in model.parameters()
    )


def test_large_batches_go_in_pieces(tmp_path):
    from dpcdvae.model.module import microbatches

    assert [len(p) for p in microbatches(toys(60))] == [100, 100, 100] and len(microbatches(toys(2))) == 1
    train(
        dict(train=toys(30), val=toys(1)),
        tmp_path,
        "tiny",
        max_epochs=1,
        quiet=True,
        **SMALL | {"training.batch_size": 150},
    )
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["steps"], record["crystals_seen"]) == (1, 150)


def test_time_up_before_the_first_validation_still_keeps_a_best(tmp_path):
    model = train(dict(train=toys(), val=toys(1)), tmp_path, "tiny", max_time="00:00:01", quiet=True, **SMALL)
    assert (
        (tmp_path / "best" / "model.safetensors").exists()
        and model.card["val_loss"] > 0
        and bool(model.prior.fitted)
    )


@pytest.mark.parametrize(
    "kw,words",
    [
        (dict(preset="huge"), "no preset 'huge'"),
        (dict(max_time="tomorrow"), "write HH:MM:SS"),
        (dict(max_time=None), "say when to stop"),
        (dict(no_such_field=1), "no setting no_such_field"),
    ],
)
def test_wrong_settings_get_a_sentence(tmp_path, kw, words):
    with pytest.raises(ValueError, match=words):
        train(
            dict(train=toys(), val=toys(1)),
            tmp_path / "run",
            **dict(dict(preset="tiny", max_time="00:00:01"), **kw),
        )


# ---- models ----


def damage(folder, tmp_path, **files):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name, change in files.items():
        path = copy / name.replace("__", ".")
        change(path)
    return copy


def cut(path):
    path.write_bytes(path.read_bytes()[:-1000])


def edit(**kw):
    return lambda path: path.write_text(json.dumps(json.loads(path.read_text()) | kw))


def edit_config(**kw):
    return lambda path: path.write_text(
        json.dumps((r := json.loads(path.read_text())) | dict(config=r["config"] | kw))
    )


@pytest.mark.parametrize(
    "files,words",
    [
        (dict(model__safetensors=cut), ("model.safetensors", "damaged")),
        (dict(config__json=lambda p: p.write_text("{")), ("config.json", "not JSON")),
        (dict(config__json=edit(version=99)), ("newer dpcdvae", "update")),
        (dict(config__json=edit(format="other")), ("not the configuration of a dpcdvae model",)),
        (dict(config__json=edit_config(wings=2)), ("wings", "no setting")),
        (dict(config__json=edit_config(edge_dim=64)), ("config.json", "digest")),
        (dict(model__safetensors=lambda p: p.unlink()), ("no model in",)),
    ],
    ids=lambda v: None if isinstance(v, tuple) else "-".join(v),
)
def test_damaged_model_gets_a_sentence(model_folder, tmp_path, files, words, capsys):
    folder = damage(model_folder, tmp_path, **files)
    one_sentence(
        cli(capsys, "generate", "--model", folder, "--num", 2, "--out", tmp_path / "new"), "copy", *words
    )
    assert not (tmp_path / "new").exists()


def test_damaged_checkpoint_gets_a_sentence(tmp_path, capsys):
    train(dict(train=toys(), val=toys(1)), tmp_path / "run", "tiny", max_epochs=1, quiet=True, **SMALL)
    cut(tmp_path / "run" / "checkpoint.safetensors")
    with pytest.raises(ValueError, match="checkpoint.safetensors is damaged"):
        train(
            dict(train=toys(), val=toys(1)),
            tmp_path / "run",
            "tiny",
            max_epochs=2,
            resume=True,
            quiet=True,
            **SMALL,
        )


def test_full_disk_leaves_the_old_model(model, tmp_path, monkeypatch):
    model.save(tmp_path, step=1)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*a, **k):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(data.DataError, match="No space left.*free some space"):
        model.save(tmp_path, step=2)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# ---- jobs ----

JOB = dict(steps=3, block=3, seed=5)


def test_interrupted_jobs_go_on_to_the_same_end(model, tmp_path, monkeypatch):
    G = group("generation")
    for name, job in dict(
        new=lambda out: generate(model, 8, out=out, films=1, **JOB),
        old=lambda out: reconstruct(model, toys(), out=out, films=1, **JOB),
    ).items():
        job(tmp_path / f"{name}-whole")
        real, calls = G.by_size, []

        def fails(*a, **k):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return real(*a, **k)

        monkeypatch.setattr(G, "by_size", fails)
        with pytest.raises(KeyboardInterrupt):
            job(tmp_path / f"{name}-cut")
        monkeypatch.setattr(G, "by_size", real)
        assert len(list(csv.DictReader(open(tmp_path / f"{name}-cut" / "crystals.csv")))) == 6
        job(tmp_path / f"{name}-cut")
        whole, cut = ((tmp_path / f"{name}-{k}" / "crystals.csv").read_bytes() for k in ("whole", "cut"))
        assert whole == cut


def test_a_row_cut_in_the_middle_is_made_again(model, tmp_path):
    generate(model, 6, out=tmp_path, **JOB)
    whole = (tmp_path / "crystals.csv").read_bytes()
    (tmp_path / "crystals.csv").write_bytes(whole[:-40])
    generate(model, 6, out=tmp_path, **JOB)
    assert (tmp_path / "crystals.csv").read_bytes() == whole


def test_same_seed_same_crystals_in_any_blocks(model):
    a, b = (generate(model, 7, films=0, steps=3, seed=5, block=block).crystals for block in (7, 2))
    assert (
        torch.equal(a.atomic_numbers, b.atomic_numbers) and (a.frac_coords - b.frac_coords).abs().max() < 1e-4
    )
    c = generate(model, 7, films=0, steps=3, seed=6).crystals
    assert a.formulas() != c.formulas() or not torch.allclose(a.frac_coords, c.frac_coords)


def test_another_job_in_the_folder_is_refused(model, tmp_path):
    generate(model, 3, out=tmp_path, **JOB)
    with pytest.raises(ValueError, match=r"holds another job \(what differs: seed\): choose another folder"):
        generate(model, 3, out=tmp_path, steps=3, block=3, seed=6)
    with pytest.raises(ValueError, match="holds another job"):
        reconstruct(model, toys(), out=tmp_path, **JOB)


def test_unfitted_prior_is_told():
    with pytest.warns(UserWarning, match="prior was never fitted"):
        generate(DPCDVAE(get_config("tiny", denoiser=dict(num_blocks=1))).eval(), 2, films=0, steps=1)


def test_a_wanted_formula(model_folder, tmp_path, capsys):
    m = DPCDVAE(get_config("tiny", denoiser=dict(num_blocks=1))).eval()
    m.prepare(toys())
    asked = [
        "generate",
        "--model",
        m.save(tmp_path / "model"),
        "--num",
        2,
        "--steps",
        1,
        "--out",
        tmp_path / "new",
    ]
    with pytest.warns(UserWarning, match="never fitted"):
        assert cli(capsys, *asked, "--formula", "Ba2YCu3O7")[0] == 0
    with open(tmp_path / "new" / "crystals.csv", newline="") as f:
        assert all("_chemical_formula_sum   'Ba2 Y1 Cu3 O7'" in r["cif"] for r in csv.DictReader(f))
    one_sentence(cli(capsys, *asked, "--formula", "SrTiO3"), "another job", "formula")
    one_sentence(cli(capsys, *asked[:-1], tmp_path / "more", "--formula", "Water"), "is not a formula")
    one_sentence(
        cli(capsys, *asked[:2], model_folder, *asked[3:], "--formula", "SrTiO3"),
        "knows no formulas",
        "prior=formula",
    )


def test_novelty_and_distributions_ask_their_own_split(model_folder, tmp_path, capsys):
    assert (
        cli(capsys, "generate", "--model", model_folder, "--num", 2, "--steps", 1, "--out", tmp_path)[0] == 0
    )
    assert (
        cli(
            capsys,
            "evaluate",
            tmp_path,
            "--quick",
            "--workers",
            1,
            "--reference",
            "perov_mini",
            "--test",
            "perov_mini",
        )[0]
        == 0
    )
    found = json.loads((next_to(tmp_path) / "metrics.json").read_text())
    assert [Path(found["settings"][k]).name.split(".")[0] for k in ("reference", "test")] == [
        "train",
        "test",
    ] and found["metrics"]["METRe"]["total"] == len(
        data.load_crystals("perov_mini", split="test", progress=False)
    )
    one_sentence(cli(capsys, "evaluate", tmp_path, "--cutoffs", "perv-5"), "no cut-offs", "perov-5")
    one_sentence(cli(capsys, "evaluate", tmp_path, "--test", "nowhere"), "nowhere")


def test_full_disk_in_a_job_is_one_sentence(model_folder, tmp_path, capsys, monkeypatch):
    def full(*a, **k):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "new" / "crystals.csv"))

    monkeypatch.setattr(os, "replace", full)
    one_sentence(
        cli(capsys, "generate", "--model", model_folder, "--num", 2, "--steps", 1, "--out", tmp_path / "new"),
        "No space left",
        "new",
    )


# ---- commands ----

GOOD = p1()
BAD = dict(
    nan=(p1(sites=(("Cs", "nan", 0, 0, 1),)), "frac_coords"),
    flat=(p1(lengths=(0.0, 4.0, 4.0)), "lattice"),
    strange=(p1(sites=(("Xx", 0, 0, 0, 1),)), "atomic_numbers"),
    torn=(GOOD[: len(GOOD) // 2], "cif"),
    close=(p1(sites=(("Cs", 0, 0, 0, 1), ("Cl", 0.01, 0, 0, 1))), "distance"),
)


def folder_of(tmp_path, **cifs):
    folder = tmp_path / "cifs"
    folder.mkdir()
    for name, text in cifs.items():
        (folder / f"{name}.cif").write_text(text)
    return folder


def test_good_crystals_go_on_and_bad_ones_are_listed(tmp_path, capsys):
    folder = folder_of(tmp_path, good=GOOD, **{k: v[0] for k, v in BAD.items()})
    code, out, err = cli(capsys, "data", folder, "--out", tmp_path / "cache", "--workers", 1)
    rows = {
        Path(r["file"]).stem if "file" in r else r["material_id"]: r
        for r in csv.DictReader(open(tmp_path / "cache" / "rejected.csv"))
    }
    assert code == 0 and "5 rows rejected" in out and set(rows) == set(BAD)
    for name, (_, field) in BAD.items():
        assert field in " ".join(map(str, rows[name].values())), rows[name]


def test_sources_without_crystals_get_a_sentence(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.csv").write_text("id,structure\n1,abc\n")
    for source, words in (
        (tmp_path / "empty", "no .cif files"),
        (tmp_path / "x.csv", "x.csv"),
        (tmp_path / "nowhere.csv", "nowhere.csv"),
        (folder_of(tmp_path, torn=GOOD[: len(GOOD) // 2]), "no usable crystal"),
    ):
        for args in (
            ("data", source, "--out", tmp_path / "c"),
            ("train", "--data", source, "--out", tmp_path / "run", "--max-time", "00:00:01"),
        ):
            one_sentence(cli(capsys, *args), words)
    assert not (tmp_path / "run").exists()


def test_too_large_crystals_are_named(tmp_path, model_folder, capsys):
    "A 2 x 2 x 4 cell of CsCl in a model for smaller cells."
    sites = [
        (el, (i + s) / 2, (j + s) / 2, (k + s) / 4, 1)
        for i in range(2)
        for j in range(2)
        for k in range(4)
        for el, s in (("Cs", 0), ("Cl", 0.5))
    ]
    sites[0] = ("Rb", *sites[0][1:])  # or its primitive cell would do
    big = p1(lengths=(8.0, 8.0, 16.0), sites=sites)
    folder = folder_of(tmp_path, big=big)
    one_sentence(
        cli(capsys, "reconstruct", "--model", model_folder, "--data", folder, "--out", tmp_path / "rec"),
        "big",
        "32 atoms",
        "24",
    )
    one_sentence(
        cli(
            capsys,
            "train",
            "--data",
            folder,
            "--out",
            tmp_path / "run",
            "--max-epochs",
            1,
            "--preset",
            "tiny",
        ),
        "big",
        "32 atoms",
        "raise max_atoms",
    )


def test_conventional_cells_are_read_in_primitive_ones_and_said(tmp_path, model, model_folder, capsys):
    sites = [(z, *x, 1) for z, a in (("Cs", 0), ("Cl", 0.5)) for x in ((a, a, a / 2), (a, a, a / 2 + 0.5))]
    folder = folder_of(tmp_path, tall=p1(lengths=(4.12, 4.12, 8.24), sites=sites), one=p1())
    said = "tall: 4 sites in the cell that was read, 2 in the primitive one"
    assert said in cli(capsys, "data", folder, "--out", tmp_path / "cache")[1]
    assert "4 sites" in (tmp_path / "cache" / "notes.csv").read_text()
    rec = ("reconstruct", "--model", model_folder, "--data", folder, "--steps", 2, "--out", tmp_path / "rec")
    assert said in cli(capsys, *rec, "--film", 2)[2]
    film = Trajectory.load(tmp_path / "rec" / "films" / "film_00001.safetensors")
    assert film.num_atoms == 2 and int(film.crystal().input_num_atoms()) == 4
    assert abs(film.target.to_input_cells().lengths.max() - 8.24) < 1e-3
    found = model.reconstruct(load_crystals(folder, progress=False), steps=2)
    assert found.to_pandas()["input_num_atoms"].tolist() == [found.to_pandas()["num_atoms"][0], 4]
    assert found.crystals.to_input_cells().num_atoms.tolist()[1] == 4


def test_one_atom_crystals_go_all_the_way(tmp_path, model_folder, capsys):
    folder = folder_of(tmp_path, cu=p1(sites=(("Cu", 0, 0, 0, 1),)))
    code, out, _ = cli(
        capsys,
        "reconstruct",
        "--model",
        model_folder,
        "--data",
        folder,
        "--out",
        tmp_path / "rec",
        "--steps",
        2,
    )
    assert code == 0 and len(list(csv.DictReader(open(tmp_path / "rec" / "crystals.csv")))) == 1
    assert cli(capsys, "evaluate", tmp_path / "rec", "--workers", 1)[0] == 0 and json.loads(
        (next_to(tmp_path / "rec") / "metrics.json").read_text()
    )


@pytest.mark.parametrize(
    "args,words",
    [
        (("--num", 0), "at least 1"),
        (("--num", 2, "--sampler", "euler"), "euler"),
        (("--num", 2, "--steps", 5000), "from 1 to 999"),
        (("--num", 2, "--sampler", "langevin"), "does not fit"),
        (("--num", 2, "--boundary", "often"), "every, network, never"),
    ],
)
def test_wrong_sampling_gets_a_sentence(model_folder, tmp_path, args, words, capsys):
    one_sentence(cli(capsys, "generate", "--model", model_folder, "--out", tmp_path / "new", *args), words)
    assert not (tmp_path / "new").exists()


def test_missing_things_get_a_sentence(tmp_path, model_folder, capsys):
    one_sentence(cli(capsys, "evaluate", tmp_path / "nowhere"), "nowhere")
    one_sentence(cli(capsys, "film", tmp_path, "--out", tmp_path / "f.html"), "no film")
    one_sentence(
        cli(capsys, "reconstruct", "--model", model_folder, "--data", "perov-6", "--out", tmp_path / "rec"),
        "perov-6",
    )
    one_sentence(
        cli(
            capsys,
            "reconstruct",
            "--model",
            model_folder,
            "--data",
            "perov_mini",
            "--force",
            "colour",
            "--limit",
            "2",
            "--out",
            tmp_path / "rec",
        ),
        "colour",
    )


# ---- every preset, end to end ----


@pytest.mark.parametrize(
    "preset", ["paper", "paper-na", "paper-gine", "paper-na-gine", "cdvae", "transformer"]
)
def test_presets_train_sample_and_load(preset, tmp_path):
    "Two steps each on a handful of perovskites, with CrystalNN bonds, through the same functions."
    crystals = data.load_crystals(
        "perov_mini", split="val", graph="crystalnn", limit=4, workers=1, progress=False
    )
    model = train(
        dict(train=crystals, val=crystals[:2]),
        tmp_path / "run",
        preset,
        max_epochs=2,
        quiet=True,
        training=dict(batch_size=4),
        encoder=dict(num_blocks=1),
        denoiser=dict(num_blocks=1),
    )
    steps = 50 if preset == "cdvae" else 3
    films = model.reconstruct(crystals[:2], steps=steps, seed=1)
    assert model.config.preset == preset and len(films) == 2 and films.crystals.frac_coords.isfinite().all()
    assert model.generate(2, steps=steps, films=0).crystals.num_crystals == 2


# ---- a folder belongs to its crystals and its model ----


def test_other_crystals_do_not_continue_a_reconstruction(model, tmp_path):
    four = toys(1)
    model.reconstruct(four[[0, 1]], out=tmp_path / "rec", steps=2)
    model.reconstruct(four[[0, 1]], out=tmp_path / "rec", steps=2)  # the same: nothing to do
    with pytest.raises(ValueError, match="another job .*crystals"):
        model.reconstruct(four[[2, 3]], out=tmp_path / "rec", steps=2)


def test_another_model_does_not_continue_a_job(model, tmp_path):
    model.generate(2, out=tmp_path / "new", steps=2)
    with pytest.raises(ValueError, match="another job .*weights"):
        DPCDVAE(get_config("tiny", **SMALL)).generate(2, out=tmp_path / "new", steps=2)


def test_validation_crystals_are_measured_too(tmp_path):
    small = CrystalBatch.cat([toy("Cu")] * 8)
    with pytest.raises(ValueError, match="SrTiO3, has 5 atoms, and the model holds at most 2"):
        train(
            dict(train=small, val=toy("SrTiO3")),
            tmp_path,
            "tiny",
            max_epochs=1,
            quiet=True,
            **SMALL | dict(max_atoms=2),
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"diffusion.schedule": "sigmoid"},
        {"diffusion.process": "gaussian"},
        {"diffusion.process": "score"},
        {"sampling.sampler": "langevin"},
    ],
    ids=str,
)
def test_settings_that_do_not_go_together_are_refused(changes):
    with pytest.raises(ValueError, match="process"):
        get_config(**changes)


def test_a_run_of_the_former_default_goes_on_as_gemnet(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(dict(preset="default", seed=0)))
    _same_run(tmp_path / "run.json", dict(preset="gemnet", seed=0))
    with pytest.raises(ValueError, match="another run .*preset"):
        _same_run(tmp_path / "run.json", dict(preset="transformer", seed=0))
    open_job(tmp_path, dict(preset="gemnet", seed=0))
    with pytest.raises(ValueError, match="another job .*preset"):
        open_job(tmp_path, dict(preset="transformer", seed=0))
    assert read_config(dict(preset="default", max_atoms=20)) == get_config("gemnet", max_atoms=20).change(
        **{"latent.species_aware": False, "sampling.swap_species": 0}
    )
    with pytest.raises(ValueError, match="'default' is called 'gemnet' now"):
        get_config("default")


def test_broken_crystals_are_named_with_reread_types_too(tmp_path):
    "Types drawn from a composition that is not a number must not end the run."
    bad = toys(1)[:1].replace(frac_coords=toys(1)[:1].frac_coords * torch.nan, ids=("broken",))
    few = CrystalBatch.cat([bad, toys(1)[:2].replace(ids=("a", "b"))])
    with pytest.warns(UserWarning, match="broken: the .* loss is nan"):
        train(
            dict(train=few, val=toys(1)),
            tmp_path,
            "tiny",
            max_epochs=1,
            quiet=True,
            **SMALL | {"diffusion.types": "argmax", "training.batch_size": 3},
        )


def test_films_are_made_with_their_crystals_or_not_at_all(model, tmp_path):
    generate(model, 2, out=tmp_path, steps=2)
    with pytest.raises(ValueError, match="made without films: film into a new folder"):
        generate(model, 2, out=tmp_path, steps=2, films=1)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "x", "--timeout", "-1"),
        ("relax", "x", "--fmax", "0"),
        ("relax", "x", "--timeout", "nan"),
        ("train", "--data", "perov_mini", "--out", "x", "--max-epochs", "-5"),
    ],
)
def test_limits_that_limit_nothing_are_refused(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    assert "out of bounds" in capsys.readouterr().err


def test_the_bench_says_what_is_wrong_in_a_sentence(tmp_path, capsys):
    from benchmarks.__main__ import main as bench

    with pytest.raises(SystemExit) as stop:
        bench(
            [
                "anatomy",
                "--data",
                str(tmp_path / "none.csv"),
                "--run",
                "perov_mini",
                "--out",
                str(tmp_path / "out.json"),
            ]
        )
    assert (
        stop.value.code == 2
        and "none.csv" in capsys.readouterr().err
        and not (tmp_path / "out.json").exists()
    )


def test_what_a_finished_model_needs_is_fitted_in_best_and_last(tmp_path):
    """The prior and the probe of environments, also where best and last are the same, and where the prior
    has nothing to fit."""
    for prior in ("fitted", "standard"):
        train(
            dict(train=toys(8), val=toys(1)),
            tmp_path / prior,
            "tiny",
            max_epochs=1,
            quiet=True,
            latent=dict(prior=prior, species_aware=True),
            sampling=dict(swap_species=16),
            training=dict(batch_size=16),
        )
        for kept in ("best", "last"):
            model = DPCDVAE.from_pretrained(tmp_path / prior / kept)
            assert model.prior.fitted and model.environment_probe.fitted, (prior, kept)


def test_species_are_swapped_by_models_that_can_and_refused_by_others():
    from dpcdvae.generation.decode import Sampling
    from dpcdvae.generation.generate import sampling_for

    model = DPCDVAE(
        get_config("tiny", latent=dict(species_aware=True), sampling=dict(swap_species=16))
    ).eval()
    with pytest.warns(UserWarning, match="never fitted"):
        assert Sampling().fill(model).swap_species == 0
    with pytest.raises(ValueError, match="never fitted"):
        Sampling(swap_species=32).fill(model)
    with pytest.raises(ValueError, match="multiple of 16"):
        get_config("tiny", latent=dict(species_aware=True), sampling=dict(swap_species=20))
    score = DPCDVAE(
        get_config(
            "tiny",
            latent=dict(species_aware=True),
            diffusion=dict(process="score", schedule="geometric", num_steps=50),
            denoiser=dict(frame="cartesian"),
            sampling=dict(sampler="langevin"),
        )
    ).eval()
    with pytest.raises(ValueError, match="swap_species must be 0"):
        Sampling(swap_species=16).fill(score)
    model.prepare(toys(2))
    model.fit_prior(toys(2))
    assert Sampling().fill(model).swap_species == 16
    assert Sampling(z="sampled").fill(model).swap_species == 0, "a draw of z carries noise that misleads"
    assert sampling_for("generate").fill(model).swap_species == 0
    asked = sampling_for("generate", swap_species=16), Sampling(z="sampled", swap_species=16)
    assert all(s.fill(model).swap_species == 16 for s in asked)
    assert sampling_for("optimise").fill(model).swap_species == 16


def test_a_job_of_several_candidates_goes_on_and_is_shared(model, model_folder, tmp_path, capsys):
    crystals = toys(1)
    how = dict(num_candidates=3, steps=3, block=2)
    reconstruct(model, crystals, out=tmp_path / "whole", films=1, **how)
    for k in (1, 0):
        reconstruct(model, crystals, out=tmp_path / "shared", share=(k, 2), **how)
    text = (tmp_path / "whole" / "crystals.csv").read_text()
    assert (tmp_path / "shared" / "crystals.csv").read_text() == text
    (tmp_path / "whole" / "crystals.csv").write_text(text[: len(text) // 2])
    reconstruct(model, crystals, out=tmp_path / "whole", films=1, **how)
    assert (tmp_path / "whole" / "crystals.csv").read_text() == text
    with pytest.raises(ValueError, match="what differs: num_candidates"):
        reconstruct(model, crystals, out=tmp_path / "whole", steps=3, block=2, films=1)
    reconstruct(model, crystals, out=tmp_path / "one", steps=3, block=2)
    assert (tmp_path / "one" / "crystals.csv").read_text() != text, (
        "the candidates must differ, or nothing is tested"
    )
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record.pop("num_candidates") == 1
    (tmp_path / "one" / "run.json").write_text(json.dumps(record))  # as it was before candidates existed
    reconstruct(model, crystals, out=tmp_path / "one", steps=3, block=2)
    code, _, err = cli(
        capsys,
        "generate",
        "--model",
        model_folder,
        "--num",
        2,
        "--steps",
        2,
        "--tries",
        2,
        "--out",
        tmp_path / "new",
    )
    assert code == 0 and json.loads((tmp_path / "new" / "run.json").read_text())["num_candidates"] == 2, err


@torch.no_grad()
def test_accepted_crystals_get_no_further_candidate(model):
    "Where the first is accepted it stays, films and all; the others are those of two candidates."
    from dpcdvae.generation.best_of import compare_latents

    crystals = CrystalBatch.cat([toys(1), toys(1)])
    how = dict(steps=3, films=len(crystals))
    z = model.encode(crystals)[0]
    one, two = (reconstruct(model, crystals, num_candidates=n, **how) for n in (1, 2))
    distance = compare_latents(model, one.crystals, z)[0]
    limit = float(distance.median())
    some = reconstruct(model, crystals, num_candidates=2, accept=limit, **how)
    accepted = distance < limit
    assert 0 < accepted.sum() < len(crystals)
    for i in range(len(crystals)):
        wanted = one if accepted[i] else two
        assert torch.allclose(some.crystals[i].frac_coords, wanted.crystals[i].frac_coords, atol=1e-4)
        assert torch.allclose(some[i].frac_unwrapped, wanted[i].frac_unwrapped, atol=1e-3)
        assert some[i].meta.get("noise_seed") == wanted[i].meta.get("noise_seed")
    assert any(
        not torch.allclose(two.crystals[i].frac_coords, one.crystals[i].frac_coords, atol=1e-2)
        for i in range(len(crystals))
        if not accepted[i]
    ), "the candidates must differ, or nothing is tested"


@torch.no_grad()
def test_the_latent_distance_is_that_of_the_posterior(model):
    "A crystal is at no distance from its own mean; a shift of one standard deviation counts one a dimension."
    from dpcdvae.generation.best_of import compare_latents

    crystals = toys(1)
    mean, log_var = model.encode(crystals)
    zero, base = compare_latents(model, crystals, mean)
    assert torch.allclose(zero, torch.zeros(len(crystals)), atol=1e-4)
    assert torch.allclose(base, log_var.sum(-1), rtol=1e-4)
    away, nlp = compare_latents(model, crystals, mean + (log_var / 2).exp())
    assert torch.allclose(away, torch.full_like(away, mean.shape[1]), rtol=1e-3)
    assert torch.allclose(nlp - base, away, rtol=1e-3)


def test_candidates_are_refused_where_they_would_do_nothing(model):
    from dpcdvae.generation.decode import Sampling
    from dpcdvae.generation.optimize import optimize

    with pytest.raises(ValueError, match="at least 1"):
        Sampling(num_candidates=0).fill(model)
    with pytest.raises(ValueError, match="crystalnn"):
        Sampling(num_candidates=2).fill(DPCDVAE(get_config("tiny", encoder=dict(graph="crystalnn"))))
    with pytest.raises(
        ValueError, match="num_candidates is for reconstruction and generation, not for optimisation"
    ):
        optimize(model, toys(1), toys(1), "volume", num_candidates=2)
    with pytest.raises(ValueError, match="accept is for reconstruction, not for generation"):
        generate(model, 2, num_candidates=2, accept=3.0)
    for bad in (dict(accept=3.0), dict(accept=0.0, num_candidates=2), dict(accept=-1.0, num_candidates=2)):
        with pytest.raises(ValueError, match="must be above 0, and num_candidates above 1"):
            Sampling(**bad).fill(model)


@pytest.mark.parametrize(
    "job,field,value",
    [
        ("reconstruct", "formula", "NaCl"),
        ("reconstruct", "temperature", 0.5),
        ("generate", "z", "sampled"),
        ("generate", "force", ["lattice"]),
        ("generate", "start", 0.5),
        ("optimise", "z", "sampled"),
        ("optimise", "force", ["lattice"]),
        ("optimise", "start", 0.5),
        ("optimise", "temperature", 0.5),
        ("optimise", "formula", "NaCl"),
    ],
)
def test_a_setting_that_a_job_would_ignore_is_refused(model, job, field, value):
    from dpcdvae.generation.optimize import optimize

    calls = dict(
        reconstruct=lambda how: model.reconstruct("NaCl", steps=1, **how),
        generate=lambda how: model.generate(1, steps=1, **how),
        optimise=lambda how: optimize(model, toys(1), toys(1), "volume", **how),
    )
    what = dict(reconstruct="reconstruction", generate="generation", optimise="optimisation")[job]
    with pytest.raises(ValueError, match=f"^{field} is for .*, not for {what}: leave it out$"):
        calls[job]({field: value})


def test_partial_denoising_takes_all_from_the_target(model):
    with pytest.raises(ValueError, match="leave out force"):
        model.reconstruct("NaCl", start=0.5, steps=1, force=["lattice"])


def test_langevin_has_no_spacing(model):
    score = DPCDVAE(get_config("cdvae", denoiser=dict(num_blocks=1)))
    with pytest.raises(ValueError, match="leave spacing out"):
        Sampling(spacing="early", steps=50).fill(score)


@pytest.mark.parametrize("how", [dict(spacing="quadratic"), dict(sampler="heun"), dict(spacing="early")])
def test_the_record_holds_the_evaluations_that_are_made(model, tmp_path, monkeypatch, how):
    made = []
    forward = type(model.denoiser).forward
    count = lambda self, *a, **k: made.append(1) or forward(self, *a, **k)
    monkeypatch.setattr(type(model.denoiser), "forward", count)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.generate(1, out=tmp_path, steps=60, **how)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["steps"] == 60 and record["evaluations"] == len(made)
    text = f"60 evaluations with quadratic spacing fall on fewer times: {len(made)} are made"
    assert (text in [str(w.message) for w in said]) == (how == dict(spacing="quadratic"))
    model.generate(1, out=tmp_path, steps=60, **how)  # the same job


def test_of_a_lost_candidate_and_a_found_one_the_found_one_is_kept(model, monkeypatch):
    "A model whose encoder hears nothing of places that are not finite."
    made = group("generation")
    honest = made.by_size

    def first_is_lost(model, z, stats, ids, s, camera=None, **kw):
        crystals = honest(model, z, stats, ids, s, camera, **kw)
        return crystals.replace(frac_coords=crystals.frac_coords * torch.nan) if s.seed == 0 else crystals

    monkeypatch.setattr(made, "by_size", first_is_lost)
    assert torch.isfinite(reconstruct(model, toys(1), steps=2, num_candidates=2).crystals.frac_coords).all()
    assert not torch.isfinite(reconstruct(model, toys(1), steps=2).crystals.frac_coords).any()
