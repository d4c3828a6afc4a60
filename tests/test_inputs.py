"The crystal that was written is the crystal that is read: CIFs, other formats, what fails, what is compared."

import csv
import gzip
import io
import json
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import toy
from dpcdvae.data.cache import FORMAT, open_crystals
from dpcdvae.data.cell import RawCrystal, canonical, lattice_matrix, lattice_parameters, niggli
from dpcdvae.data.cif import cif_crystals, read_cif
from dpcdvae.data.datasets import load_crystals, read_source
from dpcdvae.data.files import DataError, RowError
from dpcdvae.diffusion.trajectory import Trajectory
from dpcdvae.energy.relax import energies, plausible, relax
from dpcdvae.evaluation.baselines import make_baseline
from dpcdvae.evaluation.compare import match, space_group
from dpcdvae.evaluation.continuous import amd, pdd
from dpcdvae.evaluation.entries import read_crystals
from dpcdvae.evaluation.evaluate import evaluate, evaluation_folder
from dpcdvae.evaluation.export import export
from dpcdvae.evaluation.generation import evaluate_generation
from dpcdvae.evaluation.matching import match_rows, random_placement
from dpcdvae.evaluation.validity import structure_validity
from dpcdvae.generation.constraints import Constraints, satisfied
from dpcdvae.model.training import train
from dpcdvae.viz.patterns import radial_distribution
from dpcdvae.viz.polyhedra import coordination_polyhedra

INPUTS = Path(os.environ.get("DPCDVAE_INPUTS") or Path(__file__).parents[1].parent / "shared" / "inputs")
needs_inputs = pytest.mark.skipif(not INPUTS.is_dir(), reason=f"no folder {INPUTS} of small inputs")
CUBE = (4.0, 4.0, 4.0, 90, 90, 90)
NAMES = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DPCDVAE_CACHE", str(tmp_path_factory.mktemp("cache")))


def cif(
    sites=("Cs1 Cs 0 0 0", "Cl1 Cl 0.5 0.5 0.5"),
    cell=CUBE,
    columns="label type_symbol fract_x fract_y fract_z",
    more="",
    name="x",
    ops=("x,y,z",),
):
    "Write a CIF by hand."
    lines = [f"data_{name}", *(f"_cell_{n} {v}" for n, v in zip(NAMES, cell)), *more.splitlines()]
    if ops:
        lines += ["loop_", "_space_group_symop_operation_xyz", *(f"'{o}'" for o in ops)]
    return "\n".join([*lines, "loop_", *(f"_atom_site_{c}" for c in columns.split()), *sites]) + "\n"


def reason(text):
    "Return why a CIF is refused."
    with pytest.raises(RowError) as e:
        read_cif(text)
    said = str(e.value)
    assert "\n" not in said and "Error" not in said and "Exception" not in said, said
    return said


def same(a, b, tolerance=1e-5):
    "Compare two batches: names, elements, cells, places."
    assert a.ids == b.ids and torch.equal(a.atomic_numbers, b.atomic_numbers)
    assert torch.allclose(a.lengths, b.lengths, atol=tolerance)
    assert torch.allclose(a.angles, b.angles, atol=10 * tolerance)
    delta = (a.frac_coords - b.frac_coords + 0.5) % 1 - 0.5
    assert delta.abs().max() < tolerance


# ---- the shared files

OUTCOMES = {
    "02_oxidation_states_SrTiO3.cif": ["Sr1 Ti1 O3"],
    "02_oxidation_states_D2O.cif": ["H2 O1"],
    "03_three_data_blocks.cif": ["Cs1 Cl1", "Cs1 Br1", "Cs1 I1"],
    "04_hall_symbol_only_NaCl.cif": ["Na4 Cl4"],
    "05_rhombohedral_axes_Bi.cif": ["Bi2"],
    "06_origin_choice_2_anatase.cif": ["Ti4 O8"],
    "07_occupancy_dot.cif": ["Cs1 Cl1"],
    "08_two_blocks_F_and_P1.cif": ["Na4 Cl4", "Cs1 Cl1"],
    "11_thirds_with_3_digits_Mg.cif": ["Mg2"],
    "12_P1_capitals.cif": ["Na1 Cl1"],
    "12_P1_wrapped_rows.cif": ["Na1 Cl1"],
    "13_data_global_first.cif": ["Cs1 Cl1"],
    "14_text_field_with_data_line.cif": ["Cs1 Cl1"],
    "15_capital_LOOP_and_names.cif": ["Na1 Cl1"],
}


@needs_inputs
@pytest.mark.parametrize("name", OUTCOMES)
def test_shared_cifs_are_read_alike_by_data_and_evaluate(name):
    batch, rejected = read_source(INPUTS / name, cache=False, progress=False)
    read = batch.to_input_cells().to_structures()  # the batch itself holds primitive cells
    assert [s.composition.formula for s in read] == OUTCOMES[name] and not rejected
    rows = read_crystals(INPUTS / name)
    assert [read_cif(e.source).composition.formula for e in rows] == OUTCOMES[name]


@needs_inputs
def test_shared_refusals_tables_and_folder(tmp_path):
    with pytest.raises(DataError, match="angles are missing"):
        load_crystals(INPUTS / "15_no_angles.cif", cache=False)
    with pytest.raises(DataError, match="disordered"):
        load_crystals(INPUTS / "10_disordered_written_by_ase.extxyz", cache=False)
    batch = load_crystals(INPUTS / "18_property_with_one_n_a.csv", cache=False, progress=False)
    assert batch.ids == ("a", "b", "c") and torch.isnan(batch.properties["e"]).tolist() == [
        False,
        True,
        False,
    ]
    quiet = dict(workers=1, progress=False)
    for name in ("01_generated_crystals_2_of_3_invalid.extxyz", "01_the_same_three_as.csv"):
        valid = evaluate(INPUTS / name, out=tmp_path / name, **quiet)["metrics"]["valid"]
        assert (valid["count"], valid["total"]) == (1, 3)
    found = evaluate(INPUTS / "09_cif_folder_with_truth", out=tmp_path / "nine", **quiet)
    assert found["metrics"]["match_rate"]["value"] == 1
    assert read_cif((INPUTS / "08_two_blocks_F_and_P1.cif").read_text().split("data_b")[0]).density > 2.1


