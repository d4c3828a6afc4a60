"""Constants and definitions that no other test holds fast.

Each expected value comes from pymatgen, smact, scipy, or a calculation by hand."""

import itertools
import json
import math

import moyopy
import numpy as np
import pytest
import smact
from modules import group
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Lattice, Structure
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from smact.screening import pauling_test

F = group("fingerprints")
J = group("summaries")
M = group("measures")

pytestmark = pytest.mark.filterwarnings("ignore")
quiet = dict(progress=False, workers=1)
SCALE_SUMS = 294454.604477, 159361.392822  # of CDVAE's two lists, each number times its place from 1 to 132


def perovskite(a="Sr", b="Ti", x="O", length=3.9):
    return Structure(
        Lattice.cubic(length),
        [a, b, x, x, x],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    )


def cscl(shift=0.0, length=4.0, gamma=90.0, c=None):
    "Two atoms, one of them moved by `shift` Å along z."
    lattice = Lattice.from_parameters(length, length, c or length, 90, 90, gamma)
    return Structure(lattice, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5 + shift / (c or length)]])


# -- validity
# ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("volume,ok", [(0.0999, False), (0.1001, True)])
def test_the_smallest_volume_is_a_tenth_of_a_cubic_angstrom(volume, ok):
    s = Structure(Lattice.cubic(volume ** (1 / 3)), ["Na"], [[0, 0, 0]])
    assert M.structure_validity(s).ok is ok
    row = M.evaluate_crystal((M.Entry(0, "", s), None, 20))
    assert row["structure_valid"] is ok and row["density"] == pytest.approx(
        22.98976928 * 1.66053907 / volume, rel=1e-5
    )


def test_half_an_angstrom_exactly_is_far_enough():
    s = Structure(Lattice.cubic(8), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.0625]])
    assert s.get_distance(0, 1) == 0.5 and M.structure_validity(s).ok


def test_own_images_are_not_tested():
    "The field pads the diagonal: a chain whose atoms meet their own images at 0.4 Å passes."
    s = Structure(Lattice.orthorhombic(0.4, 5, 5), ["Na", "Cl"], [[0, 0, 0], [0, 0.5, 0.5]])
    assert M.structure_validity(s).ok and M.min_distance(s)[0] == pytest.approx(np.hypot(2.5, 2.5))


def smact_directly(formula):
    """(any neutral combination, any that passes Pauling's test, all that pass), with smact's default
    oxidation states."""
    amounts = Composition(
        formula
    ).reduced_composition.get_el_amt_dict()  # smact's neutral_ratios knows reduced formulas only
    elements = [smact.Element(s) for s in amounts]
    neutral = [
        o
        for o in itertools.product(*(e.oxidation_states or [] for e in elements))
        if smact.neutral_ratios(
            o, stoichs=[(int(n),) for n in amounts.values()], threshold=int(max(amounts.values()))
        )
    ]
    passed = [pauling_test(o, [e.pauling_eneg for e in elements]) for o in neutral]
    return bool(neutral), any(passed), bool(passed) and all(passed)


@pytest.mark.parametrize(
    "formula,neutral,some,every",
    [
        ("Si3C", 1, 0, 0),
        ("Si3N", 1, 0, 0),
        ("CuSi", 1, 0, 0),
        ("CSe2", 1, 0, 0),
        ("SiH2", 1, 1, 0),
        ("SiC", 1, 1, 0),
        ("Mg3N", 0, 0, 0),
        ("CaH", 0, 0, 0),
        ("Li2B", 1, 1, None),
        ("NaAs", 1, 1, None),
    ],
)
def test_a_neutral_combination_must_pass_paulings_test(formula, neutral, some, every):
    """CuSi: equal electronegativities fail.

    SiH2: one good combination is enough; Mg3N and NaAs: smact's other tables say otherwise."""
    direct = smact_directly(formula)
    assert direct[:2] == (bool(neutral), bool(some)) and every in (None, direct[2])
    assert M.composition_validity(formula).ok is bool(some)
    if not some:
        assert M.composition_validity(formula).kind == (
            "electronegativity order" if neutral else "no charge-neutral combination"
        )


@pytest.mark.parametrize("formula", ["FeNi", "LiNa", "Na3Ca"])
def test_alloys_pass_without_a_neutral_combination(formula):
    assert (
        not smact_directly(formula)[0]
        and all(e.symbol in smact.metals for e in Composition(formula))
        and M.composition_validity(formula).ok
    )


def test_sums_of_charges_say_what_all_combinations_say():
    """Formulas drawn at random, of three to five elements with equal electronegativities among them (Cu and
    Si, C and Se)."""
    rng, names, found = (
        np.random.default_rng(0),
        "H Li Na Mg Al Si P S Cl Ti Fe Cu Se Br C N O F La".split(),
        [],
    )
    for _ in range(60):
        formula = "".join(
            f"{s}{n}"
            for s, n in zip(rng.choice(names, rng.integers(3, 6), replace=False), rng.integers(1, 7, 5))
        )
        if all(e.symbol in smact.metals for e in Composition(formula)):
            continue  # alloys have a rule of their own
        neutral, passed, _ = smact_directly(formula)
        check = M.composition_validity(formula)
        assert check.ok is passed and (
            passed
            or check.kind == ("electronegativity order" if neutral else "no charge-neutral combination")
        ), formula
        found.append((neutral, passed))
    assert {(False, False), (True, False), (True, True)} == set(found)


