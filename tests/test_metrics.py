"""Metrics against pymatgen and SMACT called directly, by hand-built crystals, and on folders of odd files."""

import json
import math
import os
import signal
import time
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from modules import Modules, group
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure

summaries = group("summaries")
metrics = group("measures")
from dpcdvae.data.files import DataError, atomic_write
from dpcdvae.evaluation import compare
from dpcdvae.evaluation.evaluate import evaluation_folder as next_to

M = Modules(*(m.__name__ for m in (*metrics.modules, *summaries.modules)))

DATA = Path(__file__).parents[1].parent / "shared" / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "perov_5" / "test.csv.gz").is_file(),
    reason="the Perov-5 crystals are not next to the checkout (../shared/data)",
)
quiet = dict(progress=False, workers=1)


def perovskite(a="Sr", b="Ti", x="O", length=3.9):
    return Structure(
        Lattice.cubic(length),
        [a, b, x, x, x],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )


def nacl():
    return Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ).get_primitive_structure()


def noisy(structure, sigma, seed=0):
    "Displace the atoms by Gaussian noise in Å."
    rng = np.random.default_rng(seed)
    return Structure(
        structure.lattice,
        structure.species,
        structure.cart_coords + rng.normal(scale=sigma, size=(len(structure), 3)),
        coords_are_cartesian=True,
    )


def table(path, structures, ids=None, errors=None):
    "Write a table of crystals as generate does."
    errors = errors or [""] * len(structures)
    pd.DataFrame(
        dict(
            index=range(len(structures)),
            material_id=ids or [f"m{i}" for i in range(len(structures))],
            cif=[s.to(fmt="cif") if s is not None else "" for s in structures],
            error=errors,
        )
    ).to_csv(path, index=False)


@pytest.fixture(scope="module")
def perov():
    "The first true Perov-5 crystals, read by pymatgen."
    df = pd.read_csv(DATA / "perov_5" / "test.csv.gz", dtype=str).head(40)
    return list(df["cif"]), [Structure.from_str(c, fmt="cif") for c in df["cif"]]


# -- validity
# ---------------------------------------------------------------------------------------------------------
def test_min_distance_is_the_brute_force_one():
    rng = np.random.default_rng(1)
    s = Structure(Lattice.from_parameters(3, 4, 5, 70, 95, 110), ["C"] * 4, rng.random((4, 3)))
    images = np.array(list(product(range(-3, 4), repeat=3)))
    brute = min(
        (np.linalg.norm((s.frac_coords[i] - s.frac_coords[j] + k) @ s.lattice.matrix), i, j)
        for i in range(4)
        for j in range(i + 1, 4)
        for k in images
    )
    assert M.min_distance(s)[0] == pytest.approx(brute[0]) and M.min_distance(s)[1:] == brute[1:]


def test_min_distance_of_atoms_far_apart():
    assert M.min_distance(Structure(Lattice.cubic(40), ["C", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]]))[
        0
    ] == pytest.approx(20 * 3**0.5)


@pytest.mark.parametrize("gap,ok", [(0.49, False), (0.51, True)])
def test_structure_validity_has_its_limit_at_half_an_angstrom(gap, ok):
    check = M.structure_validity(
        Structure(Lattice.cubic(10), ["Na", "Cl"], [[0, 0, 0.999], [0, 0, 0.999 + gap / 10]])
    )
    assert check.ok is ok and bool(check) is ok
    if not ok:
        assert check.reason == f"atoms 0 (Na) and 1 (Cl) are {gap:.3f} Å apart (limit 0.5)"


def test_a_cell_without_volume_is_invalid():
    flat = Structure(Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 0]]), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert M.structure_validity(flat).kind == "cell without volume"
    row = M.evaluate_crystal((M.Entry(0, "flat", flat), None, 10))
    assert row["structure_valid"] is False and row["valid"] is False