# ---- kinds of CIF, three variations or more of each


@pytest.mark.parametrize(
    "sites,columns,formula",
    [
        (("Sr1 Sr2+ 0 0 0", "O1 O2- .5 .5 .5"), None, "Sr1 O1"),
        (("Fe1 Fe+3 0 0 0", "O1 O-2 .5 .5 .5"), None, "Fe1 O1"),
        (("X1 Sival 0 0 0", "X2 Cval .5 .5 .5"), None, "Si1 C1"),
        (("D1 D 0 0 0", "T1 T .5 .5 .5"), None, "H2"),
        (("Na1 0 0 0", "CL1 .5 .5 .5"), "label fract_x fract_y fract_z", "Na1 Cl1"),
        (("'Na(1)' 0 0 0", "OW2 .5 .5 .5"), "label fract_x fract_y fract_z", "Na1 O1"),
        (("Si1A 0 0 0", "O1' .5 .5 .5"), "label fract_x fract_y fract_z", "Si1 O1"),
        (("Cs1 . 0 0 0", "Cl1 ? .5 .5 .5"), None, "Cs1 Cl1"),
        (("'Cs1'\n'Cs'\n0\n0\n0", '"Cl1" "Cl" .5 .5\n.5'), None, "Cs1 Cl1"),
        (("cs CS 0 0 0", "cl CL .5 .5 .5"), None, "Cs1 Cl1"),
        (("Cs1 Cs 0(1) 0 0", "Cl1 Cl 0.50(2) 0.500(3) 5e-1"), None, "Cs1 Cl1"),
    ],
)
def test_types_labels_quotes_and_numbers(sites, columns, formula):
    text = cif(sites, columns=columns or "label type_symbol fract_x fract_y fract_z")
    assert read_cif(text).composition.formula == formula
    assert read_cif(text.replace("\n", "\r\n")).composition.formula == formula
    assert read_cif(text.replace("\n", "\r")).composition.formula == formula
    assert read_cif(text.replace("_cell_", "_CELL_").replace("loop_", "LOOP_")).composition.formula == formula
    dotted = text.replace("_atom_site_", "_atom_site.").replace("_cell_", "_cell.")
    assert read_cif("#\\#CIF_2.0\n" + dotted).composition.formula == formula


@pytest.mark.parametrize("word", ["Xx 0 0 0", "Vac 0 0 0", "Wat 0 0 0", "M1 0 0 0"])
def test_what_is_no_element_is_named(word):
    assert "is no element" in reason(cif((word,), columns="label fract_x fract_y fract_z"))


def test_the_label_is_read_as_the_formula_has_it():
    text = cif(
        ("CA1 0 0 0", "H1 .3 0 0"),
        columns="label fract_x fract_y fract_z",
        more="_chemical_formula_sum 'C H'",
    )
    assert read_cif(text).composition.formula == "H1 C1"
    assert read_cif(text.replace("'C H'", "'Ca H'")).composition.formula == "Ca1 H1"


def formulas(text):
    return [c.structure().composition.formula for _, c in cif_crystals(text)[0]]


def test_blocks():
    one, two = cif(name="same"), cif(("Na1 Na 0 0 0", "F1 F .5 .5 .5"), name="same")
    assert formulas(one + two) == ["Cs1 Cl1", "Na1 F1"]  # two blocks of one name
    assert formulas("data_global\n_journal 'a'\n" + two) == ["Na1 F1"]
    assert cif_crystals("data_global\n_journal 'a'\n" + two)[1] == [
        "block global has no atoms and is skipped"
    ]
    field = "data_t\n_text\n;\ndata_inner is text\nloop_\n;\n" + two.replace("data_same\n", "")
    assert formulas(field) == ["Na1 F1"]
    broken = one + "data_cut\n_cell_length_a 'unended\n" + two
    found = cif_crystals(broken)[0]
    assert [isinstance(c, RowError) for _, c in found] == [
        False,
        True,
        False,
    ]  # good ones next to a broken one
    assert "it holds 2 crystals" in reason(one + two)


NACL = ("Na1 Na 0 0 0", "Cl1 Cl .5 .5 .5")


@pytest.mark.parametrize(
    "tags,atoms",
    [
        ("_space_group_name_Hall '-F 4 2 3'", 8),
        ("_symmetry_space_group_name_Hall '-F_4_2_3'", 8),
        ("_symmetry_space_group_name_H-M 'F 4/m -3 2/m'", 8),
        ("_symmetry_space_group_name_H-M 'Fm-3m'", 8),
        ("_symmetry_space_group_name_H-M 'F m 3 m'", 8),
        ("_space_group_name_H-M_alt 'F m -3 m :1'", 8),
        ("_space_group_IT_number 225", 8),
        ("_space_group.IT_number 225", 8),
        ("_symmetry_space_group_name_H-M ?\n_symmetry_Int_Tables_number 225", 8),
        ("_space_group_name_Hall 'P 1'\n_space_group_IT_number 1", 2),
    ],
)
def test_symmetry_without_operations(tags, atoms):
    assert len(read_cif(cif(NACL, more=tags, ops=()))) == atoms


def test_order_of_trust():
    wrong = "_space_group_name_Hall '-F 4 2 3'\n_space_group_IT_number 225"
    assert len(read_cif(cif(NACL, more=wrong))) == 2  # operations first
    wrong = "_space_group_name_Hall '-P 4 2 3'\n_space_group_name_H-M_alt 'F m -3 m'"
    assert len(read_cif(cif(NACL, more=wrong, ops=()))) == 2  # then the Hall symbol
    assert len(read_cif(cif(NACL, ops=()))) == 2
    assert "no symmetry is stated" in cif_crystals(cif(NACL, ops=()))[0][0][1].notes[0]


@pytest.mark.parametrize(
    "tags,says",
    [
        ("_space_group_name_H-M_alt 'Q q q'", "'Q q q' is not known"),
        ("_space_group_IT_number 999", "between 1 and 230"),
        (
            "_space_group_name_H-M_alt 'P n m a'\n_space_group_IT_number 225",
            "number 62, but the file says 225",
        ),
        ("_space_group_name_H-M_alt 'F d -3 m'", "origin is left open"),
    ],
)
def test_symmetry_that_cannot_be(tags, says):
    assert says in reason(cif(NACL, more=tags, ops=()))