def test_ten_elements_are_judged_in_a_second():
    with M.time_limit(2):
        assert M.composition_validity({e: 1 for e in "Cr V Ti S Se P As Cl O N".split()}).ok


def test_slightly_fractional_amounts_are_no_composition():
    assert (
        M.composition_validity({"Na": 1.1, "Cl": 1.1}).kind == "no whole-number composition"
        and M.composition_validity({"Na": 1.001, "Cl": 1}).kind == "no whole-number composition"
    )


# -- reading
# ----------------------------------------------------------------------------------------------------------
def test_negative_length_is_no_crystal():
    row = M.evaluate_crystal(
        (
            M.Entry(
                0, "", perovskite().to(fmt="cif").replace("_cell_length_a   3.9", "_cell_length_a   -3.9")
            ),
            None,
            20,
        )
    )
    assert row["reason"] == "unreadable CIF" and "length of -3.9" in row["detail"] and not row.get("valid")


def test_oxidation_states_of_a_cif_are_not_another_element():
    charged = perovskite()
    charged.add_oxidation_state_by_element({"Sr": 2, "Ti": 4, "O": -2})
    cif = charged.to(fmt="cif", symprec=0.01)
    for source in (cif, charged):
        assert M.evaluate_crystal((M.Entry(0, "", source), M.Entry(0, "", perovskite()), 20))["matched"]
    rows, _ = J.evaluate_generation([perovskite(), cif], reference=[perovskite()], **quiet)
    assert [(r["unique"], r["novel"]) for r in rows] == [(True, False), (False, False)] and str(
        charged[0].specie
    ) == "Sr2+"


def test_occupancy_with_uncertainty_is_read():
    cif = "\n".join(
        l.rstrip()[:-1] + "1.0(0)" if l.split()[:1] in (["Sr"], ["Ti"], ["O"]) else l
        for l in perovskite().to(fmt="cif").splitlines()
    )
    assert M.evaluate_crystal((M.Entry(0, "", cif), None, 20)).get("formula") == "SrTiO3"


def test_valid_is_both():
    "NaCl with atoms apart; Na2Cl (not neutral); NaCl with atoms in one place."
    apart, off, close = (
        cscl(),
        Structure(Lattice.cubic(5), ["Na", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
        Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.05]]),
    )
    rows = [M.evaluate_crystal((M.Entry(0, "", s), None, 20)) for s in (apart, off, close)]
    assert [(r["composition_valid"], r["structure_valid"], r["valid"]) for r in rows] == [
        (True, True, True),
        (False, True, False),
        (True, False, False),
    ]


@pytest.mark.parametrize("kind", ["composition", "structure"])
def test_only_a_match_that_is_valid_in_both_counts_in_the_fields_rate(kind):
    s = (
        Structure(Lattice.cubic(5), ["Na", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]])
        if kind == "composition"
        else Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.1]])
    )
    row = M.evaluate_crystal((M.Entry(0, "", s), M.Entry(0, "", s), 20))
    assert row["matched"] and not row["matched_valid"] and not row["truth_valid"]


def test_a_valid_prediction_matches_an_invalid_truth():
    "The target is not filtered: its atoms are 0.49 Å apart, the prediction's 0.51 Å."
    truth, pred = (
        Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, d / 4]]) for d in (0.49, 0.51)
    )
    row = M.evaluate_crystal((M.Entry(0, "", pred), M.Entry(0, "", truth), 20))
    assert row["matched_valid"] and row["valid"] and not row["truth_valid"]


# -- matching
# ---------------------------------------------------------------------------------------------------------
def test_matchers_are_the_fields():
    "Every setting of both matchers, as pymatgen writes them down."
    assert (
        M.matcher().as_dict() == StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).as_dict()
        and M.STOL == 0.5
    )
    assert M.matcher(stol=0.3, angle_tol=5.0, ltol=0.2).as_dict() == StructureMatcher().as_dict()
    _, summary = J.evaluate_reconstruction([cscl()], [cscl()], **quiet)
    field = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).as_dict()
    assert {k: summary["settings"][k] for k in ("stol", "angle_tol", "ltol")} == {
        k: field[k] for k in ("stol", "angle_tol", "ltol")
    }
    assert (summary["settings"]["min_distance"], summary["settings"]["min_volume"]) == (0.5, 0.1)


BRACKETS = [
    ("angle", [dict(gamma=g) for g in (85.5, 84.5, 80.5, 79.5)]),
    ("length", [dict(c=4 * r) for r in (1.29, 1.34, 1.46, 1.50)]),
    ("site", [dict(shift=d) for d in (1.80, 2.0)]),
]