@pytest.mark.parametrize("volume, ok", [(M.MIN_VOLUME * 0.99, False), (0.125, True)])
def test_limits_of_volume_and_distance_are_inclusive(volume, ok):
    "Atoms half an angstrom apart, in cells that differ in volume."
    box = Structure(Lattice.orthorhombic(0.5, 1, volume / 0.5), ["Na", "Na"], [[0, 0, 0], [0, 0.5, 0]])
    assert M.structure_validity(box).ok is ok and M.MIN_VOLUME == 0.1


def test_one_atom_cells_are_valid():
    assert M.structure_validity(Structure(Lattice.cubic(2), ["Cu"], [[0, 0, 0]])).ok


@pytest.mark.parametrize(
    "formula,kind",
    [
        ("NaCl", ""),
        ("Na2Cl", "no charge-neutral combination"),
        ("SrTiO3", ""),
        ("C", ""),
        ("CuAu", ""),
        ("HeO", "no known oxidation state"),
        ("Ne", ""),
        ("Na4Cl4", ""),
        ("SiO2", ""),
        ("NaO3", "no charge-neutral combination"),
    ],
)
def test_composition_validity(formula, kind):
    assert M.composition_validity(formula) == M.Check(not kind, M.composition_validity(formula).reason, kind)


def test_composition_accepts_structures_and_counts():
    assert (
        M.reduced_counts({"O": 6, "Sr": 2, "Ti": 2})
        == M.reduced_counts(perovskite())
        == (("O", "Sr", "Ti"), (3, 1, 1))
    )
    assert M.composition_validity({"Na": 8, "Cl": 4}).kind and M.composition_validity(perovskite()).ok
    assert M.composition_validity(Composition("Na0.5Cl0.5")).kind == "no whole-number composition"


@pytest.mark.parametrize("setting, options", [("smact", {}), ("field", dict(consensus=1))])
def test_settings_are_smacts_own_defaults_but_for_what_they_name(setting, options):
    from smact.utils.oxidation import ICSD24OxStatesFilter

    table = ICSD24OxStatesFilter().filter(**options)
    known = {e: [int(x) for x in o.split()] for e, o in zip(table.element, table.oxidation_state)}
    assert M.allowed_states(tuple(known), setting) == list(known.values())


def by_smact(formula):
    "CDVAE's rule, spelled out with smact's own neutral_ratios."
    import smact
    from smact.screening import pauling_test

    c = Composition(formula).reduced_composition
    symbols, counts = [e.symbol for e in c], [int(n) for n in c.values()]
    if len(symbols) == 1 or all(s in smact.metals for s in symbols):
        return True
    elements = [smact.Element(s) for s in symbols]
    if not all(e.oxidation_states for e in elements):
        return False
    for states in product(*(e.oxidation_states for e in elements)):
        found = smact.neutral_ratios(states, stoichs=[(n,) for n in counts], threshold=max(counts))
        if found and pauling_test(states, [e.pauling_eneg for e in elements]):
            return True
    return False


@needs_data
def test_smact_agrees_over_perov_5_and_passes_98_percent():
    formulas = pd.read_csv(DATA / "perov_5" / "test.csv.gz", usecols=["formula"])["formula"]
    ours = [M.composition_validity(f).ok for f in formulas]
    assert [by_smact(f) for f in formulas[:300]] == ours[:300]
    assert 0.95 < np.mean(ours) < 0.995 and not all(ours)


# -- reading
# ----------------------------------------------------------------------------------------------------------
@needs_data
def test_read_cif_reads_what_pymatgen_reads(perov):
    for cif, s in zip(*perov):
        ours, s = (
            M.read_cif(cif).get_sorted_structure(),
            s.get_sorted_structure(),
        )  # pymatgen's reader sorts the atoms by element
        assert ours.species == s.species and np.allclose(ours.lattice.matrix, s.lattice.matrix, atol=1e-6)
        d = ours.frac_coords - s.frac_coords
        assert np.allclose(d - np.round(d), 0, atol=1e-6)


def test_read_cif_keeps_atoms_in_one_place():
    s = Structure(Lattice.cubic(4), ["Na", "Cl", "Cl"], [[0, 0, 0], [0, 0, 0], [0.5, 0.5, 0.5]])
    assert M.read_cif(s.to(fmt="cif")).formula == "Na1 Cl2"
    with pytest.raises(ValueError), warnings.catch_warnings(action="ignore"):
        Structure.from_str(s.to(fmt="cif"), fmt="cif")


