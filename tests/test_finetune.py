"""A pretrained model trained further: it begins as its parent, may hold larger cells, learns new elements"""

import json

import pytest
import torch
from test_run import SMALL, cli, toys

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.composition import element_counts
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.splits import read_record
from dpcdvae.evaluation.report import _model_facts
from dpcdvae.generation.generate import outside_training
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.finetuning import finetune
from dpcdvae.model.pretrained import ModelError, inherit, list_pretrained
from dpcdvae.model.training import train

HOW = dict(max_epochs=1, quiet=True, bf16=False, batch_size=4)
DATA = dict(train=toys(4), val=toys(1))


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    out = tmp_path_factory.mktemp("parent") / "run"
    how = SMALL | dict(max_epochs=1, quiet=True, bf16=False)
    return train(DATA, out, **how), out


def losses(model, crystals):
    t = torch.full((len(crystals),), 500)
    return model.losses(crystals, torch.Generator().manual_seed(0), t).total


def test_a_child_begins_as_its_parent(parent):
    model, _ = parent
    child = DPCDVAE(model.config).eval()
    assert inherit(child, model) == []
    assert torch.equal(losses(child, toys(1)), losses(model.eval(), toys(1)))
    assert not child.prior.fitted  # it is fitted to the new crystals


def test_larger_cells_keep_what_the_parent_reads(parent, tmp_path, monkeypatch):
    model, _ = parent
    monkeypatch.setattr(model, "folder", list_pretrained()["perov_mini"], raising=False)
    monkeypatch.setattr(model, "card", dict(name="perov_mini"), raising=False)
    silicon = toy("Si").to_structures()[0].make_supercell([3, 3, 2])
    large = CrystalBatch.from_structures([silicon] * 4)
    assert large.num_atoms[0] > model.config.max_atoms
    with pytest.raises(ValueError, match="raise max_atoms"):
        finetune(model, dict(train=large, val=large), tmp_path / "small", **HOW)
    child = finetune(model, dict(train=large, val=large), tmp_path / "run", max_atoms=40, parts="all", **HOW)
    assert child.config.max_atoms == 40
    run = dict(card=json.loads((tmp_path / "run" / "best" / "config.json").read_text())["card"])
    assert "further from perov_mini" in dict(_model_facts(run))["Trained on"]
    known = load_crystals("perov_mini", "train", limit=3, progress=False)  # by the parent
    assert read_record(tmp_path / "run" / "best").of(known) == ["train"] * 3
    fresh = DPCDVAE(child.config)
    grown = inherit(fresh, model)
    assert any("num_atoms" in name for name in grown) and any("cell_skip" in name for name in grown)
    logits = [m.heads.num_atoms(torch.ones(1, m.config.latent.dim)) for m in (fresh, model)]
    assert torch.allclose(logits[0][:, :25], logits[1], atol=1e-5)


def test_only_the_denoiser_moves_unless_asked(parent, tmp_path):
    model, _ = parent
    child = finetune(model, DATA, tmp_path / "run", **HOW)
    moved = {
        k.split(".")[0] for k, v in child.named_parameters() if not torch.equal(v, model.get_parameter(k))
    }
    assert moved - {"prior"} == {"denoiser"}


def test_what_cannot_be(parent, tmp_path):
    model, _ = parent
    with pytest.raises(ValueError, match="the parent holds 24"):
        finetune(model, DATA, tmp_path / "run", max_atoms=8, **HOW)
    with pytest.raises(ValueError, match="give parts=all"):
        finetune(model, DATA, tmp_path / "run", max_atoms=40, **HOW)
    with pytest.raises(ValueError, match="choose one of denoiser, all"):
        finetune(model, DATA, tmp_path / "run", parts="heads", **HOW)
    with pytest.raises(ModelError, match="another architecture|larger than"):
        inherit(DPCDVAE(model.config.change(**{"latent.cell_skip": False})), model)
    assert not (tmp_path / "run").exists()


def test_a_run_goes_on_with_its_own_parent_only(parent, tmp_path):
    model, _ = parent
    finetune(model, DATA, tmp_path / "run", **HOW)
    assert len(json.loads((tmp_path / "run" / "run.json").read_text())["parent"]) == 64
    other = DPCDVAE(model.config)
    with pytest.raises(ValueError, match="belongs to another run .*parent"):
        finetune(other, DATA, tmp_path / "run", resume=True, **HOW)


def test_new_elements_are_learnt(parent, tmp_path):
    model, _ = parent
    gold = CrystalBatch.cat([toy("Cu")] * 24)
    gold = gold.replace(atomic_numbers=torch.full_like(gold.atomic_numbers, 79))
    fraction = lambda m: float(m.heads.composition(m.encode(gold[:1])[0]).softmax(-1)[0, 78])
    before = fraction(model.eval())
    how = HOW | dict(max_epochs=12, ema=0.5, learning_rate=2e-3, parts="all")
    child = finetune(model, dict(train=gold, val=gold[:4]), tmp_path / "run", **how)
    assert fraction(child) > max(before, 0.9)


def test_a_child_knows_what_its_parent_saw(parent, tmp_path):
    model, folder = parent
    silicon = CrystalBatch.cat([toy("Si")] * 8)
    how = HOW | dict(parts="all")
    child = finetune(folder, dict(train=silicon, val=silicon[:2]), tmp_path / "one", **how)
    foreign = silicon.replace(atomic_numbers=torch.full_like(silicon.atomic_numbers, 79))
    asked = CrystalBatch.cat([toy("NaCl"), toy("SrTiO3"), foreign[:1]])
    assert not child.prior.seen()[0][10]  # its own crystals hold no Na
    assert outside_training(child, element_counts(asked)) == ["", "", "it has not seen Au"]
    gold = dict(train=foreign, val=foreign[:2])
    again = finetune(tmp_path / "one", gold, tmp_path / "two", **how)  # and so on, from child to child
    assert outside_training(again, element_counts(asked)) == [""] * 3
    del child.card["training"]["parent_seen"]  # one that was made before this was kept
    child.card["training"]["parent_name"] = "mp-20"
    assert outside_training(child, element_counts(asked)) == [""] * 3


def test_command(parent, tmp_path, capsys):
    _, folder = parent
    (tmp_path / "mine").mkdir()
    for k, s in enumerate(toys(2).to_structures()):
        s.to(str(tmp_path / "mine" / f"{k}.cif"))
    where = ("--model", folder, "--data", tmp_path / "mine", "--out", tmp_path / "run", "--workers", 1)
    code, out, err = cli(capsys, "finetune", *where, "--max-epochs", 1, "--set", "training.batch_size=4")
    assert code == 0 and "model in" in out and "so few crystals" not in out + err, err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["num_train"] >= 6 and "steps" in record
    code, out, err = cli(capsys, "finetune", *where, "--max-epochs", 1)
    assert code == 2 and "already holds" in err