@pytest.mark.parametrize("kind,cells", BRACKETS, ids=[k for k, _ in BRACKETS])
def test_a_match_ends_where_pymatgens_ends(kind, cells):
    "On both sides of the tolerances of the match (0.3, 10°, 0.5) and of uniqueness (0.2, 5°, 0.3)."
    field, default, truth = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3), StructureMatcher(), cscl()
    rms = [field.get_rms_dist(cscl(**c), truth) for c in cells]
    assert [M.match(cscl(**c), truth) for c in cells] == [
        None if r is None else pytest.approx(r[0], abs=1e-9) for r in rms
    ]
    fits = [default.fit(cscl(**c), truth) for c in cells]
    assert [J.first_match((J.reduce_cell(cscl(**c)), [J.reduce_cell(truth)], 20)) == 0 for c in cells] == fits
    made = J.evaluate_generation([cscl(**c) for c in cells], reference=[truth], **quiet)[0]
    assert [not r["novel"] for r in made] == fits
    if kind != "site":
        assert [r is not None for r in rms] == [True, True, True, False] and fits == [
            True,
            False,
            False,
            False,
        ]


@pytest.mark.parametrize("share,fits", [(0.29, True), (0.31, False)])
def test_uniqueness_ends_at_three_tenths_of_the_mean_spacing(share, fits):
    "One of two atoms moved by 2d: the best translation leaves each d off, in units of (V/n)^(1/3)."
    moved = cscl(shift=2 * share * (64 / 2) ** (1 / 3))
    assert (
        bool(StructureMatcher().fit(moved, cscl())) is fits
        and (J.first_match((J.reduce_cell(moved), [J.reduce_cell(cscl())], 20)) == 0) is fits
        and J.evaluate_generation([moved], reference=[cscl()], **quiet)[0][0]["novel"] is not fits
    )


def test_rms_is_not_the_largest_displacement():
    truth = perovskite()
    pred = truth.copy()
    pred.translate_sites([1], [0, 0, 0.3], frac_coords=False)
    rms, largest = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).get_rms_dist(pred, truth)
    by_hand = (
        0.3 * math.sqrt(4 / 25 * 1 / 5 * 1 + 16 / 25 * 1 / 5) / (truth.volume / 5) ** (1 / 3)
    )  # 4 atoms 0.06 Å off, one 0.24 Å
    assert (
        M.match(pred, truth) == pytest.approx(rms) == pytest.approx(by_hand, rel=1e-6) and largest > 1.9 * rms
    )


def test_lattice_out_of_tolerance_is_told_from_atoms_out_of_place():
    "The same tolerances as the match, at equal volume: `b.find_mapping` of pymatgen with 0.3 and 10°."

    def direct(p, t):
        return t.lattice.find_mapping(p.lattice.scale(t.volume), ltol=0.3, atol=10) is not None

    for c in BRACKETS[0][1] + BRACKETS[1][1] + [dict(length=7)]:
        assert M.lattice_fits(cscl(**c), cscl()) == direct(cscl(**c), cscl())
    assert [M.lattice_fits(cscl(gamma=g), cscl()) for g in (80.5, 79.5, 77.0)] == [
        True,
        False,
        False,
    ] and M.lattice_fits(cscl(length=7), cscl())


@pytest.mark.parametrize("shift,group", [(0.02, 221), (0.04, 221), (0.07, 99), (0.15, 99)])
def test_space_groups_are_moyos_at_every_tolerance(shift, group):
    """The two positions that symmetry would join are twice the shift apart.

    0.08 Å is within the tolerance of 0.1 Å, 0.14 Å is not."""
    s = perovskite()
    s.translate_sites([1], [0, 0, shift], frac_coords=False)
    cell = moyopy.Cell(s.lattice.matrix.tolist(), s.frac_coords.tolist(), [z for z in s.atomic_numbers])
    direct = lambda t: moyopy.MoyoDataset(cell, symprec=t).number
    row = M.evaluate_crystal((M.Entry(0, "", s), None, 20))
    assert {k: v for k, v in row.items() if k.startswith("space_group_")} == {
        f"space_group_{t:g}": direct(t) for t in (0.01, 0.03, 0.1, 0.3)
    } and row["space_group"] == direct(0.1) == group
    assert M.evaluate_crystal((M.Entry(0, "", perovskite()), M.Entry(0, "", s), 20))["same_space_group"] is (
        group == 221
    )


def test_errors_of_the_cell_are_relative_to_the_truth():
    pred, truth = (
        Structure(Lattice.from_parameters(*p), ["Na"], [[0, 0, 0]])
        for p in ((5, 4, 2.7, 90, 90, 84), (4, 4, 3, 90, 90, 90))
    )
    row = M.evaluate_crystal((M.Entry(0, "", pred), M.Entry(0, "", truth), 20))
    assert row["length_error"] == pytest.approx((1 / 4 + 0 + 0.3 / 3) / 3) and row[
        "angle_error"
    ] == pytest.approx(6 / 3)
    assert row["length_square"] == pytest.approx((1 + 0.09) / 3) and row["angle_square"] == pytest.approx(
        36 / 3
    )


def test_composition_exact_needs_the_same_number_of_atoms():
    row = M.evaluate_crystal((M.Entry(0, "", perovskite() * (2, 1, 1)), M.Entry(0, "", perovskite()), 20))
    assert row["matched"] and not row["same_composition"] and not row["same_num_atoms"]