def test_operations_must_be_a_group_and_fit_the_cell():
    assert "are no group: it would have 4" in reason(cif(ops=("x,y,z", "-y,x,z")))
    assert "cannot be read" in reason(cif(ops=("x,y,z", "x,y")))
    said = reason(cif(cell=(4, 5, 6, 90, 90, 90), ops=("x,y,z", "z,x,y", "y,z,x")))
    assert "4 Å" in said and ("5 Å" in said or "6 Å" in said)


def test_rhombohedral_axes_and_hexagonal_ones():
    more = "_space_group_name_H-M_alt 'R -3 m'"
    bi = cif(("Bi1 Bi .2339 .2339 .2339",), cell=(4.7459,) * 3 + (57.23,) * 3, more=more, ops=())
    assert len(read_cif(bi)) == 2
    hexagonal = cif(("Bi1 Bi 0 0 .2339",), cell=(4.546, 4.546, 11.862, 90, 90, 120), more=more, ops=())
    assert len(read_cif(hexagonal)) == 6
    assert len(read_cif(hexagonal.replace("R -3 m", "R -3 m H"))) == 6
    assert len(read_cif(bi.replace("R -3 m", "R -3 m :R"))) == 2
    assert "contradicts" in reason(bi.replace("R -3 m", "R -3 m :H"))
    matches = [space_group(read_cif(t), 0.01) for t in (bi, hexagonal)]
    assert matches == [166, 166]


@pytest.mark.parametrize("more", ["_cell_formula_units_Z 8", "_exptl_crystal_density_diffrn 2.329"])
def test_the_origin_that_the_file_agrees_with(more):
    si = "_chemical_formula_sum Si\n_space_group_name_H-M_alt 'F d -3 m'\n" + more
    first = cif(("Si1 Si 0 0 0",), cell=(5.4307,) * 3 + (90,) * 3, more=si, ops=())
    second = cif(("Si1 Si .125 .125 .125",), cell=(5.4307,) * 3 + (90,) * 3, more=si, ops=())
    for text in (first, second):
        assert len(read_cif(text)) == 8 and "origin choice" in cif_crystals(text)[0][0][1].notes[0]
        assert read_cif(text).distance_matrix[0][1:].min() == pytest.approx(2.3516, abs=1e-3)
    for name, text in (
        ("F d -3 m :1", first),
        ("F d -3 m S", first),
        ("F d -3 m :2", second),
        ("F d -3 m Z", second),
    ):
        assert len(read_cif(text.replace("F d -3 m", name))) == 8
    assert "atoms" in reason(first.replace("F d -3 m", "F d -3 m :2")) or "density" in more


@pytest.mark.parametrize(
    "symbol,usual,rare,place",
    [
        ("C m m e", "C m m a", "C m m b", (0, 0.25, 0.25)),
        ("A e m m", "A b m m", "A c m m", (0.25, 0, 0.25)),
        ("B m e m", "B m c m", "B m a m", (0.25, 0.25, 0)),
        ("C 2/m 2/m 2/e", "C m m a", "C m m b", (0, 0.25, 0.25)),
        ("C c c e :2", "C c c a", "C c c b", (0, 0.25, 0.25)),
        ("A e a a :2", "A b a a", "A c a a", (0.25, 0, 0.25)),
        ("B b e b :2", "B b c b", "B b a b", (0.25, 0.25, 0)),
    ],
)
def test_a_glide_e_stands_for_two_settings(symbol, usual, rare, place):
    def text(more, name=symbol):
        more = f"_space_group_name_H-M_alt '{name}'\n_chemical_formula_sum Na\n" + more
        return cif((f"Na1 Na {x} {y} {z}",), cell=(5, 6, 7, 90, 90, 90), more=more, ops=())

    x, y, z = place
    origin = symbol[7:] if ":" in symbol else ""
    asked = {s: len(read_cif(text("", s + origin))) for s in (usual, rare)}
    assert set(asked.values()) == {4, 8}  # the place is special in one of the settings only
    for spelling, atoms in asked.items():
        crystal = cif_crystals(text(f"_cell_formula_units_Z {atoms}"))[0][0][1]
        assert len(crystal.numbers) == atoms and f"as {spelling}" in crystal.notes[-1]
    crystal = cif_crystals(text(""))[0][0][1]  # nothing decides: the standard setting, and it is said
    assert len(crystal.numbers) == asked[usual] and "standard setting" in crystal.notes[-1]


OCC = "label type_symbol fract_x fract_y fract_z occupancy"


@pytest.mark.parametrize(
    "text,atoms", [(".", 2), ("?", 2), ("1.000(3)", 2), ("1.0", 2), ("0", 1), ("0.9999", 2)]
)
def test_occupancies_that_are_whole(text, atoms):
    assert len(read_cif(cif(("Cs1 Cs 0 0 0 1", f"Cl1 Cl .5 .5 .5 {text}"), columns=OCC))) == atoms


@pytest.mark.parametrize(
    "text,says",
    [("0.5", "disordered"), ("0.97", "disordered"), ("1.5", "between 0 and 1"), ("a", "no number")],
)
def test_occupancies_that_are_not(text, says):
    assert says in reason(cif(("Cs1 Cs 0 0 0 1", f"Cl1 Cl .5 .5 .5 {text}"), columns=OCC))


@pytest.mark.parametrize(
    "x,y", [("0.333", "0.667"), ("0.3333", "0.6667"), ("0.33", "0.67"), ("0.33333333", "0.66666667")]
)
def test_thirds_of_few_digits(x, y):
    cell = (3.209, 3.209, 5.211, 90, 90, 120)
    text = cif((f"Mg1 Mg {x} {y} 0.25",), cell=cell, more="_space_group_name_H-M_alt 'P 63/m m c'", ops=())
    found = cif_crystals(text)[0][0][1]
    assert len(found.numbers) == 2 and ("one atom" in "".join(found.notes)) is (len(x) < 8)
    assert np.allclose(found.frac[0], [1 / 3, 2 / 3, 0.25], atol=1e-6)


