"""Screening: who is kept, who is dropped, and why"""

import csv
import json

import pytest
from pymatgen.core import Lattice, Structure

from dpcdvae.cli.app import main
from dpcdvae.energy.hull import make_hull
from dpcdvae.energy.screening import height, screen

quiet = dict(workers=1, progress=False)
FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def fcc(a: float, *species: str) -> Structure:
    return Structure(Lattice.cubic(a), species, FCC)


@pytest.fixture
def hull():
    return make_hull(["Cu", "Au"], [0.0, 0.0], dict(Cu=-0.007, Au=0.0))


def pool() -> list:
    copper = lambda a: fcc(a, "Cu", "Cu", "Cu", "Cu")
    overlap = Structure(Lattice.cubic(3), ["Cu", "Cu"], [[0, 0, 0], [0.05, 0, 0]])
    return [
        copper(3.9),
        fcc(3.8, "Cu", "Cu", "Au", "Au"),
        copper(3.6),
        overlap,
        fcc(4.4, "Cu", "Au", "Au", "Au"),
        fcc(3.5, "Ni", "Ni", "Ni", "Ni"),
        "no crystal",
    ]


def test_the_lowest_above_the_hull_are_kept_in_their_order(hull, tmp_path):
    kept, summary = screen(pool(), 2, tmp_path, hull, calculator="emt", **quiet)
    heights = [r["energy_above_hull"] for r in kept]
    assert len(kept) == summary["kept"] == 2 and heights == sorted(heights) and summary["of"] == 7
    rows = {int(r["index"]): r for r in csv.DictReader(open(tmp_path / "screened.csv"))}
    assert len(rows) == 7 and rows[3]["dropped"] == "atoms too close"
    assert rows[0]["dropped"] == "repeats a better one" and rows[2]["dropped"] == ""
    assert rows[5]["dropped"] == "no place on the hull"
    assert rows[6]["dropped"] == "failed while relaxed"
    placed = {i: float(r["energy_above_hull"]) for i, r in rows.items() if r["energy_above_hull"]}
    good = [i for i in placed if i not in (0, 3)]
    assert {r["index"] for r in kept} == set(sorted(good, key=placed.get)[:2])
    assert sum(summary["dropped"].values()) == 5
    crystals = list(csv.DictReader(open(tmp_path / "crystals.csv")))
    assert len(crystals) == 2 and json.loads((tmp_path / "screening.json").read_text())["of"] == 7


def test_known_crystals_are_dropped(hull):
    known = [fcc(3.6, "Cu", "Cu", "Cu", "Cu")]
    kept, summary = screen(pool(), 7, None, hull, known, calculator="emt", **quiet)
    assert "Cu" not in [r["formula"] for r in kept] and summary["dropped"]["known"] >= 1


def test_without_a_hull_one_crystal_of_each_formula_is_kept():
    two = [fcc(3.6, *["Cu"] * 4), Structure(Lattice.cubic(2.87), ["Cu", "Cu"], [[0, 0, 0], [0.5] * 3])]
    kept, summary = screen(two + [fcc(4.0, *["Au"] * 4)], 7, calculator="emt", **quiet)
    assert sorted(r["formula"] for r in kept) == ["Au", "Cu"]
    assert summary["dropped"] == {"a lower one has its formula": 1}
    energies = {r["formula"]: r["energy"] for r in kept}
    alone, _ = screen(two[:1], 1, calculator="emt", **quiet)
    assert energies["Cu"] <= alone[0]["energy"]


def test_relaxed_crystals_are_kept_where_relaxation_is_asked_for(hull):
    start = [fcc(3.9, *["Cu"] * 4)]
    still, _ = screen(start, 1, None, hull, calculator="emt", **quiet)
    moved, _ = screen(start, 1, None, hull, calculator="emt", max_steps=50, **quiet)
    assert moved[0]["energy_above_hull"] < still[0]["energy_above_hull"] - 0.05
    assert Structure.from_str(moved[0]["cif"], fmt="cif").volume < 0.9 * start[0].volume


def test_command(tmp_path, capsys):
    (tmp_path / "hull").mkdir()
    (tmp_path / "hull" / "entries.csv").write_text("formula,formation_energy_per_atom\nCu,0\nAu,0\n")
    (tmp_path / "hull" / "elements.csv").write_text("element,energy_per_atom\nCu,-0.007\nAu,0.0\n")
    new = tmp_path / "new"
    new.mkdir()
    for i, s in enumerate(pool()[:3]):
        s.to(filename=str(new / f"{i}.cif"))
    asked = ["--keep", "1", "--out", str(tmp_path / "best"), "--calculator", "emt", "--workers", "1"]
    assert main(["screen", str(new), *asked, "--hull", str(tmp_path / "hull")]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 crystals kept" in printed and "1 dropped: repeats a better one" in printed
    with pytest.raises(SystemExit):
        main(["screen", str(new), "--keep", "0", "--out", str(tmp_path / "x")])


def test_crystals_are_evaluated_without_a_reference():
    "Validity and uniqueness need no known crystals."
    from dpcdvae.evaluation.generation import evaluate_generation

    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows, summary = evaluate_generation([salt, salt], workers=1, progress=False)
    assert [r["unique"] for r in rows] == [True, False] and "novel" not in summary["metrics"]


def test_without_a_hull_formulas_are_not_compared(tmp_path):
    "Total energies order metals, not crystals: nothing is dropped by them, the command asks for a hull."
    three = [fcc(3.6, *["Cu"] * 4), fcc(4.0, *["Au"] * 4), fcc(3.5, *["Ni"] * 4), fcc(3.9, *["Cu"] * 4)]
    with pytest.raises(ValueError, match=r"3 formulas are left.*--hull.*--keep 3"):
        screen(three, 2, tmp_path, calculator="emt", **quiet)
    assert not (tmp_path / "crystals.csv").exists()
    kept, summary = screen(three, 3, tmp_path, calculator="emt", **quiet)
    assert sorted(r["formula"] for r in kept) == ["Au", "Cu", "Ni"]
    assert "others are lower" not in summary["dropped"]


def test_an_implausible_crystal_has_no_height(hull):
    row = dict(formula="NaCl", relaxed_energy=-9.0)
    assert height(row, None) == -9.0 and height(row | dict(plausible=False), None) is None
    assert height(row | dict(plausible=False), hull) is None
