"New crystals by exchanges of an ion, of which a model chooses."

import json
import random

import pytest
import torch
from pymatgen.core import Composition

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.exchanges import covalent_ratio, exchanged, one_ion, one_ion_exchanges
from dpcdvae.generation.best_of import denoising_error
from dpcdvae.generation.substitute import exchanges_of, substitute
from dpcdvae.model.dpcdvae import DPCDVAE

pytestmark = pytest.mark.filterwarnings("ignore:.*not made")


@pytest.fixture(scope="module")
def model():
    return DPCDVAE.from_pretrained("perov_mini")


@pytest.fixture(scope="module")
def train():
    return load_crystals("perov_mini", split="train", progress=False)[:40]


def test_the_exchange_of_smallest_error_is_kept_as_a_loop_by_hand_finds_it(model, train):
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(3))
    made, known, checked = substitute(model, train, 4, best_of=6, seed=3), set(train.formulas()), 0
    for i in range(4):
        crystal = train[order[i : i + 1]]
        tried = [s for s in exchanges_of(crystal, i, 6, 3) if s.composition.reduced_formula not in known]
        batch = CrystalBatch.from_structures(tried)
        new = [k for k, f in enumerate(batch.formulas()) if f not in known]
        errors = denoising_error(model, batch[torch.tensor(new)], torch.full((len(new),), i), seed=3)
        best = batch[new[int(errors.argmin())]]
        assert made[i].formulas() == best.formulas()
        assert torch.allclose(made[i].lengths, best.lengths, rtol=1e-5)
        checked += len(new) > 1
    assert checked > 1, "there was nothing to choose: nothing is tested"


def test_places_stay_and_one_element_changes(model, train):
    made, order = substitute(model, train, 6, best_of=2), torch.Generator().manual_seed(0)
    before = train[torch.randperm(len(train), generator=order)[:6]]
    for new, old in zip(made, before):
        assert torch.equal(new.frac_coords, old.frac_coords) and torch.equal(new.angles, old.angles)
        changed = new.atomic_numbers != old.atomic_numbers
        assert len(old.atomic_numbers[changed].unique()) == 1 == len(new.atomic_numbers[changed].unique())


def test_no_formula_of_the_known_crystals_or_the_reference_is_made(model, train):
    made = set(substitute(model, train, 24, best_of=2).formulas())
    assert made and not made & set(train.formulas())
    everything = load_crystals("perov_mini", split="train", progress=False)
    others = set(substitute(model, train, 24, best_of=2, reference=everything).formulas())
    assert made & set(everything.formulas()) and not others & set(everything.formulas())
    assert set(substitute(model, train, 24, best_of=2, reference="perov_mini").formulas()) == others


def test_a_job_goes_on_and_is_shared(model, train, tmp_path):
    how = dict(best_of=2, block=4)
    substitute(model, train, 10, tmp_path / "whole", **how)
    for k in (1, 0):
        substitute(model, train, 10, tmp_path / "shared", share=(k, 2), **how)
    text = (tmp_path / "whole" / "crystals.csv").read_text()
    assert (tmp_path / "shared" / "crystals.csv").read_text() == text
    (tmp_path / "whole" / "crystals.csv").write_text(text[: len(text) // 2])
    substitute(model, train, 10, tmp_path / "whole", **how)
    assert (tmp_path / "whole" / "crystals.csv").read_text() == text
    with pytest.raises(ValueError, match="what differs: best_of"):
        substitute(model, train, 10, tmp_path / "whole", best_of=3, block=4)


def test_crystals_without_ions_are_passed_over_and_a_lack_is_a_row_with_its_reason(model, tmp_path):
    some = CrystalBatch.cat([toy("Cu"), toy("SrTiO3")])
    made = substitute(model, some, 3, best_of=3)
    assert len(made) == 3 and all(len(c.atomic_numbers) == 5 for c in made)
    with pytest.raises(ValueError, match="none of 1 crystal has ions whose exchange is known"):
        substitute(model, toy("Cu"), 1)
    [salt] = toy("NaCl").to_structures()
    known = [exchanged(salt, change, covalent_ratio) for change in one_ion_exchanges("Na1 Cl1")[0]]
    with pytest.raises(
        ValueError, match="2 of 2 crystals not made, the first NaCl-new-0: all exchanges that"
    ):
        substitute(model, toy("NaCl"), 2, reference=known)
    substitute(model, toy("NaCl"), 2, tmp_path / "new", reference=known)
    assert (tmp_path / "new" / "crystals.csv").read_text().count(
        "all exchanges that were tried are known"
    ) == 2
    with pytest.raises(ValueError, match="must be at least 1"):
        substitute(model, some, 2, best_of=0)


def test_the_program_substitutes(tmp_path, capsys):
    ask = (
        f"substitute --model perov_mini --data perov_mini --num 3 --best-of 2 --out {tmp_path / 'new'} --json"
    )
    assert main(ask.split()) == 0
    assert json.loads(capsys.readouterr().out)["crystals"] == 3
    record = json.loads((tmp_path / "new" / "run.json").read_text())
    assert (record["kind"], record["num"], record["best_of"]) == ("substitute", 3, 2)


def test_a_cell_grows_with_the_radii_and_repeated_draws_are_one():
    [salt] = toy("NaCl").to_structures()
    bigger, smaller = (exchanged(salt, {"Na": x}, covalent_ratio).volume for x in ("K", "Li"))
    assert smaller < salt.volume < bigger
    drawn = [one_ion(salt, random.Random(f"0,0,{k}")) for k in range(30)]
    formulas = [s.composition for s in exchanges_of(toy("NaCl"), 0, 30, 0)]
    wanted = {Composition(f"{d.get('Na', 'Na')}{d.get('Cl', 'Cl')}").reduced_formula for d in drawn}
    assert {c.reduced_formula for c in formulas} == wanted and len(formulas) == len(wanted) < 30