def test_anonymous_match_is_pymatgens_with_one_species():
    truth, pred = perovskite(), perovskite("Ti", "Sr")
    pred.translate_sites([4], [0, 0, 0.4], frac_coords=False)
    carbon = lambda s: Structure(s.lattice, ["C"] * 5, s.frac_coords)
    row = M.evaluate_crystal((M.Entry(0, "", pred), M.Entry(0, "", truth), 20))
    assert (
        not row["matched"]
        and row["rms_anonymous"]
        == pytest.approx(
            StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).get_rms_dist(carbon(pred), carbon(truth))[0]
        )
        and row["rms_anonymous"] > 0.01
    )


# -- summaries
# --------------------------------------------------------------------------------------------------------
def test_bootstrap_is_the_95_percent_interval():
    from scipy.stats import bootstrap

    x = np.random.default_rng(3).exponential(size=300)
    direct = bootstrap(
        (x,), np.mean, confidence_level=0.95, n_resamples=9999, method="percentile", random_state=1
    ).confidence_interval
    assert M.bootstrap(x) == pytest.approx(tuple(direct), abs=0.2 * x.std() / 300**0.5)


def test_mean_is_the_mean():
    assert (
        M.mean([1.0, 2.0, 9.0, None, math.nan])["value"] == 4 and M.mean([1.0, 2.0, 9.0, None])["count"] == 3
    )


def test_wasserstein_by_hand():
    """Three of four stand at 0, all of the others at 1.

    3/4 of the earth moves by 1. (An energy distance, or one of the sets of values, is another
    number.)"""
    assert M.wasserstein([0, 0, 0, 1], [1, 1])["value"] == 0.75 == wasserstein_distance([0, 0, 0, 1], [1, 1])


_flags = (
    "matched matched_valid matched_anonymous same_composition same_num_atoms same_space_group valid "
    "composition_valid structure_valid truth_valid twin"
).split()


def _row(flags, **numbers):
    return {k: bool(int(f)) for k, f in zip(_flags, flags)} | numbers


def test_summary_of_a_reconstruction_by_hand():
    rows = [
        _row(
            "11111111111",
            rms=0.10,
            rms_anonymous=0.08,
            length_error=0.01,
            angle_error=1.0,
            length_square=0.01,
            angle_square=1.0,
        ),
        _row("10111001010", rms=0.30, rms_anonymous=0.20, length_error=0.02, angle_error=2.0),
        _row(
            "00101001110",
            rms=None,
            rms_anonymous=0.32,
            length_error=0.06,
            angle_error=6.0,
            length_square=9.0,
            angle_square=9.0,
        ),
        _row("00001000010", rms=None, rms_anonymous=None, length_error=0.11, angle_error=7.0),
        _row(
            "00001011110",
            rms=None,
            rms_anonymous=None,
            length_error=0.05,
            angle_error=9.0,
            length_square=0.25,
            angle_square=81.0,
        ),
        _row(
            "11111011110",
            rms=0.02,
            rms_anonymous=0.02,
            length_error=0.05,
            angle_error=5.0,
            length_square=0.04,
            angle_square=25.0,
        ),
        dict(reason="no crystal was made", truth_valid=True, twin=False),
        dict(reason="unreadable CIF", truth_valid=True, twin=True),
    ]
    count = lambda k: sum(bool(r.get(k)) for r in rows)
    m = J.summarise_reconstruction(rows)
    want = dict(
        match_rate_valid=2,
        match_rate=3,
        match_rate_anonymous=4,
        composition_exact=3,
        num_atoms_exact=6,
        space_group_exact=1,
        valid=3,
        composition_valid=5,
        structure_valid=4,
        truth_valid=8,
    )
    assert want == dict(
        match_rate_valid=count("matched_valid"),
        match_rate=count("matched"),
        match_rate_anonymous=count("matched_anonymous"),
        composition_exact=count("same_composition"),
        num_atoms_exact=count("same_num_atoms"),
        space_group_exact=count("same_space_group"),
        valid=count("valid"),
        composition_valid=count("composition_valid"),
        structure_valid=count("structure_valid"),
        truth_valid=count("truth_valid"),
    )
    assert {k: (m[k]["count"], m[k]["total"], m[k]["value"]) for k in want} == {
        k: (n, 8, n / 8) for k, n in want.items()
    }
    numbers = dict(
        rms=(0.10 + 0.30 + 0.02) / 3,
        rms_valid=(0.10 + 0.02) / 2,
        rms_anonymous=(0.08 + 0.20 + 0.32 + 0.02) / 4,
        rms_corrected=(0.10 + 0.30 + 0.02 + 5 * 0.5) / 8,
        length_error=0.30 / 6,
        angle_error=30 / 6,
        rms_twin_free=(0.30 + 0.02) / 2,
        rms_lengths=math.sqrt((0.01 + 0.25 + 0.04) / 3),
        rms_angles=math.sqrt((1 + 81 + 25) / 3),
    )
    assert {k: m[k]["value"] for k in numbers} == pytest.approx(numbers)
    assert [
        (m[k]["count"], m[k]["total"]) for k in ("match_rate_twin_free", "match_rate_valid_twin_free")
    ] == [(2, 6), (1, 6)]