def test_sites_near_a_mirror_but_beyond_the_digits_stay_two():
    ops = ("x,y,z", "x,y,-z")
    assert len(read_cif(cif(("H1 H 0 0 0.1000",), ops=ops))) == 2
    assert (
        len(read_cif(cif(("H1 H 0 0 0.0100",), ops=ops))) == 2
    )  # 0.08 Å apart: an overlap, not a special position
    assert len(read_cif(cif(("H1 H 0 0 0.0010",), ops=ops))) == 1
    twice = cif(("H1 H 0 0 0.2", "H2 H 0 0 0.8"), ops=ops)
    assert len(read_cif(twice)) == 2 and "counted once" in cif_crystals(twice)[0][0][1].notes[0]


@pytest.mark.parametrize(
    "tag,value", [("_chemical_formula_sum", "H2"), ("_cell_length_b", "8"), ("_CELL_volume", "?")]
)
@pytest.mark.parametrize("second", ["''", "?", "same", "other"])
def test_a_name_may_be_stated_twice_if_the_second_time_adds_nothing(tag, value, second):
    text = cif(("H1 H 0 0 0.2", "H2 H 0 0 0.8"))
    text = "\n".join(line for line in text.splitlines() if not line.lower().startswith(tag.lower()))
    again = {"same": value, "other": "7"}.get(second, second)
    text = text.replace("_cell_length_a", f"{tag} {value}\n{tag.lower()} {again}\n_cell_length_a", 1)
    found = cif_crystals(text)[0][0][1]
    if second == "other" and value != "?":
        assert f"{tag.lower()} is stated twice, as {value} and as 7" in str(found)
    elif second != "other":
        assert list(found.numbers) == [1, 1]


@pytest.mark.parametrize(
    "more,numbers",
    [
        ("_chemical_formula_sum 'Cs Cl2'", ("Cl2 Cs1", "Cl1 Cs1")),
        ("_chemical_formula_sum 'Cs Cl'\n_cell_formula_units_Z 4", ("8 atoms", "give 2")),
        ("_cell_volume 70.1", ("70.1", "64")),
        ("_exptl_crystal_density_diffrn 8.8", ("8.8", "4.36")),
    ],
)
def test_what_the_file_contradicts_is_refused_with_both_numbers(more, numbers):
    said = reason(cif(more=more))
    assert all(n in said for n in numbers), said


@pytest.mark.parametrize(
    "more",
    [
        "_chemical_formula_sum 'Cl Cs'\n_cell_formula_units_Z 1",
        "_chemical_formula_sum 'Cl4 Cs4'",
        "_chemical_formula_sum ?\n_cell_volume .\n_exptl_crystal_density_diffrn ?",
        "_cell_volume 64.3(4)",
        "_exptl_crystal_density_diffrn 4.4",
    ],
)
def test_what_agrees_is_read(more):
    assert len(read_cif(cif(more=more))) == 2


@pytest.mark.parametrize(
    "text,says",
    [
        (cif().replace("_cell_angle_beta 90\n", ""), "angles are missing (_cell_angle_beta)"),
        (cif().replace("_cell_length_a 4.0\n", "_cell_length_a ?\n"), "lengths are missing (_cell_length_a)"),
        (cif().replace("length_a 4.0", "length_a four"), "'four', which is not a number"),
        (cif().replace("length_a 4.0", "length_a -4"), "a length of -4 Å"),
        (cif().replace("beta 90", "beta 190"), "an angle of 190 degrees"),
        (cif(cell=(4, 4, 4, 30, 30, 120)), "no cell has the angles"),
        (cif(("Cs1 Cs 0 0 ?",)), "coordinate z is not stated"),
        (cif(("Cs1 Cs 0 0 nan",)), "no finite number"),
        (cif(columns="label type_symbol Cartn_x Cartn_y Cartn_z"), "only Cartesian"),
        ("", "the CIF is empty"),
        ("hello", "cannot be parsed as CIF: line 1"),
        ("data_x\n_cell_length_a 4\n", "no block has atoms"),
        (cif()[:-4], "cannot be parsed"),
    ],
)
def test_what_is_missing_or_wrong_is_named(text, says):
    assert says in reason(text)


# ---- other formats


def crystals(num=6):
    return load_crystals("perov_mini", split="test", cache=False, limit=num, progress=False)


def raw(batch):
    return [RawCrystal(s.atomic_numbers, s.frac_coords, s.lattice.matrix) for s in batch.to_structures()]


def read(path, **more):
    return load_crystals(path, cache=False, niggli=False, progress=False, **more)


POSCAR = "salt\n1.0\n4 0 0\n0 4 0\n0 0 4\nCs Cl\n1 1\nDirect\n0 0 0\n.5 .5 .5\n"


@pytest.mark.parametrize(
    "text",
    [
        POSCAR,
        POSCAR.replace("1.0\n4", "-64\n4").replace("4 0 0\n0 4 0\n0 0 4", "1 0 0\n0 1 0\n0 0 1"),
        POSCAR.replace("Direct\n0 0 0\n.5 .5 .5", "Selective dynamics\nCartesian\n0 0 0 T T F\n2 2 2 F F F"),
        POSCAR.replace("salt\n", "Cs Cl\n").replace("Cs Cl\n1 1", "1 1"),
        POSCAR.replace("Cs Cl\n1 1", "Cs_sv Cl/abc\n1 1"),
        POSCAR.replace("1.0\n4 0 0\n0 4 0\n0 0 4", "2.0\n2 0 0\n0 2 0\n0 0 2") + "\n0 0 0\n",
    ],
)
def test_poscars(text, tmp_path):
    (tmp_path / "POSCAR").write_text(text)
    found = read(tmp_path / "POSCAR")
    assert found.ids == (tmp_path.name,) and found.atomic_numbers.tolist() == [55, 17]
    assert (
        torch.allclose(found.lengths, torch.full((1, 3), 4.0)) and found.frac_coords[1].tolist() == [0.5] * 3
    )


@pytest.mark.parametrize(
    "text,says",
    [
        (POSCAR.replace("Cs Cl\n", ""), "names the elements"),
        (POSCAR.replace("1 1\n", "1 2\n"), "2 lines of coordinates"),
        (POSCAR.replace("Direct\n", ""), "`Direct` or `Cartesian`"),
        (POSCAR.replace("Cs Cl", "Cs Qq"), "'Qq' is no element"),
        (POSCAR.replace("0 0 4", "0 0 0"), "no volume"),
        (POSCAR.replace(".5 .5 .5", ".5 .5"), "should be 3 numbers"),
    ],
)
def test_poscars_that_are_none(text, says, tmp_path):
    (tmp_path / "POSCAR").write_text(text)
    with pytest.raises(DataError, match=says):
        read(tmp_path / "POSCAR")