def test_read_cif_follows_symmetry():
    full = M.read_cif(
        Structure.from_spacegroup(
            "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
        ).to(fmt="cif", symprec=0.01)
    )
    assert full.formula == "Na4 Cl4"


def test_read_cif_from_ase(tmp_path):
    ase = pytest.importorskip("ase.io")
    from pymatgen.io.ase import AseAtomsAdaptor

    ase.write(tmp_path / "a.cif", AseAtomsAdaptor.get_atoms(perovskite()))
    assert M.match(M.read_cif((tmp_path / "a.cif").read_text()), perovskite()) == pytest.approx(0, abs=1e-5)


# -- matching
# ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(4))
def test_match_is_pymatgens(seed):
    truth, pred = perovskite(), noisy(perovskite(), 0.25, seed)
    direct = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).get_rms_dist(pred, truth)
    assert M.match(pred, truth) == (None if direct is None else pytest.approx(direct[0]))


@pytest.mark.parametrize(
    "cell,fits",
    [
        ((3.9, 3.9, 3.9, 90, 90, 83), True),
        ((3.9, 3.9, 3.9, 90, 90, 77), False),
        ((3.9, 3.9, 5.2, 90, 90, 90), True),
        ((3.9, 3.9, 7.0, 90, 90, 90), False),
    ],
)
def test_tolerances_are_the_fields(cell, fits):
    pred = Structure(Lattice.from_parameters(*cell), perovskite().species, perovskite().frac_coords)
    direct = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).get_rms_dist(pred, perovskite())
    assert (M.match(pred, perovskite()) is not None) == fits == (direct is not None)


def test_translation_supercell_rotation_and_permutation_match_exactly():
    truth, moved = perovskite(), perovskite()
    moved.translate_sites(range(5), [0.31, 0.22, 0.73])
    turned = Structure(
        Lattice(perovskite().lattice.matrix @ np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]),
        truth.species,
        truth.frac_coords,
    )
    for pred in (
        moved,
        truth * (2, 1, 1),
        turned,
        truth.get_sorted_structure(key=lambda s: s.frac_coords.sum()),
    ):
        assert M.match(pred, truth) == pytest.approx(0, abs=1e-6)


def test_rms_of_one_displaced_atom_has_its_closed_value():
    truth, pred = nacl(), nacl()
    pred.translate_sites(
        [1], [0, 0, 0.2], frac_coords=False
    )  # the best translation shares the 0.2 Å: each atom 0.1 Å off
    assert M.match(pred, truth) == pytest.approx(0.1 / (truth.volume / 2) ** (1 / 3), rel=0.01)


def test_swapped_species_match_only_anonymously():
    swapped = perovskite("Ti", "Sr")
    assert M.match(swapped, perovskite()) is None
    assert M.match(M.anonymous(swapped), M.anonymous(perovskite())) == pytest.approx(0, abs=1e-6)


def test_reasons_follow_the_order_of_decoding():
    truth = perovskite()
    stretched = Structure(Lattice.orthorhombic(3.9, 3.9, 9), truth.species, truth.frac_coords)
    scrambled = Structure(
        truth.lattice,
        truth.species,
        [[0, 0, 0], [0.15, 0, 0], [0.15, 0.15, 0], [0, 0.15, 0], [0.15, 0.15, 0.15]],
    )
    cases = [
        (nacl(), "number of atoms differs"),
        (perovskite("Ba"), "composition differs"),
        (stretched, "lattice out of tolerance"),
        (perovskite("Ti", "Sr"), "right places, wrong species"),
        (scrambled, "atoms out of place"),
        (truth, ""),
    ]
    for pred, reason in cases:
        assert M.evaluate_crystal((M.Entry(0, "", pred), M.Entry(0, "", truth), 30))["reason"] == reason


