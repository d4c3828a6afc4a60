"""Fingerprints, coverage and the whole evaluation of a set.

Against matminer, scipy and hand-made cases; interrupted, continued, and on a Dask cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from modules import group
from pymatgen.core import Composition, Lattice, Structure
from scipy.spatial.distance import cdist, pdist
from scipy.stats import wasserstein_distance

from dpcdvae.evaluation.evaluate import evaluation_folder as next_to

F = group("fingerprints")
J = group("summaries")
M = group("measures")
from test_metrics import nacl, noisy, perovskite

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DPCDVAE_CACHE", str(tmp_path / "cache"))


def some(num=8):
    "Perovskites of different elements and sizes, displaced a little."
    pairs = [
        ("Sr", "Ti"),
        ("Ba", "Zr"),
        ("Ca", "Ti"),
        ("La", "Al"),
        ("K", "Nb"),
        ("Na", "Ta"),
        ("Pb", "Ti"),
        ("Ba", "Sn"),
    ]
    return [noisy(perovskite(*pairs[k % 8], length=3.8 + 0.05 * k), 0.03, k) for k in range(num)]


def write_csv(path, structures, **columns):
    pd.DataFrame(
        dict(
            material_id=[f"m{i}" for i in range(len(structures))],
            cif=[s.to(fmt="cif") for s in structures],
            **columns,
        )
    ).to_csv(path, index=False)
    return path


def write_folder(path, structures):
    path.mkdir(exist_ok=True)
    for i, s in enumerate(structures):
        (path / f"{i:03d}.cif").write_text(s.to(fmt="cif"))
    return path


# ---- vectors ----


def test_structure_fingerprint_is_the_mean_over_sites_of_matminers():
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint

    site, s = CrystalNNFingerprint.from_preset("ops"), noisy(perovskite(), 0.1)
    np.testing.assert_allclose(
        F.structure_fingerprint(s), sum(np.array(site.featurize(s, i)) for i in range(5)) / 5, atol=1e-12
    )


def test_structure_fingerprint_does_not_depend_on_the_description():
    s = noisy(perovskite(), 0.05)
    turned = Structure(
        Lattice(s.lattice.matrix @ np.array([[0, 1.0, 0], [0, 0, 1], [1, 0, 0]])),
        s.species,
        s.frac_coords + [0.3, 0.6, 0.9],
    )
    for other in (turned, s * (2, 1, 1), s.get_sorted_structure()):
        np.testing.assert_allclose(F.structure_fingerprint(other), F.structure_fingerprint(s), atol=1e-6)


def test_composition_fingerprint_is_matminers_and_right_by_hand():
    from matminer.featurizers.composition.composite import ElementProperty

    magpie = ElementProperty.from_preset("magpie")
    labels, got = magpie.feature_labels(), F.composition_fingerprint(Composition("Al2O3"))
    np.testing.assert_allclose(got, magpie.featurize(Composition("Al2O3")), equal_nan=True)
    number = {
        k: got[labels.index(f"MagpieData {k} Number")]
        for k in ("minimum", "maximum", "range", "mean", "avg_dev", "mode")
    }
    mean = (2 * 13 + 3 * 8) / 5
    assert number == pytest.approx(
        dict(
            minimum=8, maximum=13, range=5, mean=mean, avg_dev=(2 * (13 - mean) + 3 * (mean - 8)) / 5, mode=8
        )
    )


def test_scale_belongs_to_the_definition():
    "Changing any of the constants breaks this: their sums, and the place of each property."
    assert F.SCALE.shape == (2, 132) and F.SCALE[1].min() > 0
    assert F.SCALE[0, [0, 1, 5, 6, 18, 131]] == pytest.approx(
        [21.1944418, 58.2021266, 29.4689222, 28.7173514, 637.98613, 136.466457]
    ) and F.SCALE[1, [0, 131]] == pytest.approx([16.3578174, 85.9802059])
    assert F.SCALE[0].sum() == pytest.approx(8846.746056, abs=1e-4) and F.SCALE[1].sum() == pytest.approx(
        4985.201943, abs=1e-4
    )
    assert F.CUTOFFS == {
        "perov-5": (0.2, 4.0),
        "perov-mini": (0.2, 4.0),
        "carbon-24": (0.2, 4.0),
        "carbon-mini": (0.2, 4.0),
        "mp-20": (0.4, 10.0),
    }
    assert F.THRESHOLDS == {
        "perov-5": (0.43924842, 0.61202443, 0.7364607),
        "carbon-24": (-154.527093, -154.45865733, -154.44206825),
        "mp-20": (-3.17562208, -2.82196882, -2.52814761),
    }


@pytest.mark.parametrize(
    "source",
    ["", "no crystal", Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])],
    ids=["empty", "nonsense", "all in one place"],
)
def test_what_has_no_fingerprint_has_a_reason(source):
    f = F.fingerprint((M.Entry(0, "x", source), 20))
    assert (f["structure"] is None) == bool(f["reason"])
    if isinstance(source, str):
        assert f["reason"].startswith("no fingerprint: ")


def test_slow_fingerprint_ends_at_its_limit(monkeypatch):
    monkeypatch.setattr(F, "structure_fingerprint", lambda s: time.sleep(30))
    assert "no result within 0.2 s" in F.fingerprint((M.Entry(0, "x", nacl()), 0.2))["reason"]


# ---- coverage ----


def random_prints(rng, num, missing=()):
    return [
        dict(structure=None, composition=None, volume_per_atom=None, reason="none")
        if i in missing
        else dict(
            structure=rng.normal(size=61).tolist(),
            composition=(F.SCALE[0] + rng.normal(size=132) * F.SCALE[1]).tolist(),
            volume_per_atom=10.0,
            reason="",
        )
        for i in range(num)
    ]


@pytest.mark.parametrize("cutoffs", [(9.0, 14.0), (10.0, 16.0), (12.0, 18.0)])
def test_coverage_equals_scipy_taken_directly(cutoffs):
    rng = np.random.default_rng(1)
    made, true = random_prints(rng, 30, missing=(3, 7)), random_prints(rng, 20)
    s = cdist([f["structure"] for f in made if f["structure"]], [f["structure"] for f in true])
    scale = lambda fs: (
        (np.array([f["composition"] for f in fs if f["composition"]]) - F.SCALE[0]) / F.SCALE[1]
    )
    c = cdist(scale(made), scale(true))
    near = lambda axis: (s.min(axis) <= cutoffs[0]) & (c.min(axis) <= cutoffs[1])
    got = {k: v["value"] for k, v in F.coverage(made, true, cutoffs).items()}
    both = (s <= cutoffs[0]) & (c <= cutoffs[1])
    assert got == pytest.approx(
        dict(
            cov_recall=near(0).mean(),
            cov_precision=near(1).sum() / 30,
            cov_recall_same=both.any(0).mean(),
            cov_precision_same=both.any(1).sum() / 30,
            amsd_recall=s.min(0).mean(),
            amsd_precision=s.min(1).mean(),
            amcd_recall=c.min(0).mean(),
            amcd_precision=c.min(1).mean(),
        )
    )


def test_cutoffs_are_inclusive():
    def point(s):
        return dict(
            structure=[s] + [0.0] * 60, composition=F.SCALE[0].tolist(), volume_per_atom=1.0, reason=""
        )

    assert F.coverage([point(0.25)], [point(0.0)], (0.25, 4.0))["cov_recall"]["value"] == 1
    assert F.coverage([point(0.25)], [point(0.0)], (0.2499, 4.0))["cov_recall"]["value"] == 0


def test_unknown_numbers_count_as_average():
    f = random_prints(np.random.default_rng(0), 1)[0]
    holes = dict(f, composition=[float("nan")] * 132)
    assert np.abs(F.arrays([holes])[1]).max() == 0


def test_diversity_is_the_mean_pair_distance():
    prints = random_prints(np.random.default_rng(2), 9, missing=(0,))
    got = F.diversity(prints)
    assert (
        got["structure_diversity"]["value"]
        == pytest.approx(pdist([f["structure"] for f in prints[1:]]).mean())
        and got["composition_diversity"]["count"] == 8
    )
    assert F.diversity(prints[:2])["structure_diversity"]["value"] is None


def test_crystals_without_fingerprints_cover_nothing():
    "A set that cannot be fingerprinted is the worst one, not one without a figure."
    got = F.coverage([None] * 3, random_prints(np.random.default_rng(0), 2), (1, 1))
    for name, total in (("recall", 2), ("precision", 3)):
        for key in (f"cov_{name}", f"cov_{name}_same"):
            assert (got[key]["value"], got[key]["count"], got[key]["total"]) == (0.0, 0, total)
        assert got[f"amsd_{name}"]["value"] is None and got[f"amcd_{name}"]["value"] is None
    assert F.coverage([], random_prints(np.random.default_rng(0), 2), (1, 1))["cov_recall"]["value"] == 0.0


def test_without_a_reference_there_is_no_coverage():
    assert F.coverage(random_prints(np.random.default_rng(0), 2), [None], (1, 1)) == {}


# ---- property and optimisation ----


def test_property_distance_is_between_predictions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = 2 * x[:, 0]
    found, predicted = F.property_distance(x[:60] + [0.5, 0, 0, 0], x, y)
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    direct = HistGradientBoostingRegressor(random_state=0)
    unseen = cross_val_predict(
        direct, x, y, cv=KFold(5, shuffle=True, random_state=0)
    )  # the made ones were not trained on, so the others must not be
    assert (
        found["value"]
        == pytest.approx(wasserstein_distance(direct.fit(x, y).predict(x[:60] + [0.5, 0, 0, 0]), unseen))
        and len(predicted) == 60
    )
    assert found["cross_validated_mae"] < 0.4 * found["mae_of_the_mean"]
    with pytest.raises(M.MetricsError, match="at least 10"):
        F.property_distance(x, x[:5], y[:5])


def test_success_takes_the_best_valid_crystal_of_each_start():
    got = F.success_rates(
        [[-3.2, 0], [-3.0, -9.0], [-2.6, -2.0], [0.0, 0.0]],
        [[1, 1], [1, 0], [1, 1], [1, 1]],
        F.THRESHOLDS["mp-20"],
    )
    assert [got[f"success_{k}"]["value"] for k in (5, 10, 15)] == [0.25, 0.5, 0.75]
    edge = F.success_rates([[-1.5]], [[1]], (-1.5, np.nextafter(-1.5, -2), -1))
    assert [edge[f"success_{k}"]["count"] for k in (5, 10, 15)] == [1, 0, 1], (
        "a threshold is reached by its value"
    )


# ---- a folder, completely ----


def complete(folder, reference, **kw):
    return J.evaluate(folder, reference, workers=1, progress=False, fingerprints=True, **kw)


def test_folder_of_cifs_gets_every_metric(tmp_path):
    reference = write_csv(
        tmp_path / "perov_5_test.csv", some(8) + [nacl()] * 4, energy=[float(k) for k in range(12)]
    )
    folder = write_folder(
        tmp_path / "made",
        some(3)
        + [
            perovskite("Na", "Na", "Na") * 1,
            Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0.01, 0, 0]]),
        ],
    )
    got = complete(folder, reference, property="energy")
    kept = json.loads((next_to(folder) / "metrics.json").read_text())
    want = (
        "valid composition_valid structure_valid unique novel valid_unique_novel symmetric wdist_density "
        "wdist_num_elements wdist_property cov_recall cov_precision cov_recall_same cov_precision_same "
        "amsd_recall amsd_precision amcd_recall amcd_precision structure_diversity composition_diversity "
        "METRe crmse min_dist"
    ).split()
    assert not [k for k in want if k not in kept["metrics"]]
    assert all(kept["metrics"][k]["definition"] and kept["metrics"][k]["label"] for k in want) and kept[
        "settings"
    ]["cutoffs"] == [0.2, 4.0]
    assert (
        kept["metrics"]["cov_precision"]["count"] >= 3
        and kept["metrics"]["wdist_property"]["cross_validated_mae"] > 0
    )
    assert (
        set(kept["space_groups"]) == {"0.01", "0.03", "0.1", "0.3"}
        and sum(kept["space_groups"]["0.1"].values()) <= 5
    )
    rows = pd.read_csv(next_to(folder) / "per_crystal.csv")
    assert (
        rows.predicted_property.notna().sum() == kept["metrics"]["valid"]["count"]
        and not (folder / ".evaluating.jsonl").exists()
    )
    page = (next_to(folder) / "report.html").read_text()
    assert "COV-R" in page and "AMCD" in page and got["metrics"]["cov_recall"]["total"] == 12


def test_symmetry_appears_as_the_tolerance_grows(tmp_path):
    folder = write_folder(tmp_path / "made", [noisy(perovskite(), 0.02, 1)])
    groups = J.evaluate(folder, workers=1, progress=False)["space_groups"]
    assert groups["0.01"] == {1: 1} and groups["0.3"] == {221: 1}


def test_no_fingerprint_is_not_valid(tmp_path, monkeypatch):
    monkeypatch.setattr(
        J,
        "fingerprint",
        lambda task: dict(
            structure=None, composition=None, volume_per_atom=None, reason="no fingerprint: ValueError: odd"
        ),
    )
    got = complete(write_folder(tmp_path / "made", some(2)), None)
    assert got["metrics"]["valid"]["count"] == 0 and got["metrics"]["structure_valid"]["count"] == 2


@pytest.mark.parametrize(
    "kw,words",
    [
        (dict(property="charm"), "no column 'charm'"),
        (dict(property="energy", fingerprints=False), "ask for both"),
        (dict(), None),
        (dict(cutoffs="near"), "no cut-offs"),
        (dict(cutoffs="1,b"), "two numbers"),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_named(tmp_path, kw, words):
    reference, folder = (
        write_csv(tmp_path / "ref.csv", some(3), energy=[1.0, 2.0, 3.0]),
        write_folder(tmp_path / "made", some(1)),
    )
    call = lambda: J.evaluate(
        folder, reference, workers=1, progress=False, **dict(dict(fingerprints=True), **kw)
    )
    if words is None:
        assert call()["settings"]["cutoffs"] == (0.4, 10.0)
    else:
        with pytest.raises(M.MetricsError, match=words):
            call()


def test_reference_fingerprints_are_computed_once(tmp_path, monkeypatch):
    reference, folder, calls = (
        write_csv(tmp_path / "ref.csv", some(3)),
        write_folder(tmp_path / "made", some(2)),
        [],
    )
    real = F.fingerprint
    monkeypatch.setattr(J, "fingerprint", lambda task: calls.append(1) or real(task))
    first, second = (complete(folder, reference)["metrics"]["cov_recall"] for _ in range(2))
    assert len(calls) == 2 + 3 + 2 and first == second


# ---- interrupted ----

PROGRAM = (
    "import sys, warnings; warnings.simplefilter('ignore')\nfrom dpcdvae.evaluation.evaluate import "
    "evaluate\nevaluate(sys.argv[1], sys.argv[2], workers=1, progress=False, fingerprints=True)"
)


def test_killed_evaluation_goes_on_and_ends_the_same(tmp_path, monkeypatch):
    made, reference = some(24), write_csv(tmp_path / "ref.csv", some(4))
    cut, whole = (write_folder(tmp_path / n, made) for n in ("cut", "whole"))
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(cut), str(reference)],
        env=dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
        stderr=subprocess.PIPE,
    )
    journal, begin = next_to(cut) / ".evaluating.jsonl", time.monotonic()
    while not (journal.exists() and '["fingerprints"' in journal.read_text()):
        assert process.poll() is None and time.monotonic() - begin < 120, process.stderr.read()[-1500:]
        time.sleep(0.02)
    process.kill()
    process.wait()
    lines = journal.read_text().split("\n")[1:-1]
    done = sum(l.startswith('["fingerprints"') for l in lines)
    assert (
        0 < done < 24
        and sum(l.startswith('["validity"') for l in lines) == 24
        and not (next_to(cut) / "metrics.json").exists()
    )
    calls, real = [], (F.fingerprint, M.evaluate_crystal)
    monkeypatch.setattr(J, "fingerprint", lambda task: calls.append("f") or real[0](task))
    monkeypatch.setattr(J, "evaluate_crystal", lambda task: calls.append("j") or real[1](task))
    first = complete(cut, reference)
    assert (
        calls.count("j") == 0 and calls.count("f") == 24 - done + 4
    )  # the reference's four were not reached
    monkeypatch.undo()
    second = complete(whole, reference)
    assert {k: v["value"] for k, v in first["metrics"].items()} == {
        k: v["value"] for k, v in second["metrics"].items()
    } and first["reasons"] == second["reasons"]


def test_journal_of_other_crystals_is_not_used(tmp_path):
    folder = write_folder(tmp_path / "made", some(2))
    (folder / ".evaluating.jsonl").write_text(
        "another input\n"
        + json.dumps(["validity", 0, dict(index=0, valid=False, reason="from elsewhere")])
        + "\n"
    )
    assert J.evaluate(folder, workers=1, progress=False)["metrics"]["valid"]["count"] == 2


# ---- a cluster ----


def test_dask_scheduler_gives_the_same_numbers(tmp_path):
    distributed = pytest.importorskip("distributed")
    folder = write_folder(tmp_path / "made", some(4))
    alone = J.evaluate(folder, workers=1, progress=False)
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        shared = J.evaluate(folder, progress=False, scheduler=cluster.scheduler_address)
        M._client(cluster.scheduler_address).close()
        M._client.cache_clear()
    assert {k: v["value"] for k, v in alone["metrics"].items()} == {
        k: v["value"] for k, v in shared["metrics"].items()
    }