def test_a_twin_is_known_by_the_true_formula():
    rows, _ = J.evaluate_reconstruction(
        [perovskite("Ba"), perovskite()],
        [perovskite(), perovskite("Ba")],
        reference=[perovskite() * (2, 1, 1)],
        **quiet,
    )
    assert [r["twin"] for r in rows] == [True, False]


def test_summary_of_a_generation_by_hand():
    make = lambda flags, **k: (
        dict(
            zip(
                ("valid", "composition_valid", "structure_valid", "unique", "novel"),
                (bool(int(f)) for f in flags),
            )
        )
        | k
    )
    rows = [
        make("11111", min_dist=2.0, density=3.0, num_elements=2, space_group=225, formula="A"),
        make("11101", min_dist=1.0, density=5.0, num_elements=3, space_group=1, formula="B"),
        make("11110", min_dist=3.0, density=4.0, num_elements=4, space_group=2, formula="C"),
        make("01011", min_dist=0.2, density=90.0, num_elements=9, space_group=None, formula="D"),
        make("00111", min_dist=None, density=70.0, num_elements=8, space_group=3, formula="E"),
        dict(unique=False, novel=False, reason="unreadable CIF"),
    ]
    m = J.summarise_generation(rows, True, [("A", 3.0, 2, None), ("B", 4.5, 5, None), None])
    want = dict(
        valid=3,
        composition_valid=4,
        structure_valid=4,
        unique=4,
        valid_unique=2,
        symmetric=3,
        novel=4,
        valid_unique_novel=1,
    )
    assert {k: (m[k]["count"], m[k]["total"]) for k in want} == {k: (n, 6) for k, n in want.items()}
    assert {k: m[k]["value"] for k in ("min_dist", "density", "num_elements")} == pytest.approx(
        dict(min_dist=6.2 / 4, density=4.0, num_elements=3.0)
    )
    assert m["wdist_density"]["value"] == pytest.approx(wasserstein_distance([3, 5, 4], [3, 4.5])) and m[
        "wdist_num_elements"
    ]["value"] == pytest.approx(wasserstein_distance([2, 3, 4], [2, 5]))


def test_settings_name_a_source_or_tell_how_many_crystals_it_holds(tmp_path):
    from dpcdvae import toy

    path = tmp_path / "known.cif"
    perovskite().to(filename=str(path))
    for source, name in ((toy("SrTiO3"), "crystals given in memory (1)"), (path, str(path))):
        assert J.evaluate_generation([perovskite()], source, **quiet)[1]["settings"]["reference"] == name


def test_reference_and_generated_crystals_are_measured_alike():
    "Density of rock salt by hand, g/cm3: 4 (22.99 + 35.45) u / (5.64 Å)^3; two elements."
    nacl = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    density = 4 * (22.98976928 + 35.453) * 1.66053907 / 5.64**3
    formula, d, n, _ = J._measured((M.Entry(0, "", nacl), 20, None))
    rows, summary = J.evaluate_generation([nacl], reference=[perovskite(length=4.0)], **quiet)
    assert (
        (formula, n) == ("NaCl", 2)
        and d == pytest.approx(density, rel=1e-4)
        and rows[0]["density"] == pytest.approx(density, rel=1e-4)
        and rows[0]["num_elements"] == 2
    )
    other = (87.62 + 47.867 + 3 * 15.999) * 1.66053907 / 64
    assert (
        summary["metrics"]["wdist_density"]["value"] == pytest.approx(abs(other - density), rel=1e-3)
        and summary["metrics"]["wdist_num_elements"]["value"] == 1
    )


# -- METRe -------------------------------------------------------------------------------------------------
# -----------
def test_metre_takes_the_best_of_all_predictions_known_or_not():
    """Each truth's best is by turns its own prediction (known) and another's.

    A supercell has the same formula; nothing fits the last."""
    shifted = lambda d: (lambda s: (s.translate_sites([1], [0, 0, d], frac_coords=False), s)[1])(perovskite())
    truths, preds = (
        [perovskite(), shifted(0.5), cscl()],
        [shifted(0.1) * (2, 1, 1), shifted(0.2), perovskite("Ba")],
    )
    rows, summary = J.evaluate_reconstruction(preds, truths, **quiet)
    field = StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3)
    table = [[field.get_rms_dist(p, t) for p in preds[:2]] for t in truths[:2]]
    best = [min(r[0] for r in line if r) for line in table]
    assert [line.index(min(line)) for line in table] == [0, 1] and rows[0]["rms"] == pytest.approx(
        table[0][0][0]
    )
    assert summary["metrics"]["METRe"]["count"] == 2 and summary["metrics"]["crmse"][
        "value"
    ] == pytest.approx((sum(best) + 0.5) / 3, rel=1e-4)
    swapped = J.evaluate_reconstruction(preds[1::-1], truths[:2], **quiet)[1]["metrics"]
    assert swapped["crmse"]["value"] == pytest.approx(sum(best) / 2, rel=1e-4)


