"""The pretrained models.

They load by name, say what is wrong in one sentence, unpickle nothing, carry their cards, and are
installed."""

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from pymatgen.core import Lattice, Structure
from safetensors.torch import load_file, save_file

from benchmarks.cards import (
    before_text,
    limits,
    pack,
    page,
    read_card,
    read_results,
    train_command,
)
from dpcdvae.cli.app import main
from dpcdvae.cli.arguments import parser
from dpcdvae.cli.cards import lineage, pretrained_row, pretrained_table, split_of
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.as_crystals import as_crystals
from dpcdvae.data.datasets import load_crystals
from dpcdvae.evaluation.reconstruction import evaluate_reconstruction
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.pretrained import ModelError, list_pretrained
from dpcdvae.model.training import train

ROOT = Path(__file__).parents[1]
BOX = {"perov-5", "carbon-24", "mp-20", "perov_mini", "carbon_mini"}
TOYS = CrystalBatch.cat([toy(k) for k in ("SrTiO3", "NaCl", "CsCl", "Si", "Cu")])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A finished training of a moment."
    folder = tmp_path_factory.mktemp("run")
    train(
        dict(train=TOYS, val=TOYS[:2]),
        folder,
        "tiny",
        max_epochs=1,
        quiet=True,
        denoiser=dict(num_blocks=1),
        latent=dict(prior_steps=5),
        training=dict(batch_size=4),
    )
    return folder


@pytest.fixture(scope="module")
def packed_once(run, tmp_path_factory):
    return pack(run, "moment", folder=tmp_path_factory.mktemp("packed") / "moment")


@pytest.fixture
def packed(packed_once, tmp_path):
    return Path(shutil.copytree(packed_once, tmp_path / "moment"))


# ---- what comes with the package ----


def test_the_package_holds_what_is_promised():
    assert set(list_pretrained()) == BOX


@pytest.mark.parametrize("name", sorted(BOX))
def test_model_in_the_box(name):
    folder = list_pretrained()[name]
    raw = (folder / "model.safetensors").read_bytes()
    config, card = (json.loads((folder / f).read_text()) for f in ("config.json", "card.json"))
    assert (
        len(raw) < 10_000_000
        and len(raw) == card["bytes"]
        and hashlib.sha256(raw).hexdigest() == card["sha256"] == config["sha256"]
    )
    assert not any(p.is_absolute() for p in map(Path, (card["training"]["data"], card["command"].split()[3])))
    assert (folder / "README.md").read_text() == page(card), "the page is behind its card: pack again"
    model = DPCDVAE.from_pretrained(name)
    assert (
        {p.dtype for p in model.parameters()} == {torch.float32}
        and all(torch.isfinite(p).all() for p in model.parameters())
        and bool(model.prior.fitted)
    )
    assert (
        model.card.page == page(card)
        and model.card["name"] == name
        and f'from_pretrained("{name}")' in model.card._repr_markdown_()
    )
    split = split_of(card["training"])
    assert (split == "") == (card["training"]["data"] in BOX)
    assert {s for s in ("stand-in", "official") if f"**{s} split**" in model.card.page} == {split} - {""}


@pytest.mark.parametrize("name", ["PEROV_5", "Perov-5", "Carbon_Mini", "mp_20"])
def test_any_spelling_of_a_name(name):
    from dpcdvae.model.pretrained import model_folder

    assert model_folder(name).name.lower().replace("_", "-") == name.lower().replace("_", "-")


@pytest.mark.parametrize("name", sorted(BOX))
def test_the_command_of_a_card_is_one(name):
    card = read_card(name)
    a = parser().parse_args(card["command"].split()[1:])
    assert (a.command, a.seed, a.max_time, a.preset) == (
        "train",
        card["training"]["seed"],
        card["training"]["max_time"],
        card["training"]["preset"],
    )


def test_cards_give_figures_with_intervals():
    for name in BOX:
        card = read_card(name)
        free = card["reconstruction"]["free"]
        assert len(free) >= 3 and all(
            m["low"] <= m["value"] <= m["high"] for r in free for m in [r["metrics"]["match_rate"]]
        )
        assert f"{100 * free[0]['metrics']['match_rate']['value']:.1f} [" in page(card) and all(
            s in page(card) for s in limits(card)
        )
        assert sum(card["failures"].values()) == card["measured"]["num"] * len(free)


def test_a_model_in_the_box_is_trained():
    "Perovskites that it never saw come back; an untrained model finds next to none of them."
    test = load_crystals("perov_mini", split="test", progress=False)[:12]
    made = DPCDVAE.from_pretrained("perov_mini").reconstruct(test, films=0, steps=30, seed=0).crystals
    assert (
        evaluate_reconstruction(made, test, progress=False, workers=1)[1]["metrics"]["match_rate"]["count"]
        >= 9
    )


