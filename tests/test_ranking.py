"Candidates of one formula: which are ranked, which are left out and why."

import csv
import json

from pymatgen.core import Lattice, Structure

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import toy
from dpcdvae.energy import ranking
from dpcdvae.energy.relax import energies

quiet = dict(workers=1, progress=False)
CUBIC = Structure(Lattice.cubic(3.6), ["Cu"] * 4, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
SIMPLE = Structure(Lattice.cubic(2.4), ["Cu"], [[0, 0, 0]])


def row(structure: Structure, energy: float, **more) -> dict:
    return dict(cif=structure.to(fmt="cif"), energy=energy, relaxed_energy=energy) | more


def test_implausible_candidates_are_not_ranked_and_counted():
    rows = [
        row(SIMPLE, -9.0, converged=True, plausible=False, reason="implausible"),
        row(CUBIC, -1.0, converged=False, plausible=True, reason="not converged"),
        dict(converged=False, reason="timeout"),
    ]
    ranked = ranking.rank(rows)
    assert [(r["energy"], r["converged"]) for r in ranked] == [(-1.0, False)]
    assert ranking.left_out(rows) == {"implausible": 1, "timeout": 1}


def test_the_group_is_that_of_the_relaxation():
    groups = [r["space_group"] for r in ranking.rank([row(CUBIC, -1.0, relaxed_space_group=12)])]
    assert groups == [12] and ranking.rank([row(CUBIC, -1.0)])[0]["space_group"] == 225


def test_crystals_as_they_are_can_be_ranked():
    gas = Structure(Lattice.cubic(30.0), ["Cu"], [[0, 0, 0]])
    rows, _ = energies([SIMPLE, CUBIC, gas], calculator="emt", max_steps=0, **quiet)
    assert [r["space_group"] for r in ranking.rank(rows, [SIMPLE, CUBIC, gas])] == [225, 221]
    assert ranking.left_out(ranking.with_input(rows, [SIMPLE, CUBIC, gas])) == {"implausible": 1}


def test_predict_ranks_without_a_relaxation(tmp_path, capsys):
    known, out = tmp_path / "known.cif", tmp_path / "out"
    known.write_text(toy("NaCl").to_structures()[0].to(fmt="cif"))
    words = f"predict CuAu --num 2 --steps 2 --max-steps 0 --calculator emt --workers 1 --out {out} --json"
    assert main([*words.split(), "--known", str(known)]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = list(csv.DictReader((out / "ranked.csv").open()))
    assert len(rows) == found["structures"] >= 1 and all(r["cif"] and r["converged"] == "" for r in rows)
    assert sum(int(r["found"]) for r in rows) + sum(found["not_ranked"].values()) == found["candidates"] == 3