def test_best_match_is_the_smallest_in_every_order():
    shifted = [perovskite() for _ in range(3)]
    for s, d in zip(shifted, (0.1, 0.3, 0.5)):
        s.translate_sites([1], [0, 0, d], frac_coords=False)
    direct = min(
        StructureMatcher(stol=0.5, angle_tol=10, ltol=0.3).get_rms_dist(s, perovskite())[0] for s in shifted
    )
    for order in itertools.permutations(shifted):
        assert J.best_match(perovskite(), list(order)) == pytest.approx(direct)


def test_a_pair_that_cannot_be_compared_does_not_end_the_search():
    assert J.best_match(perovskite(), [None, perovskite()]) == pytest.approx(0, abs=1e-9)


def test_novelty_asks_the_training_set_and_distances_the_test_set():
    train, test = [perovskite("Ba", length=4.0)], [perovskite("Ca", length=3.8), perovskite(length=3.9)]
    rows, summary = J.evaluate_generation(
        [perovskite(length=3.9), perovskite("Ba", length=4.0)], reference=train, test=test, **quiet
    )
    m = summary["metrics"]
    assert [r["novel"] for r in rows] == [True, False] and (m["METRe"]["count"], m["METRe"]["total"]) == (
        1,
        2,
    )
    assert m["wdist_density"]["value"] == pytest.approx(
        wasserstein_distance(
            [perovskite(length=3.9).density, perovskite("Ba", length=4.0).density], [s.density for s in test]
        )
    )
    only = J.evaluate_generation([perovskite(length=3.9)], test=test, **quiet)[1]["metrics"]
    assert "novel" not in only and "wdist_density" in only


def test_metre_of_a_generation_counts_the_reference():
    _, summary = J.evaluate_generation(
        [perovskite(), perovskite("Ba")], reference=[perovskite(), cscl(), perovskite("Ca")], **quiet
    )
    m = summary["metrics"]
    assert (m["METRe"]["count"], m["METRe"]["total"]) == (1, 3) and m["crmse"]["value"] == pytest.approx(
        (0 + 0.5 + 0.5) / 3, abs=1e-4
    )


# -- fingerprints
# -----------------------------------------------------------------------------------------------------
def test_magpie_is_matminers_default_and_keeps_the_whole_composition():
    "Argon has no electronegativity: what is not known stays unknown and is zero only after the scaling."
    from matminer.featurizers.composition.composite import ElementProperty

    default = ElementProperty.from_preset("magpie", impute_nan=False).featurize(Composition("NaAr"))
    got = F.composition_fingerprint(Composition("NaAr"))
    np.testing.assert_allclose(got, default)
    assert np.isnan(got).any() and not F.standardise([got])[0][np.isnan(got)].any()


def test_rounding_is_far_below_the_cutoffs():
    s = perovskite()
    s.translate_sites([1], [0.01, 0.02, 0.03])
    f = F.fingerprint((M.Entry(0, "", s), 20))
    np.testing.assert_allclose(f["structure"], F.structure_fingerprint(s), atol=1e-8)
    np.testing.assert_allclose(f["composition"], F.composition_fingerprint(s.composition), atol=1e-8)
    assert f["volume_per_atom"] == pytest.approx(3.9**3 / 5)


def test_standardise_by_hand():
    """The first three columns and the last (Magpie's smallest, largest and range of Number.

    Mode of the space group), and NaN after the scaling."""
    x = np.zeros((1, 132))
    x[0, :3], x[0, 131], x[0, 7] = (11, 17, 6), 225, np.nan
    got = F.standardise(x)[0]
    assert got[[0, 1, 2, 131, 7]] == pytest.approx(
        [
            (11 - 21.1944418) / 16.3578174,
            (17 - 58.2021266) / 20.1895401,
            (6 - 37.0076849) / 20.5162984,
            (225 - 136.466457) / 85.9802059,
            0.0,
        ]
    )


def test_scale_has_every_number_in_its_place():
    "A sum that weighs each number by its place: two exchanged numbers change it."
    weights = np.arange(1, 133)
    assert F.SCALE[0] @ weights == pytest.approx(SCALE_SUMS[0], abs=1e-3) and F.SCALE[
        1
    ] @ weights == pytest.approx(SCALE_SUMS[1], abs=1e-3)
    spans = F.SCALE[0].reshape(22, 6)
    np.testing.assert_allclose(
        spans[:, 2], spans[:, 1] - spans[:, 0], atol=1e-5
    )  # a mean range is the difference of the mean largest and smallest


def prints(rng, num, missing=()):
    return [
        dict(structure=None, composition=None, volume_per_atom=None, reason="no fingerprint: odd")
        if i in missing
        else dict(
            structure=rng.normal(size=61).tolist(),
            composition=(F.SCALE[0] + rng.normal(size=132) * F.SCALE[1]).tolist(),
            volume_per_atom=10.0 + i,
            reason="",
        )
        for i in range(num)
    ]


