"""Numbers that go wrong are caught and named, with the crystal: a loss without a value, a gradient that is
not finite or explodes, a collapsed cell, data that repeat."""

import csv
import json
import math
import types
import warnings

import pytest
import torch
from test_run import SMALL, own_cache, toys  # noqa: F401  fixture

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.datasets import load_crystals
from dpcdvae.generation.jobs import rows_of
from dpcdvae.model import checkpoint as C
from dpcdvae.model import module as M
from dpcdvae.model import training as T
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE, fitting
from dpcdvae.model.training import train

NAMED = toys(4).replace(ids=tuple(f"toy-{i}" for i in range(20)))
HOW = SMALL | dict(seed=3, bf16=False, quiet=True)


def spoiled(monkeypatch, spoil) -> None:
    "Change the loss of toy-7."
    plain = DPCDVAE.losses

    def losses(self, crystals, *more):
        found = plain(self, crystals, *more)
        bad = torch.tensor([crystals.name(i) == "toy-7" for i in range(len(crystals))])
        weight = (
            self.heads.lattice.weight if hasattr(self.heads.lattice, "weight") else next(self.parameters())
        )
        total = torch.where(bad, spoil(found.total, weight), found.total) if bad.any() else found.total
        return found.__class__(**{**vars(found), "total": total})

    monkeypatch.setattr(DPCDVAE, "losses", losses)


def lines(out, **changes) -> list[str]:
    "Train; what was noted."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(dict(train=NAMED, val=toys(1)), out, "tiny", **HOW | changes)
    path = out / "skipped.txt"
    return path.read_text().splitlines() if path.exists() else []


def weights(out):
    return DPCDVAE.from_pretrained(out / "last").state_dict()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_without_a_value_is_named_and_left_out(tmp_path, monkeypatch, value):
    spoiled(monkeypatch, lambda total, weight: total + value)
    found = lines(tmp_path, max_epochs=2)
    assert len(found) == 2 and all("toy-7: the total loss is" in line for line in found), found
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["skipped"] == 2 and record["crystals_seen"] == 2 * 19
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values() if v.is_floating_point())


def test_a_gradient_without_a_value_is_named_and_changes_nothing(tmp_path, monkeypatch):
    "A loss of a finite value whose slope is infinite."
    spoiled(monkeypatch, lambda total, weight: total + (weight.sum() * 0).sqrt())
    found = lines(tmp_path, max_epochs=2)
    assert len(found) == 2 and all("toy-7: its gradient is not finite" in line for line in found), found
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values() if v.is_floating_point())


def test_an_exploding_gradient_is_named_and_clipped(tmp_path, monkeypatch):
    monkeypatch.setattr(M, "WARMED_UP", 3)
    spoiled(monkeypatch, lambda total, weight: total * 1e6)
    found = lines(tmp_path, max_epochs=3)
    assert 1 <= len(found) <= 3 and all("toy-7: its gradient of" in line for line in found), found
    assert all("times the usual" in line for line in found)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["skipped"] == 0 and record["crystals_seen"] == 60
    assert all(torch.isfinite(v).all() for v in weights(tmp_path).values() if v.is_floating_point())


def test_not_every_large_gradient_explodes():
    norms = M.GradientNorms()
    assert not any(norms.exploded(10 ** (i % 3)) for i in range(200))
    usual = math.exp(norms.log_mean)
    assert norms.exploded(99 * usual) is None and norms.exploded(1000 * usual) is not None
    assert [norms.exploded(1e9) is None for _ in range(20)] == [False] * 9 + [True] * 11  # ten in a run


def collapsed() -> CrystalBatch:
    "Rock salt in a cell of 0.05 Å, and one in a cell that is flat."
    small, flat = toy("NaCl"), toy("NaCl")
    small = small.replace(lengths=small.lengths * 0 + 0.05)
    flat = flat.replace(angles=torch.tensor([[60.0, 60.0, 119.9999]]))
    return CrystalBatch.cat([small, flat]).replace(ids=("small", "flat"))


def test_few_crystals_get_a_hint(tmp_path, capsys):
    how = HOW | dict(quiet=False, max_epochs=1)
    train(dict(train=toys(1), val=toys(1)), tmp_path, "tiny", **how)
    assert "dpcdvae finetune starts from a pretrained one" in capsys.readouterr().out