def test_folders_of_poscars(tmp_path):
    for name, a in (("run_2", 4.2), ("run_10", 4.3), ("run_1", 4.1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "POSCAR").write_text(POSCAR.replace("4 0 0", f"{a} 0 0"))
    (tmp_path / "run_1" / "CONTCAR").write_text(POSCAR.replace("4 0 0", "4.15 0 0"))
    found = read(tmp_path)
    assert found.ids == ("run_1", "run_2", "run_10")  # as people count; the CONTCAR stands for its POSCAR
    assert found.lengths[:, 0].tolist() == pytest.approx([4.15, 4.2, 4.3])
    flat = tmp_path / "flat"
    flat.mkdir()
    for k in (10, 9):
        (flat / f"POSCAR_{k}").write_text(POSCAR)
    assert read(flat).ids == ("9", "10")


def files(folder):
    return [(p.name, p.read_bytes()) for p in sorted(folder.iterdir())]


def test_archives_and_nested_folders(tmp_path):
    batch = crystals()
    batch = batch.replace(ids=tuple(f"gen_{k}" for k in range(5, 11)))
    export(batch, tmp_path / "cifs")
    same(read(tmp_path / "cifs"), batch)
    export(batch, tmp_path / "a.zip")
    same(read(tmp_path / "a.zip"), batch)
    for name, mode in (("a.tar.gz", "w:gz"), ("a.tar", "w"), ("a.tgz", "w:gz")):
        with tarfile.open(tmp_path / name, mode) as t:
            t.add(tmp_path / "cifs", arcname="deep/down")
        same(read(tmp_path / name), batch)
    nested = tmp_path / "nested"
    for k, (name, data) in enumerate(files(tmp_path / "cifs")):
        (nested / f"part{k % 2}" / ".hidden").mkdir(parents=True, exist_ok=True)
        (nested / f"part{k % 2}" / name).write_bytes(data)
    assert sorted(read(nested).ids) == sorted(batch.ids)
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as z:
        for folder in ("a", "b"):
            z.writestr(f"{folder}/x.cif", cif())
        z.writestr("b/broken.cif", "hello")
        z.writestr("__MACOSX/b/x.cif", "junk")
    found, rejected = read_source(tmp_path / "twice.zip", cache=False)
    assert found.ids == ("a/x", "b/x") and [r.material_id for r in rejected] == ["broken"]
    (tmp_path / "bad.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:500])
    with pytest.raises(DataError, match="no readable archive"):
        read(tmp_path / "bad.zip")


def test_tables(tmp_path):
    batch = crystals(3)
    texts = [s.to(fmt="cif") for s in batch.to_structures()]
    dicts = [json.dumps(s.as_dict()) for s in batch.to_structures()]
    for sep in ",;\t|":
        for column, cells in (
            ("cif", texts),
            ("cif.conv", texts),
            ("CIF", texts),
            ("cif_string", texts),
            ("structure", dicts),
            ("structure", texts),
        ):
            out = io.StringIO()
            table = csv.writer(out, delimiter=sep)
            table.writerows(
                [["material_id", column, "gap"], *zip(["001", "1", "1.0"], cells, ["1", "n/a", ""])]
            )
            (tmp_path / "x.csv").write_text(out.getvalue())
            found = read(tmp_path / "x.csv")
            same(found, batch.replace(ids=("001", "1", "1.0")), 1e-4)
            assert found.properties["gap"].nan_to_num(-1).tolist() == [1, -1, -1]
    (tmp_path / "y.csv").write_text(out.getvalue().replace("structure", "mine"))
    with pytest.raises(DataError, match="--column"):
        read(tmp_path / "y.csv")
    assert len(read(tmp_path / "y.csv", column="mine")) == 3


def test_parquet_ids_in_the_index(tmp_path):
    import pandas as pd

    batch = crystals(3)
    texts = [s.to(fmt="cif") for s in batch.to_structures()]
    for index in (pd.Index(["007", "8", "x"]), pd.Index(["007", "8", "x"], name="key")):
        pd.DataFrame(dict(cif=texts, gap=[1.0, None, 3.0]), index=index).to_parquet(tmp_path / "x.parquet")
        assert read(tmp_path / "x.parquet").ids == ("007", "8", "x")
    pd.DataFrame(dict(structure=[s.as_dict() for s in batch.to_structures()])).to_json(tmp_path / "x.json")
    same(read(tmp_path / "x.json"), batch.replace(ids=("x-0", "x-1", "x-2")), 1e-4)


def test_json(tmp_path):
    batch = crystals(3)
    dicts = [s.as_dict() for s in batch.to_structures()]
    rows = [dict(material_id=n, structure=d, energy=-1.5) for n, d in zip(batch.ids, dicts)]
    named = batch.replace(ids=("x-0", "x-1", "x-2"))
    for doc, want in (
        (dicts, named),
        (rows, batch),
        (dict(zip(batch.ids, dicts)), batch),
        (
            dict(
                columns=["material_id", "structure"], data=[[r["material_id"], r["structure"]] for r in rows]
            ),
            batch,
        ),
        (dicts[0], named[:1]),
        (rows[0], batch[:1]),
        ([json.dumps(d) for d in dicts], named),
    ):
        (tmp_path / "x.json").write_text(json.dumps(doc))
        same(read(tmp_path / "x.json"), want, 1e-4)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    assert read(tmp_path / "x.json.gz").properties["energy"].tolist() == [-1.5] * 3
    lines = "\n".join([json.dumps(rows[0]), "{broken", json.dumps(rows[2])])
    (tmp_path / "x.jsonl").write_text(lines)
    found, rejected = read_source(tmp_path / "x.jsonl", cache=False, niggli=False)
    assert found.ids == (batch.ids[0], batch.ids[2]) and [r.row for r in rejected] == [1]
    mixed = json.loads(json.dumps(dicts[0]))
    mixed["sites"][0]["species"] = [dict(element="Fe", occu=0.5), dict(element="Ni", occu=0.5)]
    (tmp_path / "m.json").write_text(json.dumps(mixed))
    with pytest.raises(DataError, match="disordered"):
        read(tmp_path / "m.json")


def test_ase_files_and_ids_that_look_like_numbers(tmp_path):
    import ase.io

    batch = crystals(4)
    atoms = batch.to_ase()
    ase.io.write(tmp_path / "x.traj", atoms)
    same(read(tmp_path / "x.traj"), batch.replace(ids=tuple(f"x-{k}" for k in range(4))))
    ase.io.write(tmp_path / "x.db", atoms)
    same(read(tmp_path / "x.db"), batch.replace(ids=tuple(f"x-{k}" for k in range(4))))
    text = '1\nLattice="4 0 0 0 4 0 0 0 4" Properties=species:S:1:pos:R:3 {} pbc="T T T"\nPo 0 0 0\n'
    for word, want in (
        ('material_id="007"', "007"),
        ("material_id=007", "007"),
        ("name=T", "T"),
        ("", "x-0"),
    ):
        (tmp_path / "x.extxyz").write_text(text.format(word))
        assert read(tmp_path / "x.extxyz").ids == (want,)


def test_what_can_run_code_is_refused(tmp_path, capsys):
    for name in ("x.pkl", "x.pickle", "x.pt", "x.pkl.gz", "x.npy"):
        (tmp_path / name).write_bytes(pickle.dumps([1]))
        for read_one in (lambda p: load_crystals(p), lambda p: read_crystals(p)):
            with pytest.raises(DataError, match="can run code when it is opened"):
                read_one(tmp_path / name)
    assert main(["data", str(tmp_path / "x.pkl"), "--out", str(tmp_path / "out")]) == 2
    assert "can run code" in capsys.readouterr().err and not (tmp_path / "out").exists()
    doc = {"lattice": {"@module": "os", "@class": "system", "matrix": [[4, 0, 0], [0, 4, 0], [0, 0, 4]]}}
    doc["sites"] = [
        dict(
            species=[dict(element="Po", occu=1)],
            abc=[0, 0, 0],
            properties={"@module": "os", "@callable": "x"},
        )
    ]
    (tmp_path / "x.json").write_text(json.dumps(doc))
    assert len(read(tmp_path / "x.json")) == 1  # nothing of it is imported


def test_a_results_folder_of_mattergen(tmp_path):
    batch = crystals(12).replace(ids=tuple(f"gen_{k}" for k in range(12)))
    export(batch, tmp_path / "generated_crystals_cif.zip")
    export(batch, tmp_path / "generated_crystals.extxyz")
    with zipfile.ZipFile(tmp_path / "generated_trajectories.zip", "w") as z:
        z.writestr("gen_0.extxyz", (tmp_path / "generated_crystals.extxyz").read_text())
    same(read(tmp_path), batch)
    assert len(read_crystals(tmp_path)) == 12


# ---- counting and pairing


def test_every_row_counts_in_every_format(tmp_path):
    rows = [("a", cif()), ("b", "hello"), ("c", ""), ("d", cif(("Cs1 Cs 0 0 0", "Cl1 Cl .05 0 0")))]
    with open(tmp_path / "x.csv", "w", newline="") as f:
        csv.writer(f).writerows([("material_id", "cif"), *rows])
    (tmp_path / "x.json").write_text(json.dumps([dict(material_id=n, cif=c) for n, c in rows]))
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as z:
        for n, c in rows:
            z.writestr(f"{n}.cif", c)
    for name in ("x.csv", "x.json", "x.zip"):
        found = evaluate(tmp_path / name, workers=1, progress=False, out=tmp_path / f"out_{name}")
        valid = found["metrics"]["valid"]
        assert (valid["count"], valid["total"], found["num_crystals"]) == (1, 4, 4), name
        with open(tmp_path / f"out_{name}" / "per_crystal.csv", newline="") as f:
            table = list(csv.DictReader(f))
        assert [(r["index"], r["material_id"]) for r in table] == [
            (str(k), n) for k, (n, _) in enumerate(rows)
        ]
        assert all(r["reason"] and "Error" not in r["detail"] for r in table[1:3])
    frames = '1\nLattice="4 0 0 0 4 0 0 0 4"\nPo 0 0 0\n' + "1\nno lattice\nPo 0 0 0\n" + "seven\n"
    (tmp_path / "x.extxyz").write_text(frames)
    assert len(read_crystals(tmp_path / "x.extxyz")) == 3


def test_pairs_by_name_and_refuses_other_names(tmp_path):
    folder = tmp_path / "gen"
    folder.mkdir()
    names = [f"gen_{k}" for k in range(12)]
    texts = [cif(cell=(4 + k, 4 + k, 4 + k, 90, 90, 90)) for k in range(12)]
    sites = [
        cif(("Cs1 Cs 0 0 0", f"Cl1 Cl 0.5 0.5 {0.2 + k / 40}"), cell=(6, 6, 9, 90, 90, 90)) for k in range(12)
    ]
    for n, t in zip(names, sites):
        (folder / f"{n}.cif").write_text(t)
    order = [3, 1, 0, 2, 11, 10, 9, 8, 7, 6, 5, 4]
    with open(folder / "truth.csv", "w", newline="") as f:
        csv.writer(f).writerows([("material_id", "cif"), *((names[k], sites[k]) for k in order)])
    found = evaluate(folder, workers=1, progress=False)
    assert found["metrics"]["match_rate"]["value"] == 1 and found["metrics"]["rms"]["value"] < 1e-6
    text = (folder / "truth.csv").read_text()
    (folder / "truth.csv").write_text(text.replace("gen_7,", "other,"))
    with pytest.raises(DataError, match="'gen_7' that .* lacks, and lacks 'other'"):
        evaluate(folder, workers=1, progress=False)
    (folder / "truth.csv").write_text("\n".join(text.splitlines()[:1]) + "\n" + f'gen_0,"{texts[0]}"\n')
    with pytest.raises(DataError, match="holds 12 crystals and .* holds 1"):
        evaluate(folder, workers=1, progress=False)


def test_evaluation_replaces_nothing_of_others(tmp_path):
    (tmp_path / "a.cif").write_text(cif())
    (tmp_path / "b.cif").write_text(cif())
    quiet = dict(workers=1, progress=False)
    made = evaluate(tmp_path / "a.cif", **quiet)["files"]
    assert (
        {Path(f).parent for f in made}
        == {tmp_path / "a_evaluation"}
        == {evaluation_folder(tmp_path / "a.cif")}
    )
    evaluate(tmp_path / "a.cif", **quiet)  # its own may be made again
    with pytest.raises(DataError, match="is of the evaluation of .*a.cif and is not replaced"):
        evaluate(tmp_path / "b.cif", out=tmp_path / "a_evaluation", **quiet)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("mine")
    with pytest.raises(DataError, match="of another program or version and is not replaced"):
        evaluate(tmp_path / "b.cif", out=tmp_path / "mine", **quiet)
    assert (tmp_path / "mine" / "report.html").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.cif", "a_evaluation", "b.cif", "mine"]


# ---- cells, space groups, round trips, caches


def bases(lattice, num, seed=0, steps=6):
    "Describe a lattice in many bases, turned and signed."
    rng = np.random.default_rng(seed)
    for _ in range(num):
        basis = np.eye(3)
        for _ in range(steps):
            i, j = rng.choice(3, 2, replace=False)
            basis[i] += rng.integers(-2, 3) * basis[j]
        basis = np.diag(rng.choice([-1, 1], 3)) @ basis[rng.permutation(3)]
        yield basis, basis @ lattice @ np.linalg.qr(rng.normal(size=(3, 3)))[0]


@pytest.mark.parametrize(
    "cell",
    [
        (5, 6, 7, 90.3, 90.2, 90.1),
        (5, 6, 7, 90, 90, 90),
        (4, 4, 6, 90, 90, 120),
        (5, 5, 5, 60, 60, 60),
        (5, 5, 5, 109.4712206, 109.4712206, 109.4712206),
        (4.7459, 4.7459, 4.7459, 57.23, 57.23, 57.23),
        (3, 3.5, 210, 85, 95, 70),
        (3, 3.5, 3000, 85, 95, 70),
        (5, 5, 7, 80, 80, 90),
    ],
)
def test_one_cell_for_a_lattice(cell):
    import spglib

    lattice = lattice_matrix(np.array(cell, float))
    found = np.array([lattice_parameters(niggli(m)) for _, m in bases(lattice, 200)])
    assert np.ptp(found, axis=0).max() < 1e-4
    known = spglib.niggli_reduce(lattice)
    assert known is None or np.abs(lattice_parameters(known) - found[0]).max() < 1e-4


def test_places_follow_the_basis():
    "The set of all distances between atoms does not depend on the basis; nor does the cell."
    lattice = lattice_matrix(np.array([5, 6, 7, 90.3, 90.2, 90.1]))
    frac = np.array([[0.1, 0.2, 0.3], [0.6, 0.15, 0.8], [0.35, 0.7, 0.05]])
    numbers = np.array([11, 17, 8])
    want = canonical(RawCrystal(numbers, frac, lattice))
    for basis, turned in bases(lattice, 40):
        got = canonical(RawCrystal(numbers, frac @ np.linalg.inv(basis), turned))
        assert np.abs(lattice_parameters(got.lattice) - lattice_parameters(want.lattice)).max() < 1e-4
        apart = [np.sort(c.structure().distance_matrix, axis=None) for c in (got, want)]
        assert np.abs(apart[0] - apart[1]).max() < 1e-4


def test_space_groups_follow_the_tolerance():
    from pymatgen.core import Lattice, Structure

    make = lambda gamma: Structure(Lattice.from_parameters(4, 4, 4, 90, 90, gamma), ["Po"], [[0, 0, 0]])
    assert [space_group(make(92), t) for t in (0.01, 0.03, 0.1)] == [65, 65, 65]
    assert [space_group(make(90.1), t) for t in (0.001, 0.01, 0.03)] == [65, 65, 221]
    assert [space_group(make(90), t) for t in (0.01, 0.3)] == [221, 221]


def random_crystals(num, seed=0):
    from dpcdvae.crystal.batch import CrystalBatch

    rng = np.random.default_rng(seed)
    counts = torch.from_numpy(rng.integers(1, 9, num))
    total = int(counts.sum())
    lengths = torch.from_numpy(rng.uniform(8, 14, (num, 3))).float()
    angles = torch.from_numpy(rng.uniform(70, 110, (num, 3))).float()
    frac = torch.from_numpy(rng.random((total, 3))).float() % 1
    numbers = torch.from_numpy(rng.integers(1, 95, total))
    return CrystalBatch(numbers, frac, lengths, angles, counts, tuple(f"{k:03d}" for k in range(num)))


@pytest.mark.parametrize(
    "name", ["cifs", "x.zip", "x.extxyz", "x.db", "x.csv", "x.parquet", "x.jsonl", "poscars"]
)
def test_round_trip_of_500_random_crystals(name, tmp_path):
    batch = random_crystals(500)
    export(batch, tmp_path / name, poscar=name == "poscars")
    back, rejected = read_source(tmp_path / name, cache=False, niggli=False, progress=False)
    kept = [batch.ids.index(i) for i in back.ids]
    assert len(back) + len(rejected) == 500 and {r.field for r in rejected} <= {"distance"}
    same(back, batch[kept])
    tags = [r.material_id for r in rejected]
    assert sorted([*back.ids, *tags]) == sorted(batch.ids)


@pytest.mark.parametrize("name", ["perov_mini", "carbon_mini"])
def test_round_trip_of_the_embedded_sets(name, tmp_path):
    batch = load_crystals(name, split="test", cache=False, limit=40, progress=False)
    for to in ("x.zip", "x.extxyz", "x.jsonl"):
        export(batch, tmp_path / to)
        same(load_crystals(tmp_path / to, cache=False, niggli=False, progress=False), batch)


def test_old_caches_are_made_anew(tmp_path, monkeypatch):
    from dpcdvae.data import cache

    (tmp_path / "x.cif").write_text(cif())
    monkeypatch.setattr(cache, "FORMAT", FORMAT - 1)
    old = cache.save_crystals(load_crystals(tmp_path / "x.cif", cache=False), tmp_path / "old.safetensors")
    load_crystals(tmp_path / "x.cif", cache=tmp_path / "cache")
    monkeypatch.undo()
    load_crystals(tmp_path / "x.cif", cache=tmp_path / "cache")
    stored = list((tmp_path / "cache" / "crystals").iterdir())
    assert len(stored) == 2  # the old one is not taken
    with pytest.raises(DataError, match=f"format {FORMAT - 1} of another version"):
        open_crystals(old)


def test_notes_are_written_by_the_command(tmp_path, capsys):
    more = "_space_group_name_H-M_alt 'P 63/m m c'"
    text = cif(("Mg1 Mg 0.333 0.667 0.25",), cell=(3.209, 3.209, 5.211, 90, 90, 120), more=more, ops=())
    (tmp_path / "x.cif").write_text("data_global\n_a 1\n" + text)
    assert main(["data", str(tmp_path / "x.cif"), "--out", str(tmp_path / "out")]) == 0
    assert "2 remarks" in capsys.readouterr().out
    said = (tmp_path / "out" / "notes.csv").read_text()
    assert "block global has no atoms" in said and "one atom on a special position" in said
    stored = read_source(tmp_path / "out")[1]
    assert len(stored.notes) == 2


def test_hostile_inputs(monkeypatch):
    "Two dozen of the thousand that `benchmarks.hostile` sends through every command."
    from benchmarks.hostile import campaign

    monkeypatch.setenv("SPGLIB_WARNING", "OFF")
    found = campaign(24, seed=7)
    assert not found["faults"] and all(v["read"] + v["refused"] == 24 for v in found["commands"].values())


@pytest.mark.parametrize("element, num", [("Na", 7), ("H", 7), ("K", 3), ("O", 5)])
def test_what_pymatgen_writes_of_half_formula_units_is_read(element, num):
    "pymatgen reduces NaO to Na2O2, so that Na7O7 are 3.5 units, and it writes 3."
    species = [element, "O"] * num if element != "O" else ["O"] * num
    places = np.random.default_rng(num).random((len(species), 3))
    made = Structure(Lattice.cubic(9), species, places)
    again = read_cif(made.to(fmt="cif"))
    assert again.composition == made.composition and len(again) == len(species)


def test_missing_symmetry_is_seen_in_spite_of_a_structural_formula():
    made = Structure(Lattice.cubic(9), ["K", "Cl"], [[0, 0, 0], [0.3, 0.3, 0.3]]).to(fmt="cif")
    assert "_chemical_formula_structural" in made and len(read_cif(made)) == 2
    with pytest.raises(ValueError, match="4 formula units"):
        read_cif(made.replace("_cell_formula_units_Z   1", "_cell_formula_units_Z   4"))


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    "One crystal in each form that a user may have it in."
    home, one = tmp_path_factory.mktemp("forms"), toy("NaCl").to_structures()[0]
    for name in "ab":
        one.to(filename=str(home / f"{name}.cif"))
    path = torch.stack([toy("NaCl").frac_coords] * 2)
    z, cell = torch.stack([toy("NaCl").atomic_numbers] * 2), (toy("NaCl").lengths[0], toy("NaCl").angles[0])
    film = Trajectory(torch.tensor([1, 0]), torch.zeros(2), torch.ones(2), path, z, path, *cell, {}, None)
    return dict(
        structure=one,
        structures=[one, one],
        atoms=toy("NaCl").to_ase()[0],
        path=home / "a.cif",
        text=str(home / "a.cif"),
        folder=home,
        pattern=str(home / "*.cif"),
        paths=[home / "a.cif", str(home / "b.cif")],
        formula="NaCl",
        batch=toy("NaCl"),
        film=film,
        mixed=[one, "NaCl", toy("NaCl"), toy("NaCl").to_ase()[0], home / "a.cif", film],
    )


QUICK = dict(workers=1, progress=False)
TAKERS = dict(  # what a function that takes crystals says of rock salt, in whatever form
    matching=lambda x, out: np.isfinite(match_rows(x, x).matches.rms).all(),
    distances=lambda x, out: np.isfinite(amd(x, 5)).all(),
    placement=lambda x, out: {s.reduced_formula for s in random_placement(x)} == {"NaCl"},
    baseline=lambda x, out: len(make_baseline("random placement", x, 3)) == 3,
    constraints=lambda x, out: bool(satisfied(x, Constraints(required=("Na",))).all()),
    polyhedra=lambda x, out: len(coordination_polyhedra(x)) > 0,
    energies=lambda x, out: energies(x, out, "emt", max_steps=0, **QUICK)[1]["num_crystals"] > 0,
    evaluation=lambda x, out: (
        evaluate_generation(x, x, fingerprints=False, **QUICK)[1]["metrics"]["novel"]["value"] == 0
    ),
    export=lambda x, out: export(x, out / "all.extxyz")[1] > 0,
)
ONE = dict(  # of one crystal
    matching=lambda x: match(x, "NaCl") < 1e-4,
    relaxing=lambda x: relax(x, "emt", max_steps=0)["num_atoms"] == 2,
    plausible=lambda x: plausible(x) == "",
    distances=lambda x: pdd(x, 5).shape == (2, 5),
    validity=lambda x: structure_validity(x).ok,
    radial=lambda x: radial_distribution(x)[1].max() > 1,
)


@pytest.mark.parametrize("name", TAKERS)
def test_a_function_takes_crystals_in_every_form(name, forms, tmp_path):
    for form, x in forms.items():
        (tmp_path / form).mkdir()
        assert TAKERS[name](x, tmp_path / form), form


@pytest.mark.parametrize("name", ONE)
def test_a_function_takes_one_crystal_in_every_form(name, forms):
    for form in ("structure", "atoms", "path", "text", "formula", "batch", "film"):
        assert ONE[name](forms[form]), form


def test_a_training_takes_structures(tmp_path):
    crystals = load_crystals("perov_mini", split="test", progress=False)[:8]
    train(crystals.to_structures(), tmp_path / "run", "tiny", max_epochs=1, quiet=True, prior_steps=0)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["num_train"], record["num_val"], record["data"]) == (6, 1, "given in memory")
    with pytest.raises(ValueError, match="too few crystals \\(1, given in memory"):
        train(crystals[0].to_structures(), tmp_path / "one", "tiny", max_epochs=1, quiet=True, prior_steps=0)