def test_composition_cutoff_is_inclusive_and_both_must_hold():
    def point(s, c):
        return dict(
            structure=[s] + [0.0] * 60,
            composition=(F.SCALE[0] + np.r_[c, np.zeros(131)] * F.SCALE[1]).tolist(),
            volume_per_atom=1.0,
            reason="",
        )

    made, true = [point(0.25, 4.0), point(9.0, 0.0), point(0.0, 90.0)], [point(0.0, 0.0)]
    c = F.arrays(made[:1])[1][0, 0]  # 4, but for the last bit
    for far, both in ((c, True), (np.nextafter(c, 0), False)):
        got = F.coverage(made[:1], true, (0.25, float(far)))
        assert [
            got[k]["value"] for k in ("cov_recall", "cov_precision", "cov_recall_same", "cov_precision_same")
        ] == [float(both)] * 4
    assert F.coverage(made, true, (0.25, 10.0))["cov_precision"]["value"] == pytest.approx(1 / 3)


def test_references_without_a_fingerprint_are_no_targets():
    made, true = prints(np.random.default_rng(0), 6), prints(np.random.default_rng(1), 5, missing=(1, 3))
    got = F.coverage(made, true, (99.0, 99.0))
    assert (got["cov_recall"]["count"], got["cov_recall"]["total"]) == (3, 3) and (
        got["cov_precision"]["count"],
        got["cov_precision"]["total"],
    ) == (6, 6)


@pytest.mark.parametrize(
    "name,want",
    [
        ("perov_mini", (0.2, 4.0)),
        ("/data/perov_5/mp.csv", (0.2, 4.0)),
        ("carbon_24", (0.2, 4.0)),
        ("MP-20", (0.4, 10.0)),
        ("x/mp_20/test.csv.gz", (0.4, 10.0)),
        ("/data/a,b/perov_5.csv", (0.2, 4.0)),
        ("/mp_20/carbon-24/x.csv", (0.2, 4.0)),
        ("perov_5x0.3, 7", (0.2, 4.0)),
        ("0.3,7", (0.3, 7.0)),
    ],
)
def test_cutoffs_of_the_data_sets(name, want):
    assert F.cutoffs_for(name) == want


@pytest.mark.parametrize("name", ["perv-5", "carbonate", "mp_200", "1,b"])
def test_a_mistyped_data_set_is_refused(name):
    with pytest.raises(M.MetricsError, match="perov-5"):
        F.cutoffs_for(name)
    assert F.cutoffs_for(name, (0.4, 10.0)) == (0.4, 10.0)


def test_diversity_is_euclidean_over_pairs_of_two():
    made = prints(np.random.default_rng(2), 4)
    got = F.diversity(made)
    x, c = (
        np.array([f["structure"] for f in made]),
        (np.array([f["composition"] for f in made]) - F.SCALE[0]) / F.SCALE[1],
    )
    pairs = list(itertools.combinations(range(4), 2))
    assert got["structure_diversity"]["value"] == pytest.approx(
        np.mean([np.linalg.norm(x[i] - x[j]) for i, j in pairs])
    ) and got["composition_diversity"]["value"] == pytest.approx(
        np.mean([np.linalg.norm(c[i] - c[j]) for i, j in pairs])
    )