def test_atoms_that_lost_a_centring_are_out_of_place_not_the_lattice():
    centred = Structure(
        Lattice.cubic(3.6), ["Cu"] * 4, [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    )
    shaken = Structure(
        centred.lattice, centred.species, [[0, 0, 0], [0.2, 0.5, 0.3], [0.4, 0.1, 0.5], [0.5, 0.7, 0.1]]
    )
    far = Structure(
        centred.lattice, centred.species, [[0, 0, 0], [0.1, 0.1, 0.1], [0.2, 0.1, 0.1], [0.5, 0.7, 0.1]]
    )
    doubled = Structure(centred.lattice, centred.species, centred.frac_coords)
    doubled.make_supercell([[2, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert (
        M.match(shaken, centred, reference=True) is None and M.match(shaken, centred) < 0.3
    )  # in the given cells
    assert M.match(shaken, centred, stol=0.2) is None and M.mismatch(far, centred) == "atoms out of place"
    assert M.lattice_fits(doubled, centred)  # another cell of the same lattice


# -- the run
# ----------------------------------------------------------------------------------------------------------
def test_an_invalid_match_counts_only_in_the_plain_rate():
    truth = Structure(
        Lattice.cubic(5), ["Na", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    )  # Na2Cl: no neutral combination
    _, s = M.evaluate_reconstruction([truth], [truth], **quiet)
    assert [s["metrics"][k]["value"] for k in ("match_rate", "match_rate_valid", "truth_valid")] == [1, 0, 0]


def test_what_fails_stays_in_the_denominator(tmp_path):
    truth = [perovskite(), perovskite("Ba"), nacl(), nacl()]
    table(tmp_path / "truth.csv", truth)
    table(
        tmp_path / "crystals.csv",
        [truth[0], None, truth[2], truth[3]],
        errors=["", "lattice decoded to nan", "", ""],
    )
    text = (tmp_path / "crystals.csv").read_text().replace("_cell_length_a", "_cell_length_q", 3)
    (tmp_path / "crystals.csv").write_text(text)
    rows, s = M.evaluate_reconstruction(tmp_path / "crystals.csv", tmp_path / "truth.csv", **quiet)
    assert [r["reason"] for r in rows] == [
        "unreadable CIF",
        "no crystal was made",
        "unreadable CIF",
        "unreadable CIF",
    ]
    assert rows[1]["detail"] == "lattice decoded to nan" and "cell_length_a" in rows[0]["detail"]
    assert (
        s["num_crystals"] == 4
        and s["metrics"]["match_rate"]["total"] == 4
        and s["metrics"]["truth_valid"]["count"] == 4
        and s["metrics"]["rms_corrected"]["value"] == 0.5
    )


def test_errors_of_the_cell_and_the_space_group_have_their_known_values():
    pred = Structure(
        Lattice.from_parameters(3.9 * 1.03, 3.9, 3.9 * 0.94, 90, 90, 84),
        perovskite().species,
        perovskite().frac_coords,
    )
    rows, s = M.evaluate_reconstruction([pred, perovskite()], [perovskite()] * 2, **quiet)
    assert (
        rows[0]["length_error"] == pytest.approx(0.03)
        and rows[0]["angle_error"] == pytest.approx(2)
        and rows[1]["length_error"] == 0
    )
    assert (
        [r["space_group"] for r in rows][1] == 221
        and [r["same_space_group"] for r in rows] == [False, True]
        and s["metrics"]["space_group_exact"]["value"] == 0.5
    )


def test_rows_are_paired_by_index(tmp_path):
    truth = [perovskite(), nacl()]
    table(tmp_path / "truth.csv", truth)
    table(tmp_path / "crystals.csv", truth)
    pd.read_csv(tmp_path / "crystals.csv").iloc[::-1].to_csv(tmp_path / "crystals.csv", index=False)
    assert M.evaluate(tmp_path, **quiet)["metrics"]["match_rate"]["value"] == 1


@needs_data
def test_workers_do_not_change_the_result(perov):
    cifs, structures = perov
    preds = [noisy(s, 0.3, i) for i, s in enumerate(structures)]
    (one, a), (two, b) = (
        M.evaluate_reconstruction(preds, cifs, reference=cifs[:5], workers=n, progress=False) for n in (1, 2)
    )
    drop = lambda rows: [{k: v for k, v in r.items() if k != "seconds"} for r in rows]
    assert drop(one) == drop(two) and a["metrics"] == b["metrics"] and 0 < a["metrics"]["match_rate"]["value"]
    m = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3)
    direct = [m.get_rms_dist(p, t) for p, t in zip(preds, structures)]
    assert [r["rms"] for r in one] == [
        None if d is None else pytest.approx(d[0], rel=1e-4, abs=1e-5) for d in direct
    ]
    assert a["metrics"]["rms"]["value"] == pytest.approx(np.mean([d[0] for d in direct if d]), rel=1e-4)
    formulas = [s.composition.reduced_formula for s in structures]
    assert a["metrics"]["match_rate_twin_free"]["total"] == sum(f not in formulas[:5] for f in formulas)


def test_a_slow_crystal_ends_at_its_limit(monkeypatch):
    monkeypatch.setattr(metrics, "match_rows", lambda *a, **k: time.sleep(30))
    start = time.perf_counter()
    row = M.evaluate_crystal((M.Entry(0, "", nacl()), M.Entry(0, "", nacl()), 0.3))
    assert row["reason"] == "timeout" and row["valid"] is True and time.perf_counter() - start < 20
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def _suicide(task):
    if task == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_dead_worker_costs_one_crystal():
    got = M.parallel_map(_suicide, list(range(8)), workers=2, progress=False, crashed=lambda t: "died")
    assert got == [0, 1, 2, "died", 4, 5, 6, 7]


# -- generation
# -------------------------------------------------------------------------------------------------------
def test_unique_and_novel():
    moved = perovskite(length=4.0)
    moved.translate_sites(range(5), [0.1, 0.2, 0.3])
    preds = [perovskite(), nacl(), moved, perovskite("Ti", "Sr"), perovskite("Ba")]
    rows, s = M.evaluate_generation(preds, reference=[nacl() * (1, 1, 2), perovskite("Ca")], **quiet)
    assert [r["unique"] for r in rows] == [True, True, False, True, True] and rows[2]["repeats"] == 0
    assert [r["novel"] for r in rows] == [True, False, True, True, True] and rows[1]["known_as"] == "0"
    assert s["metrics"]["unique"]["value"] == 0.8 and s["metrics"]["wdist_num_elements"][
        "value"
    ] == pytest.approx(0.3)


def test_a_cell_without_volume_is_neither_unique_nor_novel():
    flat = Structure(
        Lattice([[3, 0, 0], [0, 3, 0], [3, 3, 1e-7]]), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    rows, _ = M.evaluate_generation([nacl(), flat], reference=[perovskite()], **quiet)
    assert [(r["unique"], r["novel"]) for r in rows] == [(True, True), (False, False)]


def test_unique_agrees_with_group_structures():
    preds = (
        [noisy(perovskite(), 0.12, i) for i in range(4)]
        + [noisy(nacl(), 0.3, i) for i in range(4)]
        + [perovskite("Ti", "Sr")]
    )
    rows, _ = M.evaluate_generation(preds, **quiet)
    assert sum(r["unique"] for r in rows) == len(StructureMatcher().group_structures(preds))


def test_wasserstein_is_scipys():
    from scipy.stats import wasserstein_distance

    a, b = np.random.default_rng(0).normal(size=50), np.random.default_rng(1).normal(1, 2, size=70)
    assert M.wasserstein(list(a) + [None], b)["value"] == pytest.approx(wasserstein_distance(a, b))


def test_metre_is_the_brute_force_one():
    truths = [noisy(perovskite(b=b), 0.1, i) for i, b in enumerate(["Ti", "Zr", "Ti", "Zr", "Ti"])]
    preds = [noisy(truths[i], 0.3, 9 + i) for i in (2, 3, 0, 1)] + [nacl()]
    _, s = M.evaluate_reconstruction(preds, truths, **quiet)
    best = [min((r for p in preds if (r := M.match(p, t)) is not None), default=None) for t in truths]
    assert s["metrics"]["METRe"]["count"] == sum(b is not None for b in best)
    assert s["metrics"]["crmse"]["value"] == pytest.approx(np.mean([0.5 if b is None else b for b in best]))


def test_metre_has_no_limit_on_pairs():
    m = M.match_everyone([nacl()] * 201, [nacl(), None] * 100, progress=False)["METRe"]
    assert (m["count"], m["total"], m["pairs"]) == (201, 201, 20_100)


# -- intervals
# --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count,total", [(0, 10), (5, 10), (10, 10), (97, 100)])
def test_wilson_is_scipys(count, total):
    from scipy.stats import binomtest

    ci = binomtest(count, total).proportion_ci(method="wilson")
    assert M.wilson(count, total) == pytest.approx((ci.low, ci.high), abs=1e-6)


def test_bootstrap_is_seeded_and_close_to_the_normal_interval():
    x = np.random.default_rng(0).normal(1, 0.5, size=400)
    half = 1.96 * x.std() / 20
    assert M.bootstrap(x) == M.bootstrap(x) != M.bootstrap(x, seed=1)
    assert M.bootstrap(x) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.01)


# -- the folder
# -------------------------------------------------------------------------------------------------------
def test_evaluate_leaves_three_files(tmp_path):
    truth = [perovskite(), nacl(), perovskite("Ba")]
    table(tmp_path / "truth.csv", truth, ids=["a", "<b>&", "c"])
    table(tmp_path / "crystals.csv", [truth[0], perovskite(), truth[2]], ids=["a", "<b>&", "c"])
    (tmp_path / "run.json").write_text(json.dumps(dict(kind="reconstruct", model="toy", seed=7)))
    result = M.evaluate(tmp_path, reference=truth[:1], **quiet)
    stored = json.loads((next_to(tmp_path) / "metrics.json").read_text(encoding="utf-8"))
    assert (
        stored["metrics"]["match_rate"]["value"] == result["metrics"]["match_rate"]["value"] == 2 / 3
        and stored["run"]["seed"] == 7
        and stored["metrics"]["match_rate"]["definition"]
    )
    rows = pd.read_csv(next_to(tmp_path) / "per_crystal.csv")
    assert (
        list(rows["matched"]) == [True, False, True]
        and list(rows["twin"]) == [True, False, False]
        and set(rows.columns) <= set(M.COLUMNS)
    )
    page = (next_to(tmp_path) / "report.html").read_text(encoding="utf-8")
    assert (
        "<script" not in page
        and "src=" not in page
        and "url(" not in page
        and "&lt;b&gt;&amp;" in page
        and "<b>&" not in page
    )
    assert all(M.METRICS[k].label in page for k in result["metrics"]) and page.count("<div") == page.count(
        "</div>"
    )
    assert not list(tmp_path.glob(".*")) and len(result["files"]) == 3


def test_files_are_replaced_in_one_step(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("disk gone")

    atomic_write(tmp_path / "a", "old")
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match="could not be written"):
        atomic_write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old" and os.listdir(tmp_path) == ["a"]


def test_json_has_no_nan():
    text = M.metrics_json(dict(metrics=dict(rms=dict(value=math.nan, low=math.inf, high=None))))
    assert json.loads(text, parse_constant=lambda c: pytest.fail(c))["metrics"]["rms"]["value"] is None


def test_evaluate_judges_a_folder_of_cifs_and_a_bare_table(tmp_path):
    (tmp_path / "x.cif").write_text(nacl().to(fmt="cif"))
    assert M.evaluate(tmp_path, **quiet)["metrics"]["valid"]["value"] == 1
    (tmp_path / "sub").mkdir()
    pd.DataFrame(dict(cif=[nacl().to(fmt="cif")])).to_csv(tmp_path / "sub" / "mine.csv.gz", index=False)
    assert (
        M.evaluate(tmp_path / "sub" / "mine.csv.gz", out=tmp_path / "out", **quiet)["kind"] == "generate"
        and (tmp_path / "out" / "report.html").is_file()
    )


def test_one_crystal_all_unmatched(tmp_path):
    table(tmp_path / "truth.csv", [nacl()])
    table(tmp_path / "crystals.csv", [None], errors=["diverged"])
    m = M.evaluate(tmp_path, **quiet)["metrics"]
    assert (
        m["match_rate"]["value"] == 0
        and m["rms"]["value"] is None
        and json.loads((next_to(tmp_path) / "metrics.json").read_text())["metrics"]["rms"]["value"] is None
    )


@pytest.mark.parametrize(
    "make,says",
    [
        (lambda d: None, "no crystals.csv and no .cif files"),
        (
            lambda d: (d / "crystals.csv").write_text("index,smiles\n0,CC\n"),
            r"crystals\.csv has no column `cif` \(it has index, smiles\)",
        ),
        (lambda d: (d / "crystals.csv").write_text("index,cif\n"), "holds no crystals"),
        (lambda d: (d / "crystals.csv").write_text(""), r"crystals\.csv is empty"),
        (
            lambda d: (table(d / "crystals.csv", [nacl()]), table(d / "truth.csv", [nacl(), nacl()])),
            r"crystals\.csv holds 1 crystal and .*truth\.csv holds 2",
        ),
        (
            lambda d: (
                table(d / "crystals.csv", [nacl()]),
                (d / "run.json").write_text('{"kind":"reconstruct"}'),
            ),
            r"truth\.csv is missing",
        ),
        (
            lambda d: (table(d / "crystals.csv", [nacl()]), (d / "run.json").write_text('{"kind":')),
            r"run\.json is not valid JSON",
        ),
    ],
)
def test_errors_name_the_file(tmp_path, make, says):
    make(tmp_path)
    with pytest.raises(DataError, match=says):
        M.evaluate(tmp_path, **quiet)


def test_a_torn_row_is_counted_not_dropped(tmp_path):
    table(tmp_path / "crystals.csv", [nacl()])
    with open(tmp_path / "crystals.csv", "a") as f:
        f.write('7,,"data_torn\n')
    result = M.evaluate(tmp_path, **quiet)
    assert (
        result["num_crystals"] == 2
        and result["metrics"]["valid"]["count"] == 1
        and result["reasons"]["evaluation"] == {"no crystal was made": 1}
    )
    assert "breaks off" in pd.read_csv(next_to(tmp_path) / "per_crystal.csv")["detail"][1]


def test_what_data_and_generate_write_can_be_a_reference(tmp_path):
    from dpcdvae.data.cache import save_crystals
    from dpcdvae.data.datasets import load_crystals

    crystals = load_crystals("perov_mini", "val", progress=False)[:3]
    save_crystals(crystals, tmp_path / "cache" / "all.safetensors")
    assert [e.material_id for e in M.read_crystals(tmp_path / "cache")] == list(crystals.ids) and list(
        load_crystals(tmp_path / "cache").ids
    ) == list(crystals.ids)


def test_a_folder_that_is_not_there():
    with pytest.raises(M.MetricsError, match="nowhere does not exist"):
        M.evaluate("nowhere", **quiet)


def test_a_space_group_is_that_at_a_tenth_of_an_angstrom():
    shaken = noisy(perovskite(), 0.02)
    assert M.space_group(shaken) == 221 and M.space_group(shaken, 0.01) != 221


@pytest.mark.parametrize("long, symprec, sheared", [(4, 0.1, False), (50, 0.1, True), (50, 0.01, False)])
def test_very_long_and_thin_cells_are_left_to_spglib(long, symprec, sheared, monkeypatch):
    lattice = np.array([[3.0, 0, 0], [0, 3, 0], [0, 3 * 7, long]])  # the description does not matter
    silver = Structure(lattice, ["Ag"], [[0, 0, 0]])
    assert compare.looks_sheared(lattice, symprec) == sheared
    monkeypatch.setattr(compare, "_moyopy", lambda: pytest.fail("moyo was asked"))
    if sheared:
        assert compare.space_group(silver, symprec) in (123, 139)
    else:
        with pytest.raises(pytest.fail.Exception, match="moyo was asked"):
            compare.space_group(silver, symprec)
