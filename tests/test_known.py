"Known crystals: they are built as they were measured, and orders are read the right way round."

import copy
import json
from pathlib import Path

import pytest
from pymatgen.core import Composition

from benchmarks import known
from benchmarks.swaps import swaps_table
from dpcdvae.evaluation.compare import space_group
from dpcdvae.evaluation.validity import min_distance

ROOT = Path(__file__).parents[1]
BONDS = {  # Å, by the constants and the geometry of each structure type
    "lithium fluoride": 4.03 / 2,
    "lithium chloride": 5.13 / 2,
    "silver bromide": 5.77 / 2,
    "cadmium telluride": 6.48 * 3**0.5 / 4,
    "potassium oxide": 6.44 * 3**0.5 / 4,
    "beta brass": 2.95 * 3**0.5 / 2,
    "diamond": 3.57 * 3**0.5 / 4,
    "graphite": 2.46 / 3**0.5,
    "C60": 1.43,
}


@pytest.mark.parametrize("crystal", [*known.COMPOUNDS, *known.CARBON, known.C60], ids=lambda c: c[0])
def test_crystals_are_built_as_they_were_measured(crystal):
    name, formula, group, constants, *_ = crystal
    made = known.built(crystal)
    assert made.composition.reduced_formula == Composition(formula).reduced_formula
    assert space_group(made) == group
    assert known.measured_like(made, crystal) == pytest.approx(constants, abs=1e-3)
    if name in BONDS:
        assert min_distance(made)[0] == pytest.approx(BONDS[name], abs=1e-3)


def test_a_crystal_of_another_space_group_has_no_constants_to_compare():
    diamond = known.built(known.CARBON[0])
    diamond.perturb(0.3)
    assert known.measured_like(diamond, known.CARBON[0]) is None
    sites = [[0, 0, 0.09375], [1 / 3, 2 / 3, 0.15625]]  # the polytype 4H, of the same space group
    polytype = known.Structure.from_spacegroup(194, known.Lattice.hexagonal(2.52, 8.24), ["C"] * 2, sites)
    assert space_group(polytype) == 194 and known.measured_like(polytype, known.CARBON[2]) is None
    assert known.error_of(None, dict(a=3.57)) is None
    assert known.error_of(dict(a=4.0, c=3.0), dict(a=5.0, c=3.0)) == pytest.approx(0.1)


def rows(*pairs):
    return [dict(name=f"{i}", measured=m, built=c) for i, (m, c) in enumerate(pairs)]


def test_reversed_data_reverse_the_order():
    same = rows(*((-x, -x - 0.1) for x in range(6)))
    turned = rows(*((-x, x) for x in range(6)))
    right, wrong = known.order(same, "built"), known.order(turned, "built")
    assert right["tau"] == pytest.approx(1) and right["p"] < 0.01 and not right["exchanged"]
    assert wrong["tau"] == pytest.approx(-1) and (wrong["right"], len(wrong["exchanged"])) == (0, 15)
    assert "follow the measured order" in known._order_sentence("x", right)
    assert "run against the measured order" in known._order_sentence("x", wrong)
    few = known.order(rows((-2, -2), (-1, -1), (0, 0)), "built")
    assert "undecided" in known._order_sentence("x", few), "three crystals decide nothing"
    one = rows((-3, -3), (-2, -1), (-1.9, -1.5), (0, 0))
    assert known.order(one, "built")["exchanged"] == ["1 and 2"]


def test_heats_count_from_the_elements():
    class Hull:
        def formation_energy(self, formula, energy):
            return energy + 3.0

    made = dict(built=dict(relaxed_energy=-6.2), enthalpy=-616.0, formula="LiF", name="lithium fluoride")
    made |= dict(placed=[dict(energy=-5.0, relaxed_energy=-6.0), dict(energy=-4.0, relaxed_energy=-6.1)])
    (row,) = known.heats([made, dict(made, enthalpy=None)], Hull())
    assert row["measured"] == pytest.approx(-3.192, abs=1e-3)
    assert [row[k] for k in ("built", "first", "placed")] == pytest.approx([-3.2, -2.0, -3.1])


def test_the_stored_answer_follows_its_data():
    stored = json.loads((ROOT / known.OUT).read_text())
    said, table = known.answer(stored), known.known_table(stored)
    assert all(c["name"] in table for c in stored["crystals"])
    assert "By chance" in said and known.by_chance(stored["chance"].items()) in said
    turned = copy.deepcopy(stored)
    for r in turned["heats"]:
        r["measured"] = -r["measured"]
    assert known.answer(turned) != said and "run against the measured order" in known.answer(turned)
    assert known.errors(stored["crystals"])["built"]["value"] == pytest.approx(
        stored["errors"]["built"]["value"], rel=1e-4
    )


def test_the_table_of_swaps_shows_every_rate():
    stored = json.loads((ROOT / "results/swaps.json").read_text())
    shown = swaps_table(stored)
    assert all(
        f"{data} {100 * m['match_chance']['value']:.1f} %" in shown for data, m in stored["chance"].items()
    )
    rate = lambda found, key: f"{100 * found['metrics'][key]['value']:.1f}"
    for name, m in stored["models"].items():
        for both in m["reconstruction"].values():
            assert all(rate(both[k], "strict_rate") in shown for k in ("128", "0"))
        assert name in shown and rate(m["generation"]["0"], "cov_recall") in shown