@pytest.fixture()
def evaluated(monkeypatch, tmp_path):
    """Four generated crystals (the second has no fingerprint, the third is no valid composition) and three
    known ones, with fingerprints drawn at random."""
    monkeypatch.setenv("DPCDVAE_CACHE", str(tmp_path))
    made, true = prints(np.random.default_rng(4), 4, missing=(1,)), prints(np.random.default_rng(5), 12)
    preds = [
        perovskite(length=3.8),
        perovskite(length=3.9),
        Structure(Lattice.cubic(5), ["Na", "Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]),
        perovskite("Ba", length=4.0),
    ]
    refs = [
        M.Entry(i, f"r{i}", perovskite("Ca", length=3.7 + 0.01 * i), "", dict(energy=float(i % 5)))
        for i in range(12)
    ]
    entries = [M.Entry(i, f"m{i}", s) for i, s in enumerate(preds)]
    monkeypatch.setattr(
        J, "fingerprint", lambda task: (made if task[0].material_id[0] == "m" else true)[task[0].index]
    )
    rows, summary = J.evaluate_generation(
        entries, reference=refs, fingerprints=True, cutoffs=(10.0, 16.0), property="energy", **quiet
    )
    return made, true, rows, summary["metrics"]


def test_coverage_of_an_evaluation_is_of_all_samples_against_the_reference(evaluated):
    made, true, rows, m = evaluated
    have = [f for f in made if f["structure"]]
    scale = lambda fs: (np.array([f["composition"] for f in fs]) - F.SCALE[0]) / F.SCALE[1]
    s, c = (
        cdist([f["structure"] for f in have], [f["structure"] for f in true]),
        cdist(scale(have), scale(true)),
    )
    near = lambda axis: ((s.min(axis) <= 10) & (c.min(axis) <= 16)).sum()
    assert [(m[k]["count"], m[k]["total"]) for k in ("cov_recall", "cov_precision")] == [
        (near(0), 12),
        (near(1), 4),
    ]
    assert [
        m[k]["value"] for k in ("amsd_recall", "amsd_precision", "amcd_recall", "amcd_precision")
    ] == pytest.approx([s.min(0).mean(), s.min(1).mean(), c.min(0).mean(), c.min(1).mean()])


def test_diversity_and_property_of_an_evaluation_are_of_the_valid(evaluated):
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    made, true, rows, m = evaluated
    assert [r["valid"] for r in rows] == [True, False, False, True] and rows[1][
        "fingerprint_reason"
    ] == "no fingerprint: odd"
    assert (
        m["structure_diversity"]["value"]
        == pytest.approx(np.linalg.norm(np.subtract(made[0]["structure"], made[3]["structure"])))
        and m["structure_diversity"]["count"] == 2
    )
    features = lambda fs: np.hstack(
        [
            [f["structure"] for f in fs],
            (np.array([f["composition"] for f in fs]) - F.SCALE[0]) / F.SCALE[1],
            [[f["volume_per_atom"]] for f in fs],
        ]
    )
    model = HistGradientBoostingRegressor(random_state=0).fit(
        features(true), [float(i % 5) for i in range(12)]
    )
    direct = model.predict(features([made[0], made[3]]))
    assert [r.get("predicted_property") for r in rows] == [
        pytest.approx(direct[0]),
        None,
        None,
        pytest.approx(direct[1]),
    ]
    assert (
        m["wdist_property"]["value"]
        == pytest.approx(
            wasserstein_distance(
                direct,
                cross_val_predict(
                    HistGradientBoostingRegressor(random_state=0),
                    features(true),
                    [float(i % 5) for i in range(12)],
                    cv=KFold(5, shuffle=True, random_state=0),
                ),
            )
        )
        and m["wdist_property"]["count"] == 2
    )


def test_errors_of_the_regressor_are_out_of_sample():
    """Pure noise cannot be predicted.

    A cross-validated error stays near the mean's error; both by scikit-learn directly."""
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_score

    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    found, _ = F.property_distance(x[:5], x, y)
    direct = -cross_val_score(
        HistGradientBoostingRegressor(random_state=0),
        x,
        y,
        cv=KFold(5, shuffle=True, random_state=0),
        scoring="neg_mean_absolute_error",
    ).mean()
    assert found["cross_validated_mae"] == pytest.approx(direct) and found[
        "mae_of_the_mean"
    ] == pytest.approx(sum(abs(v - y.mean()) for v in y) / 60)


def test_volume_per_atom_is_the_last_feature():
    made = prints(np.random.default_rng(7), 3)
    assert F.property_features(made)[:, -1].tolist() == [10.0, 11.0, 12.0] and F.property_features(
        made
    ).shape == (3, 194)


# -- success of an optimisation
# ---------------------------------------------------------------------------------------
def test_success_rates_by_hand():
    "Three starts, four saved: best valid values 1 (on the first threshold), 2.5, none valid."
    values = [[4.0, 1.0, 9.0, 3.0], [2.5, -7.0, 8.0, 9.0], [0.0, 0.0, 0.0, 0.0]]
    valid = [[1, 1, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]]
    got = F.success_rates(values, valid, (1.0, 2.0, 3.0))
    assert [(got[f"success_{k}"]["count"], got[f"success_{k}"]["total"]) for k in (5, 10, 15)] == [
        (1, 3),
        (1, 3),
        (2, 3),
    ]


def test_success_ignores_an_unknown_value():
    assert F.success_rates([[math.nan, 0.1]], [[1, 1]], (0.2, 0.3, 0.4))["success_5"]["value"] == 1


# -- what is written
# --------------------------------------------------------------------------------------------------
def test_every_number_stands_with_its_meaning():
    metrics = {k: dict(value=0.5, low=0.4, high=0.6, count=1, total=2) for k in J.METRICS}
    kept = json.loads(J.metrics_json(dict(metrics=metrics)))["metrics"]
    for k, d in J.METRICS.items():
        assert (
            (kept[k]["label"], kept[k]["definition"], kept[k]["weakness"])
            == (d.label, d.definition, d.weakness)
            and kept[k]["definition"]
            and kept[k]["weakness"]
            and kept[k]["unit"]
        )
        assert (
            kept[k]["unit"] == ("fraction, 0 to 1" if d.unit == "%" else d.unit) and kept[k]["value"] == 0.5
        )
        assert J.show(k, metrics[k], False).startswith("50.0 %" if d.unit == "%" else "0.5")


def test_failed_fingerprints_are_among_the_reasons(monkeypatch):
    monkeypatch.setattr(
        J,
        "fingerprint",
        lambda task: dict(
            structure=None, composition=None, volume_per_atom=None, reason="no fingerprint: ValueError: odd"
        ),
    )
    rows, summary = J.evaluate_generation([perovskite()], fingerprints=True, **quiet)
    assert not rows[0]["valid"] and summary["reasons"]["fingerprint"] == {
        "no fingerprint: ValueError: odd": 1
    }


def test_space_groups_are_counted_at_each_tolerance():
    s = perovskite()
    s.translate_sites([1], [0, 0, 0.04], frac_coords=False)
    groups = J.evaluate_generation([s, perovskite()], **quiet)[1]["space_groups"]
    assert groups == {"0.01": {99: 1, 221: 1}, "0.03": {99: 1, 221: 1}, "0.1": {221: 2}, "0.3": {221: 2}}