def test_the_box_is_installed(tmp_path):
    code = (
        "import sys; sys.argv = ['setup.py', '-q', 'build_py', '-d', sys.argv[1]]; "
        "exec(open('setup.py').read())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-1500:]
    for name in BOX:
        installed = {p.name for p in (tmp_path / "dpcdvae/weights" / name).iterdir()}
        assert installed - {"symmetry.safetensors", "property.safetensors"} == {
            "model.safetensors",
            "config.json",
            "card.json",
            "README.md",
            "seen.safetensors",
        }
    assert (tmp_path / "dpcdvae/weights/mp-20/symmetry.safetensors").exists()
    assert (tmp_path / "dpcdvae/weights/perov-5/property.safetensors").exists()


def test_cli_lists_them(capsys):
    assert main(["models"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in BOX)
    assert main(["models", "MP_20"]) == 0 and capsys.readouterr().out.startswith("# mp-20")


def test_cli_takes_a_name(tmp_path, capsys):
    assert (
        main(
            [
                "generate",
                "--model",
                "carbon-mini",
                "--num",
                "2",
                "--steps",
                "2",
                "--out",
                str(tmp_path / "new"),
            ]
        )
        == 0
    )
    assert (tmp_path / "new" / "crystals.csv").exists()


# ---- packing ----


def test_packed_is_the_model_but_for_half_precision(run, packed, tmp_path):
    whole, half = DPCDVAE.from_pretrained(run), DPCDVAE.from_pretrained(packed)
    names = {k for k, _ in whole.named_parameters()}
    for k, v in load_file(packed / "model.safetensors").items():
        want = whole.state_dict()[k]
        assert v.dtype == (torch.float16 if k in names else want.dtype), k
        assert torch.equal(v, want.half() if k in names else want), k
    a, b = (m.losses(TOYS, torch.Generator().manual_seed(0)).total for m in (whole, half))
    assert torch.allclose(a, b, rtol=5e-3)


def test_packing_twice_gives_the_same_bytes(run, packed, tmp_path):
    again = pack(run, "moment", folder=tmp_path / "again")
    for f in ("model.safetensors", "config.json", "card.json", "README.md"):
        assert (packed / f).read_bytes() == (again / f).read_bytes(), f


def test_results_go_into_the_card(run, tmp_path):
    rate = dict(value=0.5, low=0.2, high=0.8, count=2, total=4)
    made_on = dict(threads=1, gpu=None, processor="abacus", date="today")

    def anatomy(of):
        return dict(
            name="anatomy",
            run=of,
            num=4,
            steps=None,
            made_on=made_on,
            readings={
                "free": [dict(seed=0, metrics=dict(match_rate=rate, rms=rate), outcome="mmxc")],
                "cell given": [dict(seed=0, metrics=dict(match_rate=rate, rms=rate), same_as="free")],
            },
        )

    for k, v in dict(
        a=anatomy("moment"),
        b=dict(
            name="moment",
            training=dict(data="moment"),
            num_test=4,
            seed=0,
            reconstruction={"free, mean": dict(match_rate=rate, rms=rate)},
        ),
        c=anatomy("elsewhere"),
    ).items():
        (tmp_path / f"{k}.json").write_text(json.dumps(v))
    found = read_results("moment", [tmp_path / "a.json", tmp_path / "b.json"])
    assert (
        found["failures"] == {"match": 2, "composition differs": 1, "atoms out of place": 1}
        and set(found["reconstruction"]) == {"free"}
        and found["full_precision"]["num"] == 4
    )
    text = (pack(run, "moment", [tmp_path / "a.json"], tmp_path / "m") / "README.md").read_text()
    assert "50.0 [20.0, 80.0] %" in text and "| composition differs | 25.0 % |" in text and "abacus" in text
    with pytest.raises(ModelError, match="tells of elsewhere, not of moment"):
        read_results("moment", [tmp_path / "c.json"])


def test_too_large_for_half_precision(tmp_path):
    model = DPCDVAE(get_config("tiny", denoiser=dict(num_blocks=1), latent=dict(prior="standard")))
    with torch.no_grad():
        next(model.heads.parameters()).view(-1)[0] = 1e6
    with pytest.raises(ModelError, match="too large for half precision"):
        model.save(tmp_path / "m", half=True)
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_unfinished_runs_are_not_packed(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ModelError, match="not the folder of a finished training"):
        pack(tmp_path, "x")


def test_commands_repeat_what_was_changed():
    run = dict(
        data="mine.csv",
        max_time="None",
        max_epochs=3,
        preset="paper",
        changes=dict(latent_dim=64),
        seed=2,
        machine=dict(threads=2),
    )
    a = parser().parse_args(train_command(run, "runs/x").split()[1:])
    assert (a.data, a.max_time, a.max_epochs, a.preset, a.seed, a.set, a.threads) == (
        "mine.csv",
        None,
        3,
        "paper",
        2,
        [("latent_dim", 64)],
        2,
    )


def test_commands_repeat_a_fine_tuning():
    run = dict(data="mine.csv", max_time="00:10:00", preset="transformer", parent="0a", parent_name="mp-20")
    changes = {"max_atoms": 24, "latent.environment_dim": 125, "training.batch_size": 64}
    run |= dict(parts="denoiser", changes=changes, seed=1, machine=dict(threads=1))
    a = parser().parse_args(train_command(run, "runs/x").split()[1:])
    assert (a.command, a.model, a.parts, a.max_time) == ("finetune", "mp-20", "denoiser", "00:10:00")
    assert a.set == [("training.batch_size", 64)]  # the others come with the parent


def test_a_card_counts_the_trainings_before():
    of = lambda minutes: dict(
        command=f"train for {minutes}",
        training=dict(
            num_train=1000 * minutes,
            seconds=60 * minutes,
            crystals_seen=9,
            data="perov_mini",
            preset="tiny",
        ),
    )
    card = of(40) | dict(max_atoms=24, parent=of(20) | dict(parent=of(7)))
    assert "for 67 minutes" in limits(card)[0] and "for 40" in limits(of(40) | dict(max_atoms=24))[0]
    assert [c["command"] for c in lineage(card)[1:]] == ["train for 20", "train for 7"]
    assert before_text(card["parent"]).startswith("20,000 crystals, 20 minutes, 9 crystals seen")


def test_the_list_shows_both_rules_with_chance(tmp_path):
    rate = lambda v: dict(value=v, low=v - 0.1, high=v + 0.1, count=int(200 * v), total=200)
    metrics = dict(
        strict_rate=rate(0.4), strict_chance=rate(0.2), match_rate=rate(0.8), match_chance=rate(0.6)
    )
    about = dict(num=200, metrics=metrics, made_on={})
    (tmp_path / "strict.json").write_text(json.dumps(dict(name="strict", models={"mp-20": about})))
    found = read_results("mp-20", [tmp_path / "strict.json"])
    assert found == dict(strict=about) and read_results("perov-5", [tmp_path / "strict.json"]) == {}
    training = dict(data="mp_20", num_train=9, seconds=120)
    row = pretrained_row("mp-20", dict(training=training, bytes=1, parent=dict(training=training)) | found)
    assert row[2] == "4 min" and row[4] == "40.0 [30.0, 50.0] % of 200, chance 20.0 %"
    assert row[5] == "80.0 [70.0, 90.0] % of 200, chance 60.0 %"
    assert pretrained_row("mp-20", dict(training=training, bytes=1))[4:6] == ("not measured",) * 2


# ---- what is wrong is said in one sentence ----


def cut(p):
    p.write_bytes(p.read_bytes()[:-1000])


def stump(p):
    p.write_bytes(p.read_bytes()[:40])


def empty(p):
    p.write_bytes(b"")


def flip(p):
    raw = bytearray(p.read_bytes())
    raw[-5] ^= 4
    p.write_bytes(raw)


def foreign(p):
    save_file({"bert.weight": torch.ones(2)}, p, {"format": "pt"})


def nameless(p):
    save_file({"bert.weight": torch.ones(2)}, p)


def newer(p):
    save_file(load_file(p), p, {"dpcdvae": "3"})


def older_words(p):
    save_file(load_file(p), p, {"format": "dpcdvae", "version": "1"})


def pickled(p):
    torch.save({"x": torch.ones(1)}, p)


def edit(**kw):
    return lambda p: p.write_text(
        json.dumps({k: v for k, v in (json.loads(p.read_text()) | kw).items() if v is not None})
    )


@pytest.mark.parametrize(
    "file,change,words",
    [
        *(("model.safetensors", f, "damaged") for f in (cut, stump, empty, flip, pickled, foreign)),
        ("config.json", edit(version=3), "newer dpcdvae (format 3"),
        ("config.json", edit(format="x"), "not the configuration of a dpcdvae model"),
        ("config.json", lambda p: p.write_text("{"), "not JSON"),
        ("config.json", edit(config=dict(wings=2)), "no setting wings"),
        ("config.json", edit(config=3), "lacks the settings"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_a_damaged_packed_model(packed, file, change, words, capsys, monkeypatch):
    sentence(packed, file, change, words, capsys, monkeypatch)


@pytest.mark.parametrize(
    "change,words",
    [
        (cut, "damaged"),
        (stump, "damaged"),
        (empty, "damaged"),
        (pickled, "damaged or not a safetensors file"),
        (foreign, "not of a dpcdvae model"),
        (nameless, "not of a dpcdvae model"),
        (newer, "newer dpcdvae (format 3"),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_a_damaged_model_without_a_digest(packed, change, words, capsys, monkeypatch):
    edit(sha256=None, digest=None)(packed / "config.json")
    sentence(packed, "model.safetensors", change, words, capsys, monkeypatch)


def sentence(folder, file, change, words, capsys, monkeypatch):
    change(folder / file)

    def never(*a, **k):
        raise AssertionError("something was unpickled")

    for where, what in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(where, what, never)
    with pytest.raises(ModelError) as e:
        DPCDVAE.from_pretrained(folder)
    said = str(e.value)
    assert words in said and file in said and "\n" not in said
    assert main(["generate", "--model", str(folder), "--num", "2", "--out", str(folder / "new")]) == 2
    assert capsys.readouterr().err == f"dpcdvae generate: {said}\n"


def test_the_first_models_are_still_read(packed):
    edit(sha256=None, digest=None)(packed / "config.json")
    older_words(packed / "model.safetensors")
    assert DPCDVAE.from_pretrained(packed).config.preset == "tiny"


@pytest.mark.parametrize("name", ["perov-6", "", "PEROV", "../perov-5", "perov-5/model.safetensors"])
def test_an_unknown_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as e:
        DPCDVAE.from_pretrained(name)
    assert "\n" not in str(e.value) and (
        not name or "none of the pretrained models" in str(e.value) and "carbon-24" in str(e.value)
    )


def test_an_empty_folder_is_no_model(tmp_path):
    with pytest.raises(ModelError, match="expected config.json and model.safetensors"):
        DPCDVAE.from_pretrained(tmp_path)


def test_a_folder_goes_before_the_box(packed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packed.rename(tmp_path / "perov-5")
    assert DPCDVAE.from_pretrained("perov-5").card["name"] == "moment"


def test_loading_unpickles_nothing(monkeypatch):
    def never(*a, **k):
        raise AssertionError("something was unpickled")

    for where, what in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(where, what, never)
    assert DPCDVAE.from_pretrained("carbon_mini").card["name"] == "carbon_mini"


def test_the_table_names_every_model():
    assert all(f"| {name} |" in pretrained_table() for name in BOX)


def test_a_card_takes_newer_results_and_the_weights_stay(tmp_path):
    from benchmarks.cards import add_results, read_card
    from dpcdvae.model.pretrained import model_folder

    shutil.copytree(model_folder("perov_mini"), tmp_path / "perov_mini")
    before, weights = (
        read_card(tmp_path / "perov_mini"),
        (tmp_path / "perov_mini/model.safetensors").read_bytes(),
    )
    new = dict(
        name="generation",
        run="perov_mini",
        num_new=7,
        seed=3,
        property=None,
        cutoffs=[0.2, 4.0],
        made_on=before["measured"]["made_on"],
        metrics=dict(valid=dict(value=0.123, low=0.1, high=0.2, count=1, total=7)),
    )
    (tmp_path / "new.json").write_text(json.dumps(new))
    add_results(tmp_path / "perov_mini", [tmp_path / "new.json"])
    after = read_card(tmp_path / "perov_mini")
    assert after["generation"]["num_new"] == 7 and {k: v for k, v in after.items() if k != "generation"} == {
        k: v for k, v in before.items() if k != "generation"
    }
    assert (
        "12.3" in (tmp_path / "perov_mini/README.md").read_text()
        and (tmp_path / "perov_mini/model.safetensors").read_bytes() == weights
    )
    DPCDVAE.from_pretrained(tmp_path / "perov_mini")


def test_a_model_says_what_is_outside_its_training(tmp_path):
    "CaF2 has elements that the perovskites have, and a cell that they have not."
    model = DPCDVAE.from_pretrained("perov_mini")
    fluorite = Structure.from_spacegroup(225, Lattice.cubic(5.46), ["Ca", "F"], [[0] * 3, [0.25] * 3])
    with pytest.warns(UserWarning, match="3 atoms in the cell, it has seen 5"):
        model.reconstruct(as_crystals(fluorite.get_primitive_structure()), steps=2)
    with pytest.warns(UserWarning, match="outside .*: 1 of 1 crystal .* it has not seen Si"):
        model.generate(1, steps=2, formula="CaSiO3")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.reconstruct(load_crystals("perov_mini", split="test", progress=False)[:4], steps=2)
        model.generate(2, steps=2, formula="SrTiO3")
    fluorite.to(filename=str(tmp_path / "CaF2.cif"))
    job = ("--model", "perov_mini", "--data", str(tmp_path), "--steps", "2", "--out", str(tmp_path / "rec"))
    with pytest.warns(UserWarning, match="outside what the model was trained on: 1 of 1 crystal "):
        assert main(["reconstruct", *job, "--workers", "1"]) == 0
