"Reading crystals: every kind of bad input, the cache, official downloads, bonds, order, scaler and loaders."

import csv
import errno
import gzip
import http.server
import itertools
import multiprocessing
import os
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from modules import group
from pymatgen.analysis.structure_matcher import StructureMatcher
from safetensors.torch import save

data = group("data")
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.cache import read_tensors, save_crystals
from dpcdvae.data.composition import composition_fractions, dataset_summary
from dpcdvae.data.datasets import load_crystals, load_splits, read_source
from dpcdvae.data.files import DataError, Rejected, part_path, write_rejected
from dpcdvae.data.loader import BucketBatchSampler, CrystalLoader
from dpcdvae.data.scaler import LatticeScaler, unit_gram

SHARED = Path(os.environ.get("DPCDVAE_REAL_DATA") or Path(__file__).parents[1].parent / "shared" / "data")
needs_real_data = pytest.mark.skipif(
    not (SHARED / "perov_5").is_dir(),
    reason=f"no benchmark splits at {SHARED}; set DPCDVAE_REAL_DATA to their folder",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DPCDVAE_CACHE", str(folder))
    return folder


def p1(
    lengths=(4.0, 4.0, 4.0),
    angles=(90.0, 90.0, 90.0),
    sites=(("Cs", 0, 0, 0, 1), ("Cl", 0.5, 0.5, 0.5, 1)),
    formula=None,
):
    "Write a CIF by hand, so that anything can be wrong in it."
    cell = "".join(f"_cell_length_{n} {v}\n" for n, v in zip("abc", lengths)) + "".join(
        f"_cell_angle_{n} {v}\n" for n, v in zip(("alpha", "beta", "gamma"), angles)
    )
    atoms = "".join(f"  {el} {el}{i} {x} {y} {z} {occ}\n" for i, (el, x, y, z, occ) in enumerate(sites))
    return (
        "data_x\n_symmetry_space_group_name_H-M 'P 1'\n"
        + cell
        + (f"_chemical_formula_sum '{formula}'\n" if formula else "")
        + "loop_\n_symmetry_equiv_pos_as_xyz\n 'x, y, z'\nloop_\n_atom_site_type_symbol\n"
        "_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n"
        "_atom_site_occupancy\n" + atoms
    )


def table(path, rows, header=("material_id", "cif")):
    with open(path, "w", newline="") as f:
        out = csv.writer(f)
        out.writerow(header)
        out.writerows(rows)
    return path


def same(a, b):
    assert a.ids == b.ids and a.properties.keys() == b.properties.keys()
    for name in ("atomic_numbers", "frac_coords", "lengths", "angles", "num_atoms"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    for k, v in a.properties.items():
        assert torch.equal(v.nan_to_num(-9e9), b.properties[k].nan_to_num(-9e9)), k
    assert (a.graph is None) == (b.graph is None)
    if a.graph is not None:
        for name in ("edge_index", "to_jimages", "num_edges"):
            assert torch.equal(getattr(a.graph, name), getattr(b.graph, name)), name


def many_cifs(num):
    "CIFs of CsCl-like cells that differ in their length."
    return [p1(lengths=(3.5 + k / 1000,) * 3) for k in range(num)]


# ---- bad rows ----

BIG = tuple(("C", (i % 8) / 8, (i // 8 % 8) / 8, (i // 64) / 8, 1) for i in range(300))
BAD_ROWS = {
    "not a cif": ("hello", "cif"),
    "empty": ("", "cif"),
    "cut in the middle": (p1()[: len(p1()) // 2], "cif"),
    "cut in its atoms": (p1(formula="Cs1 Cl2"), "cif"),
    "nan coordinate": (p1(sites=(("Cs", "nan", 0, 0, 1),)), "frac_coords"),
    "zero volume": (p1(angles=(90.0, 90.0, 0.0)), "lattice"),
    "zero length": (p1(lengths=(0.0, 4.0, 4.0)), "lattice"),
    "negative length": (p1(lengths=(-4.0, 4.0, 4.0)), "lattice"),
    "nan length": (p1(lengths=("nan", 4.0, 4.0)), "lattice"),
    "impossible angles": (p1(angles=(30.0, 30.0, 120.0)), "lattice"),
    "same place": (p1(sites=(("Cs", 0, 0, 0, 1), ("Cl", 0, 0, 0, 1))), "occupancy"),
    "overlap": (p1(sites=(("Cs", 0, 0, 0, 1), ("Cl", 0.01, 0, 0, 1))), "distance"),
    "overlap through the wall": (p1(sites=(("Cs", 0.01, 0, 0, 1), ("Cl", 0.98, 0, 0, 1))), "distance"),
    "overlap with its own image": (p1(lengths=(0.3, 9.0, 9.0), sites=(("Cs", 0, 0, 0, 1),)), "distance"),
    "300 atoms": (p1(lengths=(16.0, 16.0, 16.0), sites=BIG), "num_atoms"),
    "unknown element": (p1(sites=(("Xx", 0, 0, 0, 1),)), "atomic_numbers"),
    "beyond fermium": (p1(sites=(("Og", 0, 0, 0, 1),)), "atomic_numbers"),
    "partly occupied": (p1(sites=(("Cs", 0, 0, 0, 0.5), ("Cl", 0.5, 0.5, 0.5, 1))), "occupancy"),
    "alloy": (p1(sites=(("Cs", 0, 0, 0, 0.5), ("Rb", 0, 0, 0, 0.5))), "occupancy"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_row_is_recorded_and_good_rows_go_on(name, tmp_path):
    text, field = BAD_ROWS[name]
    src = table(tmp_path / "x.csv", [("first", p1()), ("bad", text), ("last", p1(lengths=(4.2,) * 3))])
    batch, rejected = read_source(src, cache=False)
    assert batch.ids == ("first", "last")
    assert [(r.file, r.row, r.material_id, r.field) for r in rejected] == [(str(src), 1, "bad", field)], (
        rejected
    )
    assert rejected[0].reason and "\n" not in rejected[0].reason


def test_256_atoms_are_read(tmp_path):
    batch = load_crystals(
        table(tmp_path / "x.csv", [("a", p1(lengths=(16.0, 16.0, 16.0), sites=BIG[:256]))]),
        cache=False,
        primitive=False,
    )
    assert batch.num_atoms.tolist() == [256]


@pytest.mark.parametrize("seed", range(8))
def test_any_supercell_is_read_in_the_primitive_cell_and_comes_back(seed):
    rng = np.random.default_rng(seed)
    numbers, small = np.array([22, 8, 8, 20]), np.diag([3.1, 4.2, 5.3]) + rng.uniform(-0.3, 0.3, (3, 3))
    frac = np.array([[0, 0, 0], [0.5, 0.4, 0.1], [0.1, 0.5, 0.6], [0.5, 0, 0.5]]) + rng.random(3)
    one = data.canonical(data.RawCrystal(numbers, frac, small))
    while not 1 < np.linalg.det(basis := rng.integers(-2, 4, (3, 3))) < 9:
        pass
    many = one.structure().make_supercell(basis, in_place=False)
    order = rng.permutation(len(many))
    places = many.frac_coords[order] + rng.random(3) + rng.uniform(-1e-4, 1e-4, (len(many), 3))
    read = data.RawCrystal(np.array(many.atomic_numbers)[order], places, many.lattice.matrix.copy())
    got = data.canonical(read, primitive=True)
    assert sorted(got.numbers) == sorted(numbers)
    fits = StructureMatcher(primitive_cell=False, scale=False, stol=0.01).fit
    assert fits(got.structure(), one.structure())
    batch = CrystalBatch.from_structures([got.structure()])
    back = batch.replace(input_basis=torch.from_numpy(got.input_basis)[None]).to_input_cells()
    assert np.allclose(back.lengths[0], many.lattice.abc, atol=1e-3)
    assert np.allclose(back.angles[0], many.lattice.angles, atol=1e-2)
    assert fits(back.to_structures()[0], read.structure())


def test_a_distorted_supercell_keeps_its_sites():
    cell = toy("NaCl").to_structures()[0] * (2, 2, 1)
    cell.translate_sites([0], [0.005, 0, 0])  # 0.04 Å
    cell = data.RawCrystal(np.array(cell.atomic_numbers), cell.frac_coords, cell.lattice.matrix.copy())
    assert len(data.canonical(cell, primitive=True).numbers) == 8


def test_half_an_angstrom_is_the_limit(tmp_path):
    pair = lambda d: p1(lengths=(10.0, 10.0, 10.0), sites=(("H", 0, 0, 0, 1), ("H", d / 10, 0, 0, 1)))
    batch, rejected = read_source(
        table(tmp_path / "x.csv", [("a", pair(0.52)), ("b", pair(0.48))]), cache=False
    )
    assert batch.ids == ("a",) and [r.field for r in rejected] == ["distance"]


def test_load_warns_with_count_and_first_reason(tmp_path):
    src = table(tmp_path / "x.csv", [("good", p1()), ("bad", "hello"), ("worse", "")])
    with pytest.warns(UserWarning, match=r"2 of 3 rows .* row 1 \(bad\): it cannot be parsed"):
        load_crystals(src, cache=False)


def test_no_warning_when_all_is_well(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_crystals(table(tmp_path / "x.csv", [("good", p1())]))


def test_rejected_file(tmp_path):
    rows = [Rejected("x.csv", 3, "a", "cif", 'it says "no", twice')]
    write_rejected(rows, tmp_path / "deep" / "rejected.csv")
    with open(tmp_path / "deep" / "rejected.csv", newline="") as f:
        assert list(csv.DictReader(f)) == [
            dict(file="x.csv", row="3", material_id="a", field="cif", reason='it says "no", twice')
        ]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["rejected.csv"]


# ---- bad sources: one sentence ----


def sentence(call, *words):
    with pytest.raises(DataError) as e:
        call()
    said = str(e.value)
    assert "\n" not in said
    for w in words:
        assert w in said, said


def test_missing_file(tmp_path):
    sentence(lambda: load_crystals(tmp_path / "no.csv"), "no.csv", "perov_mini")


def test_unknown_name():
    sentence(lambda: load_crystals("perov-6"), "perov-6", "known names")


def test_no_cif_column(tmp_path):
    sentence(
        lambda: load_crystals(table(tmp_path / "x.csv", [("a", "b")], ("id", "text")), cache=False),
        "x.csv",
        "no column `cif`",
        "text",
    )


def test_empty_folder(tmp_path):
    sentence(lambda: load_crystals(tmp_path), str(tmp_path), "no .cif files")


def test_all_rejected(tmp_path):
    sentence(
        lambda: load_crystals(table(tmp_path / "x.csv", [("a", "b"), ("c", "d")]), cache=False),
        "no usable crystal out of 2 rows",
        "cannot be parsed",
    )


def test_header_only(tmp_path):
    sentence(lambda: load_crystals(table(tmp_path / "x.csv", []), cache=False), "no usable crystal")


def test_unknown_extension(tmp_path):
    (tmp_path / "x.doc").write_text("")
    sentence(lambda: load_crystals(tmp_path / "x.doc"), "unknown extension", ".csv.gz")


def test_unknown_split(tmp_path):
    sentence(
        lambda: load_crystals(table(tmp_path / "train.csv", [("a", p1())]), split="test"),
        "no split 'test'",
        "train",
    )


def test_no_splits(tmp_path):
    sentence(
        lambda: load_crystals(table(tmp_path / "x.csv", [("a", p1())]), split="test"),
        "it is one set",
        "load_splits",
    )


def test_empty_file(tmp_path):
    (tmp_path / "x.csv").write_text("")
    sentence(lambda: load_crystals(tmp_path / "x.csv"), "x.csv is empty")


def test_cut_gzip(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"material_id,cif\n" + os.urandom(5000))[:3000])
    sentence(lambda: load_crystals(tmp_path / "x.csv.gz"), "x.csv.gz", "damaged or cut short")


def test_wrong_options(tmp_path):
    src = table(tmp_path / "x.csv", [("a", p1())])
    with pytest.raises(ValueError, match="graph is 'knn'"):
        load_crystals(src, graph="knn")
    with pytest.raises(ValueError, match="limit is 0"):
        load_crystals(src, limit=0)


def test_table_that_breaks_off(tmp_path):
    src = table(tmp_path / "x.csv", [("a", p1()), ("b", p1())])
    src.write_text(src.read_text()[:-30])
    batch, rejected = read_source(src, cache=False)
    assert (
        batch.ids == ("a",)
        and [(r.row, r.field) for r in rejected] == [(1, "row")]
        and "breaks off" in rejected[0].reason
    )


@pytest.mark.parametrize("sep", [",", ";"])
@pytest.mark.parametrize("part", ["id", "before", "within", "after", "number"])
def test_a_stray_quote_loses_one_row(tmp_path, sep, part):
    from pymatgen.core import Structure

    cifs = [Structure(6 * np.eye(3), ["Na"], [[0, 0, 0]]).to(fmt="cif") for _ in range(6)]
    rows = [[f"row{k}", f'"{c}"', f"{k}.5"] for k, c in enumerate(cifs)]
    assert "'x, y, z'" in cifs[0]  # a line that looks like three values of a table
    at = {"id": (0, 0), "before": (1, 0), "within": (1, 40), "after": (1, len(rows[2][1])), "number": (2, 1)}
    column, place = at[part]
    rows[2][column] = rows[2][column][:place] + '"' + rows[2][column][place:]
    src = tmp_path / "x.csv"
    src.write_text(sep.join(("material_id", "cif", "gap")) + "\n" + "\n".join(map(sep.join, rows)) + "\n")
    batch, rejected = read_source(src, cache=False)
    whole = [f"row{k}" for k in range(6) if k != 2]
    if part == "number":  # within a value that is not quoted a quote is a sign like any other
        assert batch.ids == tuple(sorted([*whole, "row2"])) and not rejected
    else:
        assert batch.ids == tuple(whole) and [(r.row, r.field) for r in rejected] == [(2, "row")]
        assert batch.properties["gap"].tolist() == [0.5, 1.5, 3.5, 4.5, 5.5]


def test_broken_rows_that_follow_each_other_keep_their_places(tmp_path):
    src = table(tmp_path / "x.csv", [(f"row{k}", p1()) for k in range(7)])
    text = src.read_text()
    for k in (2, 3, 5):
        text = text.replace(f"row{k}", f'"row{k}')
    src.write_text(text)
    batch, rejected = read_source(src, cache=False)
    assert batch.ids == ("row0", "row1", "row4", "row6") and [r.row for r in rejected] == [2, 3, 5]
    assert "no border between them" in rejected[1].reason


def test_crooked_line(tmp_path):
    src = table(tmp_path / "x.csv", [("a", p1()), ("b", p1(), "one too many"), ("c", p1())])
    batch, rejected = read_source(src, cache=False)
    assert batch.ids == ("a", "c") and [(r.row, r.field) for r in rejected] == [(1, "row")]


# ---- kinds of source ----


def test_properties_and_ids(tmp_path):
    src = table(
        tmp_path / "x.csv",
        [(7, p1(), "Fm3m", 1.5, ""), (8, "hello", "P1", 9, 9), (9, p1(), "P1", -2, 3)],
        ("material_id", "cif", "group", "gap", "heat"),
    )
    batch, _ = read_source(src, cache=False)
    assert batch.ids == ("7", "9") and set(batch.properties) == {"gap", "heat"}
    assert batch.properties["gap"].tolist() == [1.5, -2] and batch.properties["heat"].isnan().tolist() == [
        True,
        False,
    ]


def test_ids_are_made_where_there_are_none(tmp_path):
    assert load_crystals(table(tmp_path / "x.csv", [(p1(),), (p1(),)], ("cif",)), cache=False).ids == (
        "x-0",
        "x-1",
    )


def test_values_are_right(tmp_path):
    cif = p1((3.0, 4.0, 5.0), (90.0, 90.0, 90.0), (("Na", 0.1, 0.2, 0.3, 1), ("Cl", 0.6, 0.7, -0.2, 1)))
    batch = load_crystals(table(tmp_path / "x.csv", [("a", cif)]), cache=False)
    assert batch.atomic_numbers.tolist() == [11, 17] and batch.atomic_numbers.dtype == torch.int64
    assert torch.allclose(batch.lengths, torch.tensor([[3.0, 4.0, 5.0]])) and torch.allclose(
        batch.angles, torch.full((1, 3), 90.0)
    )
    assert torch.allclose(
        batch.frac_coords.sort(1).values[0], batch.frac_coords.sort(1).values[0].clamp(0, 0.999999)
    )
    d = batch.frac_coords[1] - batch.frac_coords[0]
    assert torch.allclose((d - d.round()).abs(), torch.tensor([0.5, 0.5, 0.5]), atol=1e-5)


def test_niggli_makes_equal_what_is_equal(tmp_path):
    from pymatgen.core import Lattice, Structure

    rows = []
    for k, m in enumerate([np.eye(3), [[1, 2, 0], [0, 1, 0], [0, 0, 1]], [[1, 0, 0], [3, 1, 0], [0, -2, 1]]]):
        s = Structure(np.array(m) @ Lattice.orthorhombic(3, 4, 5).matrix, ["Na"], [[0, 0, 0]])
        rows.append((k, s.to(fmt="cif")))
    src = table(tmp_path / "x.csv", rows)
    assert torch.allclose(
        load_crystals(src, cache=False).lengths, torch.tensor([[3.0, 4.0, 5.0]]).expand(3, 3), atol=1e-3
    )
    assert load_crystals(src, cache=False, niggli=False).lengths[1, 0] > 8


def test_left_handed_axes_do_not_mirror_the_crystal(tmp_path):
    "Three marked atoms around a fourth have a handedness that no choice of axes may change."
    import ase
    import ase.io

    cart = np.array([[0, 0, 0], [1.5, 0, 0], [0, 2.0, 0], [0, 0, 2.5]]) + 1
    frames = [
        ase.Atoms("CNOF", cart, cell=c, pbc=True)
        for c in (np.diag([6.0, 7.0, 8.0]), np.diag([6.0, 7.0, 8.0])[[1, 0, 2]])
    ]
    ase.io.write(tmp_path / "x.extxyz", frames)
    for niggli in (True, False):
        for b in load_crystals(tmp_path / "x.extxyz", cache=False, niggli=niggli):
            f = b.frac_coords[b.atomic_numbers.argsort()]
            d = (f[1:] - f[0] - (f[1:] - f[0]).round()) @ b.lattice[0]
            assert torch.det(d) == pytest.approx(7.5, abs=1e-3)


def test_coordinates_stay_below_one():
    "0.99999999 is 1 in float32: it becomes 0 before bonds are looked for, so that their images stay true."
    s = data.RawCrystal(
        np.array([55, 17]), np.array([[0.99999999, -1e-12, 0], [0.5, 0.5, 0.5]]), 4 * np.eye(3)
    )
    assert data.canonical(s, niggli=False).frac[0].tolist() == [0, 0, 0]
    reduced = data.canonical(s, niggli=True).frac.astype(np.float32)
    assert (reduced >= 0).all() and (reduced < 1).all()


def test_folder_of_splits(tmp_path):
    for name, ids in dict(train="ab", val="c", test="d").items():
        table(tmp_path / f"{name}.csv", [(i, p1()) for i in ids])
    (tmp_path / "val.csv.gz").write_bytes(gzip.compress((tmp_path / "val.csv").read_bytes()))
    (tmp_path / "val.csv").unlink()
    assert load_crystals(tmp_path, "train").ids == ("a", "b")
    assert load_crystals(tmp_path, "val").ids == ("c",)
    assert load_crystals(tmp_path).ids == ("a", "b", "c", "d")
    assert {k: v.ids for k, v in load_splits(tmp_path).items()} == dict(
        train=("a", "b"), val=("c",), test=("d",)
    )
    sentence(lambda: load_crystals(tmp_path, "holdout"), "no split 'holdout'", "train, val, test")


def test_dividing_one_set(tmp_path):
    src = table(tmp_path / "x.csv", [(k, p1()) for k in range(20)])
    parts = load_splits(src, seed=1)
    assert [len(parts[s]) for s in ("train", "val", "test")] == [16, 2, 2]
    assert sorted(int(i) for p in parts.values() for i in p.ids) == list(range(20))
    assert parts["test"].ids == load_splits(src, seed=1)["test"].ids


def test_folder_of_cifs(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.cif").write_text(p1())
    (tmp_path / "d.cif").write_text("broken")
    (tmp_path / "notes.txt").write_text("not a crystal")
    batch, rejected = read_source(tmp_path, cache=False)
    assert batch.ids == ("a", "b", "c") and [(Path(r.file).name, r.material_id) for r in rejected] == [
        ("d.cif", "d")
    ]
    assert load_crystals(tmp_path / "a.cif", cache=False).ids == ("a",)


def test_generated_folder(tmp_path):
    table(
        tmp_path / "crystals.csv",
        [(0, "a", p1(), ""), (1, "b", "", "no cell")],
        ("index", "material_id", "cif", "error"),
    )
    table(tmp_path / "truth.csv", [(0, "a", p1()), (1, "b", p1())], ("index", "material_id", "cif"))
    batch, rejected = read_source(tmp_path, cache=False)
    assert (
        batch.ids == ("a",)
        and batch.properties == {}
        and [r.reason for r in rejected] == ["the CIF is empty: no cell"]
    )
    assert load_crystals(tmp_path, "truth", cache=False).ids == ("a", "b")


def test_extxyz(tmp_path):
    import ase
    import ase.io

    frames = [
        ase.Atoms(
            "NaCl",
            scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]],
            cell=[3.5 + k / 10] * 3,
            pbc=True,
            info=dict(gap=k / 2, material_id=f"m{k}"),
        )
        for k in range(3)
    ]
    ase.io.write(tmp_path / "x.extxyz", frames)
    batch = load_crystals(tmp_path / "x.extxyz", cache=False)
    assert (
        batch.ids == ("m0", "m1", "m2")
        and torch.allclose(batch.lengths[:, 0], torch.tensor([3.5, 3.6, 3.7]))
        and batch.properties["gap"].tolist() == [0, 0.5, 1]
    )


def test_bad_extxyz_frames(tmp_path):
    good = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 pbc="T T T"\nCu 0 0 0\n'
    molecule = '1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nCu 0 0 0\n'
    nan = good.replace("Cu 0", "Cu nan")
    stray = good.replace("Cu", "Qq")
    (tmp_path / "x.extxyz").write_text(good + molecule + nan + stray + good + "5\ncut\n")
    batch, rejected = read_source(tmp_path / "x.extxyz", cache=False)
    assert batch.ids == ("x-0", "x-4")
    assert [(r.row, r.field) for r in rejected] == [
        (1, "lattice"),
        (2, "frac_coords"),
        (3, "frame"),
        (5, "frame"),
    ]


def test_parquet(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pd.DataFrame(
        dict(material_id=["a", "b", "c"], cif=[p1(), None, p1()], gap=[1.0, 2.0, np.nan])
    ).to_parquet(tmp_path / "train.parquet")
    batch, rejected = read_source(tmp_path, "train", cache=False)
    assert (
        batch.ids == ("a", "c")
        and [r.row for r in rejected] == [1]
        and batch.properties["gap"].isnan().tolist() == [False, True]
    )
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    sentence(lambda: load_crystals(tmp_path / "bad.parquet", cache=False), "bad.parquet")


def test_embedded_sets(tmp_path, monkeypatch):
    for name in ("perov_mini", "carbon_mini"):
        (tmp_path / name).mkdir()
        table(tmp_path / name / "test.csv", [(f"a-{name}", p1())])
    monkeypatch.setenv("DPCDVAE_DATA", str(tmp_path))
    for name in ("perov_mini", "carbon_mini"):
        assert (
            load_crystals(name, "test").ids
            == load_crystals(name.replace("_", "-"), "test").ids
            == (f"a-{name}",)
        )


def test_limit(tmp_path):
    src = table(tmp_path / "x.csv", [(k, p1()) for k in range(9)])
    assert load_crystals(src, limit=4).ids == ("0", "1", "2", "3") and len(load_crystals(src)) == 9


# ---- order under parallel reading ----


def test_parallel_reading_keeps_the_order(tmp_path):
    cifs = many_cifs(150)
    for k in (0, 70, 149):
        cifs[k] = "broken"
    src = table(tmp_path / "x.csv", list(enumerate(cifs)))
    two, bad2 = read_source(src, cache=False, workers=2, progress=False)
    one, bad1 = read_source(src, cache=False, workers=1, progress=False)
    same(two, one)
    assert bad1 == bad2 and [r.row for r in bad2] == [0, 70, 149]
    assert two.ids == tuple(str(k) for k in range(150) if k not in (0, 70, 149))
    assert torch.allclose(
        two.lengths[:, 0], 3.5 + torch.tensor([float(i) for i in two.ids]) / 1000, atol=1e-5
    )


def test_parallel_reading_uses_other_processes(tmp_path, monkeypatch):
    "Rows are parsed elsewhere: what the parser notes here stays empty."
    here, real = [], data.parse_row
    monkeypatch.setattr(data, "parse_row", lambda row: here.append(1) or real(row))
    rows = [data.Row("x", k, str(k), "cif", c) for k, c in enumerate(many_cifs(80))]
    assert len(data.read_rows(rows, workers=2, progress=False)) == 80 and not here
    assert len(data.read_rows(rows, workers=1, progress=False)) == 80 and len(here) == 80


# ---- CrystalNN ----


@pytest.mark.parametrize("name", ["Cu", "NaCl", "CsCl", "Si", "SrTiO3"])
def test_bonds_are_those_of_pymatgen(name):
    "The same edges as the structure graph of pymatgen, in both directions."
    from pymatgen.analysis.graphs import StructureGraph
    from pymatgen.analysis.local_env import CrystalNN

    s = toy(name).to_structures()[0]
    make = getattr(StructureGraph, "from_local_env_strategy", None) or StructureGraph.with_local_env_strategy
    expected = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, j, image in make(
            s, CrystalNN(distance_cutoffs=None, x_diff_weight=-1, porous_adjustment=False)
        ).graph.edges(data="to_jimage"):
            expected |= {(j, i, *map(int, image)), (i, j, *(-int(x) for x in image))}
        found = [tuple(map(int, e)) for e in data.crystalnn_edges(s)]
    assert len(set(found)) == len(found) and set(found) == expected


def test_bonds_in_a_batch(tmp_path):
    "Known coordination, true lengths through the images, and indices that count atoms of the batch."
    nacl, cu = toy("NaCl"), toy("Cu")
    src = table(
        tmp_path / "x.csv",
        [("salt", nacl.to_structures()[0].to(fmt="cif")), ("copper", cu.to_structures()[0].to(fmt="cif"))],
    )
    batch = load_crystals(src, graph="crystalnn")
    g, n = batch.graph, int(batch.num_atoms[0])
    assert g.num_edges.tolist() == [6 * n, 12 * int(batch.num_atoms[1])]
    j, i = g.edge_index
    crystal = batch.batch[i]
    assert torch.equal(crystal, batch.batch[j]) and torch.equal(
        crystal, torch.arange(2).repeat_interleave(g.num_edges)
    )
    d = torch.einsum(
        "ei,eij->ej", batch.frac_coords[j] + g.to_jimages - batch.frac_coords[i], batch.lattice[crystal]
    ).norm(dim=1)
    for k, (atom, tol) in enumerate([(nacl, 1e-3), (cu, 1e-3)]):
        s = atom.to_structures()[0]
        nearest = min(x.nn_distance for x in s.get_neighbors(s[0], 6))
        assert torch.allclose(d[crystal == k], torch.tensor(float(nearest), dtype=d.dtype), atol=tol)
    same(load_crystals(src, graph="crystalnn"), batch)
    assert load_crystals(src).graph is None


def test_crystalnn_failure_is_recorded(tmp_path, monkeypatch):
    def fails(structure):
        raise ValueError("No Voronoi neighbors found for site")

    monkeypatch.setattr(
        data, "crystalnn_edges", lambda s, real=data.crystalnn_edges: fails(s) if len(s) == 1 else real(s)
    )
    src = table(tmp_path / "x.csv", [("a", p1()), ("lonely", p1(sites=(("Cs", 0, 0, 0, 1),)))])
    batch, rejected = read_source(src, graph="crystalnn", cache=False)
    assert (
        batch.ids == ("a",)
        and [(r.material_id, r.field) for r in rejected] == [("lonely", "graph")]
        and "Voronoi" in rejected[0].reason
    )


# ---- cache ----


def cached(folder):
    return sorted((Path(folder) / "crystals").glob("*"))


def test_cache_is_used_and_follows_content_and_options(tmp_path, monkeypatch, own_cache):
    src = table(tmp_path / "x.csv", [("a", p1(), 1.5), ("b", "hello", 2)], ("material_id", "cif", "gap"))
    first, bad = read_source(src)
    assert len(cached(own_cache)) == 1
    with monkeypatch.context() as m:
        m.setattr(data, "read_files", lambda *a: pytest.fail("the source was read again"))
        again, bad2 = read_source(src)
        same(again, first)
        assert bad2 == bad
    read_source(src, niggli=False)
    read_source(src, graph="crystalnn")
    read_source(src, limit=1)
    assert len(cached(own_cache)) == 4
    table(src, [("c", p1())])
    assert load_crystals(src).ids == ("c",) and len(cached(own_cache)) == 5


def test_rejected_rows_name_the_file_where_it_is_now(tmp_path):
    (tmp_path / "here").mkdir(), (tmp_path / "there").mkdir()
    for d in ("here", "there"):
        table(tmp_path / d / "x.csv", [("a", p1()), ("b", "hello")])
    read_source(tmp_path / "here" / "x.csv")
    assert read_source(tmp_path / "there" / "x.csv")[1][0].file == str(tmp_path / "there" / "x.csv")


def test_cache_can_be_elsewhere_or_off(tmp_path, own_cache):
    src = table(tmp_path / "x.csv", [("a", p1())])
    load_crystals(src, cache=False)
    assert not cached(own_cache)
    load_crystals(src, cache=tmp_path / "mine")
    assert not cached(own_cache) and len(cached(tmp_path / "mine")) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "garbage", "foreign"])
def test_damaged_cache_is_noticed_and_made_again(damage, tmp_path, own_cache):
    src = table(tmp_path / "x.csv", [("a", p1()), ("b", p1())])
    first = load_crystals(src)
    [path] = cached(own_cache)
    whole = path.read_bytes()
    if damage == "foreign":
        from safetensors.torch import save

        path.write_bytes(save({"x": torch.zeros(3)}))
    else:
        path.write_bytes(
            dict(
                cut=whole[:-7],
                flip=whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
                empty=b"",
                garbage=b"\xff" * 500,
            )[damage]
        )
    with pytest.warns(UserWarning, match="damaged.*made again"):
        again = load_crystals(src)
    same(again, first)
    assert path.read_bytes() == whole


def full_disk(path, _):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_full_disk_costs_only_the_cache(tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr(os, "replace", full_disk)
    src = table(tmp_path / "x.csv", [("a", p1())])
    with pytest.warns(UserWarning, match="could not be written .No space left on device.*not cached"):
        assert load_crystals(src).ids == ("a",)
    assert cached(own_cache) == []


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    write_rejected([], tmp_path / "r.csv")
    old = (tmp_path / "r.csv").read_bytes()
    monkeypatch.setattr(os, "replace", full_disk)
    sentence(
        lambda: write_rejected([Rejected("x", 0, "a", "cif", "b")], tmp_path / "r.csv"),
        "r.csv could not be written",
        "free some space",
    )
    assert (tmp_path / "r.csv").read_bytes() == old and len(list(tmp_path.iterdir())) == 1


def test_full_disk_while_writing(tmp_path, monkeypatch):
    def half(self, content):
        with open(self, "wb") as f:
            f.write(content[:5])
        full_disk(self, None)

    monkeypatch.setattr(Path, "write_bytes", half)
    sentence(lambda: write_rejected([], tmp_path / "r.csv"), "could not be written")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_really_full_disk(tmp_path):
    link = part_path(tmp_path / "r.csv")
    link.symlink_to("/dev/full")
    sentence(
        lambda: write_rejected([Rejected("x", 0, "a", "cif", "b" * 100_000)], tmp_path / "r.csv"),
        "No space left on device",
    )
    assert list(tmp_path.iterdir()) == []


def big_batch(num=10_000):
    n = torch.randint(1, 21, (num,), generator=torch.Generator().manual_seed(0))
    N = int(n.sum())
    return CrystalBatch(
        atomic_numbers=torch.randint(1, 90, (N,)),
        frac_coords=torch.rand(N, 3),
        lengths=3 + 5 * torch.rand(num, 3),
        angles=60 + 60 * torch.rand(num, 3),
        num_atoms=n,
        ids=tuple(f"m-{i}" for i in range(num)),
        properties=dict(gap=torch.rand(num)),
    )


def test_second_load_of_ten_thousand_crystals(tmp_path, monkeypatch):
    batch, text = big_batch(), p1()
    src = table(tmp_path / "x.csv", [(i, text) for i in batch.ids])
    monkeypatch.setattr(data, "read_files", lambda *a: (batch, []))
    load_crystals(src)
    monkeypatch.setattr(data, "read_files", lambda *a: pytest.fail("the source was read again"))
    start = time.perf_counter()
    again = load_crystals(src)
    assert time.perf_counter() - start < 2
    same(again, batch)


def test_stored_split_is_a_source(tmp_path):
    src = table(tmp_path / "x.csv", [("a", p1()), ("b", p1(lengths=(4.4,) * 3))])
    bonded = load_crystals(src, graph="crystalnn")
    save_crystals(
        bonded, tmp_path / "out" / "train.safetensors", [Rejected("x.csv", 2, "c", "cif", "broken")]
    )
    same(load_crystals_quietly(tmp_path / "out", "train", graph="crystalnn"), bonded)
    assert read_source(tmp_path / "out", "train")[1][0].material_id == "c"
    save_crystals(load_crystals(src), tmp_path / "plain.safetensors")
    sentence(lambda: load_crystals(tmp_path / "plain.safetensors", graph="crystalnn"), "stored without bonds")
    assert load_crystals(tmp_path / "plain.safetensors", limit=1).ids == ("a",)


def load_crystals_quietly(*args, **kw):
    return read_source(*args, **kw)[0]


# ---- official files, from a server of our own ----


@pytest.fixture
def server(tmp_path):
    "Serve a folder; `hits` lists what was asked for."
    root, hits = tmp_path / "www", []
    root.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *a):
            super().__init__(*a, directory=str(root))

        def log_message(self, *a):
            hits.append(self.path)

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    yield root, f"http://127.0.0.1:{web.server_port}", hits
    web.shutdown()
    web.server_close()


@pytest.fixture
def tiny_official(server, monkeypatch):
    root, url, hits = server
    (root / "perov_5").mkdir()
    for s in ("train", "val", "test"):
        table(root / "perov_5" / f"{s}.csv", [(s, p1())])
    monkeypatch.setitem(
        data.OFFICIAL,
        "perov-5",
        {
            s: data.git_blob_sha1((root / "perov_5" / f"{s}.csv").read_bytes())
            for s in ("train", "val", "test")
        },
    )
    monkeypatch.setenv("DPCDVAE_DATA_URL", url)
    return server


def test_git_hash():
    assert data.git_blob_sha1(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_download_verifies_and_happens_once(tiny_official, own_cache):
    _, _, hits = tiny_official
    assert load_crystals("perov-5", "val", progress=False).ids == ("val",)
    assert load_crystals("perov_5", "val", progress=False, cache=False).ids == ("val",)
    assert len(hits) == 1
    assert sorted(p.name for p in (own_cache / "data" / "perov_5").iterdir()) == ["val.csv"]
    assert load_crystals("perov-5", progress=False).ids == ("train", "val", "test")
    sentence(lambda: load_crystals("perov-5", "holdout"), "no split 'holdout'")


def test_wrong_download_is_refused(tiny_official, own_cache):
    root, *_ = tiny_official
    (root / "perov_5" / "val.csv").write_text("something else")
    sentence(lambda: load_crystals("perov-5", "val", progress=False), "not the official file", "by hand")
    assert not list(own_cache.rglob("*.csv*"))


def test_wrong_file_of_the_users_stays(tiny_official, own_cache):
    mine = own_cache / "data" / "perov_5" / "val.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("precious")
    sentence(
        lambda: load_crystals("perov-5", "val", progress=False),
        str(mine),
        "not the official file",
        "move it away",
    )
    assert mine.read_text() == "precious" and len(list(mine.parent.iterdir())) == 1 and not tiny_official[2]


def test_file_put_there_by_hand(tiny_official, own_cache, monkeypatch):
    root, *_ = tiny_official
    place = own_cache / "data" / "perov_5"
    place.mkdir(parents=True)
    (place / "val.csv").write_bytes((root / "perov_5" / "val.csv").read_bytes())
    monkeypatch.setenv("DPCDVAE_DATA_URL", "http://127.0.0.1:9")
    assert load_crystals("perov-5", "val", progress=False).ids == ("val",)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "missing"])
def test_offline_says_what_to_put_where(url, server, own_cache, monkeypatch):
    monkeypatch.setenv("DPCDVAE_DATA_URL", server[1] if url == "missing" else url)
    sentence(
        lambda: load_crystals("mp-20", "val", progress=False),
        "could not be downloaded",
        "put the official val.csv of mp-20 at",
        str(own_cache / "data" / "mp_20" / "val.csv"),
    )
    assert not list(own_cache.rglob("*"))


def test_download_cut_short(own_cache, monkeypatch):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)

        def log_message(self, *a):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setenv("DPCDVAE_DATA_URL", f"http://127.0.0.1:{web.server_port}")
    sentence(lambda: load_crystals("mp-20", "val", progress=False), "val.csv", "by hand")
    assert not list(own_cache.rglob("*.csv*"))
    web.shutdown()
    web.server_close()


def test_all_official_files_are_named():
    assert {k: set(v) for k, v in data.OFFICIAL.items()} == {
        n: {"train", "val", "test"} for n in ("perov-5", "carbon-24", "mp-20")
    }
    assert len({h for v in data.OFFICIAL.values() for h in v.values()}) == 9 and all(
        len(h) == 40 for v in data.OFFICIAL.values() for h in v.values()
    )


# ---- real crystals ----


@needs_real_data
@pytest.mark.parametrize(
    "name,num,atoms",
    [("perov_5", 1893, {5}), ("carbon_24", 1015, set(range(6, 25))), ("mp_20", 4523, set(range(1, 21)))],
)
def test_real_splits(name, num, atoms):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = load_crystals(SHARED / name, "test", limit=400, progress=False)
    assert len(batch) == 400 and set(batch.num_atoms.tolist()) <= atoms and batch.atomic_numbers.max() <= 94
    assert all(batch.ids) and torch.isfinite(batch.lattice).all() and (batch.lattice.det() > 0).all()


@needs_real_data
def test_real_crystals_are_unchanged():
    "Niggli reduction, float32 and wrapping leave every crystal the same to pymatgen's matcher."
    from pymatgen.analysis.structure_matcher import StructureMatcher

    reduced = load_crystals(SHARED / "mp_20", "test", limit=40, progress=False).to_structures()
    asis = load_crystals(SHARED / "mp_20", "test", limit=40, progress=False, niggli=False).to_structures()
    matcher = StructureMatcher(primitive_cell=False, scale=False, stol=0.01, ltol=0.001, angle_tol=0.1)
    assert all(matcher.fit(a, b) for a, b in zip(reduced, asis))
    assert any(abs(a.lattice.a - b.lattice.a) > 0.1 for a, b in zip(reduced, asis))


@needs_real_data
def test_real_bonds():
    batch = load_crystals(SHARED / "perov_5", "val", graph="crystalnn", limit=12, progress=False, cache=False)
    j, i = batch.graph.edge_index
    d = torch.einsum(
        "ei,eij->ej",
        batch.frac_coords[j] + batch.graph.to_jimages - batch.frac_coords[i],
        batch.lattice[batch.batch[i]],
    ).norm(dim=1)
    assert (d > 0.5).all() and (d < 6).all()
    pairs = {(a, b, *c) for a, b, c in zip(j.tolist(), i.tolist(), batch.graph.to_jimages.tolist())}
    assert pairs == {(b, a, -x, -y, -z) for a, b, x, y, z in pairs}


# ---- scaler ----


def cells(num=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    n = torch.randint(1, 20, (num,), generator=g)
    lengths = 3 + 5 * torch.rand(num, 3, generator=g)
    return CrystalBatch(
        atomic_numbers=torch.full((int(n.sum()),), 6),
        frac_coords=torch.rand(int(n.sum()), 3, generator=g),
        lengths=lengths,
        angles=70 + 40 * torch.rand(num, 3, generator=g),
        num_atoms=n,
    )


def test_standard_scaler_equals_its_definition():
    b = cells()
    y = LatticeScaler().fit(b).transform(b.lengths, b.angles, b.num_atoms)
    x = np.concatenate(
        [b.lengths.numpy() / b.num_atoms.numpy()[:, None] ** (1 / 3), b.angles.numpy()], 1
    ).astype(np.float64)
    assert np.allclose(y.numpy(), (x - x.mean(0)) / x.std(0), atol=1e-4)


def test_standard_scaler_has_a_floor_and_an_exact_inverse():
    b = toy("SrTiO3")
    s = LatticeScaler().fit(b)
    assert torch.allclose(s.scale, torch.tensor([1e-2] * 3 + [0.5] * 3))
    lengths, angles = s.inverse(s.transform(b.lengths + 0.3, b.angles + 2, b.num_atoms), b.num_atoms)
    assert torch.allclose(lengths, b.lengths + 0.3, atol=1e-5) and torch.allclose(
        angles, b.angles + 2, atol=1e-4
    )


def test_minmax_scaler_equals_the_paper():
    b = cells()
    s = LatticeScaler("minmax").fit(b)
    x = np.concatenate(
        [b.lengths.numpy() / b.num_atoms.numpy()[:, None] ** (1 / 3), b.angles.numpy()], 1
    ).astype(np.float64)
    low, high = x.min(0), x.max(0)
    y = s.transform(b.lengths, b.angles, b.num_atoms)
    assert np.allclose(y.numpy(), (x - low + 1e-10) / (high - low + 1e-10), atol=1e-5)
    lengths, angles = s.inverse(torch.full((1, 6), 0.25), torch.tensor([8]))
    assert np.allclose(
        np.concatenate([lengths[0].numpy() / 2, angles[0].numpy()]), 0.25 * (high - low) + low, atol=1e-4
    )
    constant = LatticeScaler("minmax").fit(
        toy("Cu")
    )  # a range of zero: one on the way in, the minimum on the way out
    assert torch.allclose(
        constant.transform(toy("Cu").lengths, toy("Cu").angles, toy("Cu").num_atoms), torch.ones(6)
    )


def test_lengths_do_not_depend_on_the_choice_of_supercell():
    s = LatticeScaler().fit(cells())
    assert torch.allclose(
        s.transform(torch.full((1, 3), 4.0), torch.full((1, 3), 90.0), torch.tensor([2])),
        s.transform(torch.full((1, 3), 8.0), torch.full((1, 3), 90.0), torch.tensor([16])),
        atol=1e-5,
    )


@pytest.mark.parametrize("method", ["standard", "minmax"])
def test_scaler_state_is_in_the_state_dict(method):
    b = cells()
    s, fresh = LatticeScaler(method).fit(b), LatticeScaler(method)
    fresh.load_state_dict(s.state_dict())
    assert torch.equal(
        fresh.transform(b.lengths, b.angles, b.num_atoms), s.transform(b.lengths, b.angles, b.num_atoms)
    ) and not list(s.parameters())
    for x, y in zip(
        fresh.inverse(torch.full((2, 6), 99.0), b.num_atoms[:2], clamp=True),
        s.inverse(torch.full((2, 6), 99.0), b.num_atoms[:2], clamp=True),
    ):
        assert torch.equal(x, y)
    with pytest.raises(ValueError, match="use 'standard' or 'minmax'"):
        LatticeScaler("robust")


@pytest.mark.parametrize("wild", [-1e4, -30.0, 0.0, 30.0, 1e4])
def test_clamped_cells_exist(wild):
    wide = cells().replace(angles=40 + 100 * torch.rand(50, 3, generator=torch.Generator().manual_seed(2)))
    s = LatticeScaler().fit(wide)
    noise = wild * torch.randn(200, 6, generator=torch.Generator().manual_seed(1))
    lengths, angles = s.inverse(noise, torch.full((200,), 4), clamp=True)
    assert (lengths > 0).all() and (unit_gram(angles) > 5e-3).all()
    b = cells()
    s.fit(b)  # what is usual is left alone
    usual = s.transform(b.lengths, b.angles, b.num_atoms)
    for x, y in zip(s.inverse(usual, b.num_atoms, clamp=True), s.inverse(usual, b.num_atoms)):
        assert torch.allclose(x, y)


# ---- loaders ----


def test_sampler_is_a_permutation_that_depends_on_seed_and_epoch():
    n = big_batch(500).num_atoms
    orders = {}
    for seed in (0, 1):
        for epoch in (0, 1):
            s = BucketBatchSampler(n, 32, shuffle=True, bucket=True, seed=seed)
            s.set_epoch(epoch)
            orders[seed, epoch] = sum(s, [])
            assert sorted(orders[seed, epoch]) == list(range(500)) and len(s) == len(list(s)) == 16
            assert sum(s, []) == orders[seed, epoch]
    assert len(set(map(tuple, orders.values()))) == 4


def test_buckets_make_padding_small():
    n = big_batch(2000).num_atoms
    padding = lambda **kw: sum(
        int(n[b].max()) * len(b) - int(n[b].sum()) for b in BucketBatchSampler(n, 50, shuffle=True, **kw)
    )
    assert padding(bucket=True) < padding() / 10
    largest = [int(n[b].max()) for b in BucketBatchSampler(n, 50, shuffle=True, bucket=True)]
    assert largest[:32] != sorted(largest[:32])  # small crystals do not always come first


def test_drop_last_and_order():
    n = torch.arange(10) + 1
    assert list(BucketBatchSampler(n, 4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert list(BucketBatchSampler(n, 4, drop_last=True)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert list(BucketBatchSampler(n.flip(0), 4, bucket=True)) == [[9, 8, 7, 6], [5, 4, 3, 2], [1, 0]]
    assert all(len(b) == 4 for b in BucketBatchSampler(n, 4, shuffle=True, bucket=True, drop_last=True))
    seen = set()
    for epoch in range(20):
        batches = BucketBatchSampler(n, 4, shuffle=True, bucket=True, drop_last=True)
        batches.set_epoch(epoch)
        seen |= {i for b in batches for i in b}
    assert seen == set(range(10))  # what is left out is drawn anew, it is not always the largest
    with pytest.raises(ValueError, match="batch_size is 0"):
        BucketBatchSampler(n, 0)
    with pytest.raises(ValueError, match="rank 2"):
        BucketBatchSampler(n, 2, rank=2, world_size=2)


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_share_the_batches(world):
    """Together they have the batches of one process.

    Where a batch is smaller than their number, one crystal comes to several."""
    n = torch.arange(50) % 7 + 1
    make = lambda r=0, w=1: BucketBatchSampler(n, 8, shuffle=True, bucket=True, rank=r, world_size=w)
    parts = [list(make(r, world)) for r in range(world)]
    assert {len(p) for p in parts} == {len(make(0, world))} == {7}
    for whole, *mine in zip(make(), *parts):
        together = [i for m in mine for i in m]
        assert set(together) == set(whole) and len(together) == max(len(whole), world) and all(mine)


def test_loader_gives_the_crystals(tmp_path):
    b = cells(20)
    loader = CrystalLoader(b, batch_size=6, shuffle=True, bucket=True, seed=3)
    seen = [c for part in loader for c in part.lengths[:, 0].tolist()]
    assert (
        len(loader) == 4
        and sorted(seen) == sorted(b.lengths[:, 0].tolist())
        and seen != b.lengths[:, 0].tolist()
    )
    for part in CrystalLoader(b, batch_size=6, bucket=True):
        assert isinstance(part, CrystalBatch) and len(part.atomic_numbers) == part.num_atoms.sum()
    loader.set_epoch(5)
    assert [c for part in loader for c in part.lengths[:, 0].tolist()] != seen
    assert loader.batch_sampler.sampler is loader.batch_sampler  # where Lightning calls set_epoch


# ---- composition ----


def test_composition_fractions():
    b = CrystalBatch.cat([toy("SrTiO3"), toy("Cu"), toy("NaCl")])
    f = composition_fractions(b)
    assert f.shape == (3, 100) and torch.allclose(f.sum(1), torch.ones(3))
    assert (
        f[0, [37, 21, 7]].tolist() == pytest.approx([0.2, 0.2, 0.6])
        and f[1, 28] == 1
        and f[2, [10, 16]].tolist() == [0.5, 0.5]
    )


def test_summary():
    s = dataset_summary(CrystalBatch.cat([toy("SrTiO3"), toy("Cu")]))
    assert (
        s["crystals"] == 2
        and s["atoms_per_crystal"] == (int(toy("Cu").num_atoms), 5)
        and set(s["elements"]) == {"Sr", "Ti", "O", "Cu"}
        and s["bonds"] is None
    )


# ---- import ----


def test_import_is_light():
    import subprocess
    import sys

    code = (
        "import sys, dpcdvae.data; print([m for m in ('pymatgen', 'pandas', 'ase', 'plotly', "
        "'lightning', 'safetensors', 'torch_geometric') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


def replace_for_ever(path, files):
    for k in itertools.count():
        (part := path.with_suffix(".part")).write_bytes(files[k % 2])
        os.replace(part, path)


def test_a_file_that_is_replaced_meanwhile_is_read_in_one_piece(tmp_path):
    "safetensors' own `safe_open` gave metadata of one file and tensors of the other once in 150 readings."
    path = tmp_path / "x.safetensors"
    files = [save(dict(x=torch.full((1000,), float(k))), dict(which=str(k))) for k in (0, 1)]
    path.write_bytes(files[0])
    writer = multiprocessing.get_context("fork").Process(
        target=replace_for_ever, args=(path, files), daemon=True
    )
    writer.start()
    read = [read_tensors(path) for _ in range(10_000)]
    writer.kill()
    assert {float(meta["which"]) for _, meta in read} == {0.0, 1.0}
    assert all(float(tensors["x"][0]) == float(meta["which"]) for tensors, meta in read)
