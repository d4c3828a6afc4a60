"""Ion exchange and random placement: charges, probabilities and volumes, by what they come from."""

import random
from typing import NamedTuple

import numpy as np
import pytest
from ase.data import covalent_radii
from pymatgen.analysis.structure_prediction.substitution_probability import SubstitutionProbability
from pymatgen.analysis.structure_prediction.volume_predictor import DLSVolumePredictor
from pymatgen.core import Element, Lattice, Species, Structure

from dpcdvae.data import exchanges
from dpcdvae.evaluation import baselines as B
from dpcdvae.evaluation.validity import MetricsError

pytestmark = pytest.mark.filterwarnings("ignore")


def rock_salt(cation="Na", anion="Cl", length=5.64):
    species, places = [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), species, places)


@pytest.mark.parametrize(
    "symbols, counts, charges",
    [
        (("Cl", "Na"), (1, 1), (-1, 1)),
        (("O", "Sr", "Ti"), (3, 1, 1), (-2, 2, 4)),
        (("Al", "O"), (2, 3), (3, -2)),
        (("Cu", "Zn"), (1, 1), None),  # an alloy
        (("C",), (1,), None),
        (("Na", "O"), (3, 1), None),
    ],
)
def test_charges_cancel_and_anions_are_the_more_electronegative(symbols, counts, charges):
    assert B.ion_charges(symbols, counts) == charges


def test_probabilities_are_pymatgens():
    table, found = SubstitutionProbability(), B.exchanges("Na", 1)
    assert found.probabilities.sum() == pytest.approx(1) and "Na" in found.symbols
    chance = dict(zip(found.symbols, found.probabilities))
    for a, b in (("K", "Ag"), ("Na", "Li")):
        gap = table.get_lambda(Species(a, 1), Species("Na", 1)) - table.get_lambda(
            Species(b, 1), Species("Na", 1)
        )
        assert np.log(chance[a] / chance[b]) == pytest.approx(gap)
    assert all(Species(s, 1) in table.species for s in found.symbols) and "Ca" not in found.symbols
    assert B.exchanges("Na", 7) is None


def test_the_volume_follows_the_radii():
    small, large = rock_salt("Li", "F", 4.03), rock_salt("K", "Cl", 6.29)
    predict = DLSVolumePredictor().predict
    assert B._volume_ratio(large, small) == pytest.approx(predict(large) / predict(small)) and predict(
        large
    ) > 2 * predict(small)
    for seed in range(8):
        made = B.exchange_ions(small, np.random.default_rng(seed))
        given = small.copy()
        given.replace_species(dict(zip(("Li", "F"), (made[0].specie.symbol, made[4].specie.symbol))))
        assert made.volume / small.volume == pytest.approx(predict(given) / predict(small), rel=1e-6)


def test_an_exchange_is_another_compound_of_the_same_prototype():
    cell, formulas = rock_salt(), set()
    for seed in range(40):
        made = B.exchange_ions(cell, np.random.default_rng(seed))
        formulas.add(made.composition.reduced_formula)
        np.testing.assert_allclose(made.frac_coords, cell.frac_coords)
        assert len(set(made.species)) == 2
    assert "NaCl" not in formulas and len(formulas) > 3


def test_random_placement_keeps_cells_and_species():
    made = B.make_baseline("random placement", [rock_salt()], 3, seed=1)
    assert {s.composition.formula for s in made} == {"Na4 Cl4"} and made[0].volume == pytest.approx(5.64**3)
    assert abs(made[0].frac_coords - made[1].frac_coords).max() > 0.1
    again = B.make_baseline("random placement", [rock_salt()], 3, seed=1)
    np.testing.assert_allclose(made[2].frac_coords, again[2].frac_coords)


def test_what_cannot_be_made_is_said():
    with pytest.raises(MetricsError, match="no baseline 'luck'"):
        B.make_baseline("luck", [rock_salt()], 1)
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.57), ["C"], [[0, 0, 0]])
    with pytest.raises(MetricsError, match="made 0 of 2 crystals"):
        B.make_baseline("ion exchange", [diamond], 2)


def test_one_ion_changes_and_the_radii_give_the_volume():
    "These crystals are the baseline of results/stability-exchange.json: what is drawn must not change."
    cell, formulas = rock_salt(), []
    for seed in range(6):
        made = B.exchange_ions(cell, random.Random(f"0,{seed}"), ions="one")
        (new,) = set(made.symbol_set) - {"Na", "Cl"}
        radii = covalent_radii[[Element(s).Z for s in (*made.symbol_set, "Na", "Cl")]] ** 3
        assert made.volume / cell.volume == pytest.approx(radii[:2].sum() / radii[2:].sum())
        assert abs(made.frac_coords - cell.frac_coords).max() == 0
        formulas.append(made.composition.reduced_formula)
    assert formulas == ["NaBr", "NaF", "NaI", "RbCl", "RbCl", "NaF"]


class Fixed(NamedTuple):
    "A generator of one number."

    value: float

    def random(self):
        return self.value


def test_one_ion_is_drawn_by_conditional_probability():
    table, found = SubstitutionProbability(), exchanges.conditional_exchanges("Na", 1)
    chance = dict(zip(found.symbols, found.probabilities))
    for symbol in ("K", "Ag", "Na"):
        assert chance[symbol] == pytest.approx(table.cond_prob(Species(symbol, 1), Species("Na", 1)))
    assert list(found.symbols) == sorted(found.symbols) and "Ca" not in found.symbols
    assert exchanges.conditional_exchanges("Na", 7) is None
    weights = {}
    for old, charge in (("Na", 1), ("Cl", -1)):
        here = dict(zip(*exchanges.conditional_exchanges(old, charge)))
        others = {s: w for s, w in here.items() if s not in ("Na", "Cl")}
        weights |= {(old, s): w for s, w in others.items() if w >= 0.02 * max(others.values())}
    cell = rock_salt()
    grid = [next(iter(B.one_ion(cell, Fixed(x)).items())) for x in np.linspace(0.0005, 0.9995, 1000)]
    assert ("Na", "Ag") in weights and ("Na", "Cu") not in weights and set(grid) == set(weights)
    share = np.array(list(weights.values())) / sum(weights.values())
    np.testing.assert_allclose([grid.count(k) / 1000 for k in weights], share, atol=0.0011)


def test_which_ions_is_said():
    with pytest.raises(MetricsError, match="choose one of every, one"):
        B.exchange_ions(rock_salt(), random.Random(0), ions="both")