def test_a_collapsed_cell_is_named_and_not_trained_on(tmp_path):
    both = CrystalBatch.cat([NAMED, collapsed()])
    kept, reasons = fitting(both, 20)
    assert len(kept) == 20 and [name for name, _ in reasons] == ["small", "flat"]
    assert all("a collapsed cell: " in why and "Å³ for " in why for _, why in reasons)
    with pytest.warns(UserWarning, match="the first, small, has a collapsed cell"):
        train(dict(train=both, val=toys(1)), tmp_path, "tiny", max_epochs=1, **HOW)
    rows = list(csv.DictReader(open(tmp_path / "split.csv")))
    assert [r["material_id"] for r in rows if r["split"] == "skipped"] == ["small", "flat"]


def test_a_large_cell_of_a_set_with_its_own_splits_gets_a_hint(tmp_path):
    large = toy("NaCl").to_structures()[0] * (3, 3, 2)
    (tmp_path / "set").mkdir()
    for split in ("train", "val"):
        with open(tmp_path / "set" / f"{split}.csv", "w", newline="") as f:
            table = csv.writer(f)
            table.writerow(["material_id", "cif"])
            table.writerows([k, s.to(fmt="cif")] for k, s in enumerate([*toys(1).to_structures(), large]))
    hint = f"36 atoms, .*`dpcdvae data {tmp_path / 'set'} --primitive --out cache`"
    with pytest.warns(UserWarning, match=hint):
        train(tmp_path / "set", tmp_path / "run", "tiny", max_epochs=1, workers=1, **HOW)
    assert main(["data", str(tmp_path / "set"), "--primitive", "--out", str(tmp_path / "cache")]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as the hint says: nothing is too large any more
        sets, *_ = T._read(tmp_path / "cache", get_config("tiny"), 0, 1, False)
    assert {k: len(c) for k, c in sets.items()} == dict(train=6, val=6)


def test_a_collapsed_cell_has_a_row_with_its_reason():
    rows = rows_of(CrystalBatch.cat([toy("NaCl"), collapsed()]), 5, ("good", "small", "flat"))
    assert [bool(r[2]) for r in rows] == [True, False, False]
    assert rows[0][3] == "" and all(r[3].startswith("the cell collapsed: ") for r in rows[1:])


def considered(values, losses) -> list[str]:
    "Validate so often; the warnings."
    keeper = C.CheckpointCallback("unused")
    keeper.save = lambda *a, **k: None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step, (value, loss) in enumerate(zip(values, losses)):
            trainer = types.SimpleNamespace(global_step=step, current_epoch=step)
            module = types.SimpleNamespace(running_means=lambda loss=loss: dict(total=loss))
            kept = keeper.state_dict()  # as where the run is stopped and resumed at every validation
            keeper.consider(trainer, module, value)
            keeper.load_state_dict(kept | keeper.state_dict())
    return [str(w.message) for w in caught]


def test_a_validation_that_stops_improving_while_the_data_repeat_is_named():
    falling = [10 * 0.9**k for k in range(40)]
    found = considered([5, 4, 3, *[3.5] * 37], falling)
    assert len(found) == 1 and "has not improved in 10 validations, since step 2 (3)" in found[0]
    assert "the data repeat (every crystal has been seen 13 times)" in found[0]
    assert considered(falling, falling) == []  # both improve
    assert considered([5, 4, 3, *[3.5] * 37], [4.0] * 40) == []  # neither does: the end of learning
    again = considered([5, *[6] * 15, 4, *[6] * 15], falling)  # a new best begins anew
    assert len(again) == 2


def test_data_that_repeat_are_counted_and_named(tmp_path, capsys):
    two = load_crystals("perov_mini", split="test", progress=False)[:6]
    sets = dict(train=CrystalBatch.cat([two[:5], two[1:2]]), val=two[4:6])
    train(sets, tmp_path, "tiny", max_epochs=1, **HOW | dict(quiet=False))
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["num_repeated"], record["num_val_in_train"]) == (1, 1)
    out, name = capsys.readouterr().out, two.name(1)
    assert f"1 crystal to train on repeats another ({name} repeats {name})" in out
    assert f"1 crystal to validate with is also trained on ({two.name(4)} is {two.name(4)})" in out
