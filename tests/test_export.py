"Export: what is known of crystals goes along, from wherever a command has put it."

import csv

import pytest

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import toy
from dpcdvae.evaluation.entries import write_table
from dpcdvae.evaluation.export import export


@pytest.fixture
def made(tmp_path):
    names = ["Cu", "NaCl", "Si"]
    structures = [toy(n).to_structures()[0] for n in names]
    write_table(tmp_path / "new" / "crystals.csv", names, structures)
    return tmp_path / "new"


def table(path, *lines):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def exported(made, **how) -> list[dict]:
    export(made, made.parent / "out.csv", **how)
    return list(csv.DictReader((made.parent / "out.csv").open()))


def test_energies_in_the_folder_of_relaxed_crystals_go_along(made):
    cif = toy("Si").to_structures()[0].to(fmt="cif").replace('"', "'")
    table(made / "relaxed" / "relaxed.csv", "index,relaxed_energy,cif", f'1,-3.5,"{cif}"')
    assert [r["relaxed_energy"] for r in exported(made)] == ["", "-3.5", ""]
    assert [r["formula"] for r in exported(made, relaxed=True)] == ["Cu", "Si", "Si"]
    table(made / "relaxed.csv", "index,relaxed_energy", "0,-1.5")  # of `dpcdvae relax`, asked for later
    assert [r["relaxed_energy"] for r in exported(made)] == ["-1.5", "", ""]


def test_heights_above_the_hull_go_along_from_an_evaluation(made):
    table(made.parent / "new_evaluation" / "per_crystal.csv", "index,energy_above_hull", "0,0.25", "2,0.0")
    assert [r["energy_above_hull"] for r in exported(made)] == ["0.25", "", "0.0"]


def test_heights_above_the_hull_go_along_from_a_screening(made, tmp_path):
    (tmp_path / "hull").mkdir()
    table(tmp_path / "hull" / "entries.csv", "formula,formation_energy_per_atom", "Cu,0", "Au,0")
    table(tmp_path / "hull" / "elements.csv", "element,energy_per_atom", "Cu,-0.5", "Au,-0.5")
    cells = [toy("Cu").to_structures()[0].copy() for _ in range(3)]
    cells[2].replace_species({"Cu": "Au"})
    for cell, size in zip(cells, (3.3, 3.6, 4.2)):
        cell.scale_lattice(size**3 / 4)
    write_table(tmp_path / "pool" / "crystals.csv", ["strained", "good", "gold"], cells)
    asked = f"--keep 2 --hull {tmp_path / 'hull'} --calculator emt --workers 1 --out {tmp_path / 'best'}"
    assert main(["screen", str(tmp_path / "pool"), *asked.split()]) == 0
    placed = {r["material_id"]: r for r in csv.DictReader((tmp_path / "best" / "screened.csv").open())}
    rows = exported(tmp_path / "best")
    assert [r["material_id"] for r in rows] == ["good", "gold"]
    for r in rows:
        want = float(placed[r["material_id"]]["energy_above_hull"])
        assert float(r["energy_above_hull"]) == pytest.approx(want)
