"The benchmark: every part is measured, the table says what the file says, and the GPU's script runs where there is none."
import json, os, subprocess, sys
from pathlib import Path
import pytest, torch
from dpcdvae import speed
from dpcdvae.crystal import CrystalBatch, toy

ROOT = Path(__file__).resolve().parents[1]

@pytest.fixture(scope="module")
def result(): return speed.bench(["perov_mini"], "tiny", 1, (8, 16), say=lambda _: None, relaxed=1, calls=(2,), long=(("modified", 4),), growth=dict(batches=(4, 16), sizes=(5, 20), atoms=20))

def test_every_part_is_measured(result):
    assert {"sets", "sampling", "reading", "matching", "relaxation", "growth", "profile", "products", "warning", "load", "processor", "torch"} <= set(result)
    one = result["sets"]["perov_mini"]
    assert one["mean_atoms"] == 5 and one["crystals"] > 100 and all(m["crystals_per_s"] == pytest.approx(int(n) / m["seconds"], rel=1e-3) for n, m in one["training"].items()) and 0.2 < one["peak_gib"] < 8
    assert {(s["sampler"], s["calls"]) for s in result["sampling"]} == {(s, n) for s in speed.SAMPLERS for n in (2,)} | {("modified", 4)}
    assert result["paper"]["data"] == "perov_mini" and result["paper"]["crystals_per_s"] == pytest.approx(64 / result["paper"]["seconds"], rel=1e-3)
    assert result["matching"]["perov_mini"]["matched"] >= 90, "a tenth of an ångström must not hide a perovskite"
    assert result["reading"]["perov_mini"]["crystals"] > 150
    relaxed = result["relaxation"]["perov_mini"]
    assert "missing" in relaxed or relaxed["crystals_per_hour"] == pytest.approx(3600 / relaxed["seconds"], rel=1e-3) and relaxed["mean_steps"] > 0
    assert not json.dumps(result).count(str(ROOT)) and {g["over"] for g in result["growth"].values()} == {"crystals in a batch", "atoms a cell"}

def test_table_says_what_the_file_says(result):
    quick = dict(result, warning=None, sets=dict(perov_mini=dict(result["sets"]["perov_mini"], training={"64": dict(seconds=.32, crystals_per_s=204.)}, largest_batch=512, peak_gib=1.29, reverse_step_64_ms=50.)))
    quick["paper"] = dict(data="perov_mini", batch=64, seconds=.64, crystals_per_s=102.)
    table = speed.bench_table(quick)
    for said in ("102 crystals/s | 51 crystals/s | 2.0 ×", "2.0 times as fast as one of the release's network", "204 crystals/s | 51 crystals/s | 4.0 ×", "1.29 GiB | 12.9 GiB | 10.0 ×", "50 ms | 500 ms | 10.0 ×", "| relaxing, all cores, perov_mini |", "matching", "reading", "| modified |"): assert said in table, said
    assert "NOT QUIET" not in table and "NOT QUIET" in speed.bench_table(dict(quick, warning=speed.disturbed(2.)))
    other = speed.bench_table(dict(quick, sets=dict(perov_mini=dict(quick["sets"]["perov_mini"], mean_atoms=9.))))
    assert "4.0 ×" not in other and "10.0 ×" not in other, "the release was measured on perovskites alone"
    assert "older benchmark" in speed.bench_table(dict(date="2026-01-01"))

def test_growth_is_drawn_with_its_exponents(result):
    traces = speed.growth_plot(result).data
    assert len(traces) == 8 and all(any(f"exponent {g['exponent']:.2f}" in (t.name or "") for t in traces) for g in result["growth"].values())

def test_supercells_are_the_same_crystal():
    "Per atom, a large cell has the neighbours of the small one."
    still = lambda n: speed.find_neighbors(speed.large_cell(n), 12).dist.mean()
    assert all(float(still(n)) == pytest.approx(float(still(5)), abs=.15) for n in (20, 90))
    assert sorted(speed.large_cell(40).atomic_numbers.tolist()) == sorted(toy("SrTiO3").atomic_numbers.tolist() * 8)

def test_a_batch_larger_than_its_set_takes_it_again():
    crystals = CrystalBatch.cat([toy("SrTiO3"), toy("Si"), toy("Cu")])
    assert speed.take(crystals, 5).formulas() == [crystals.formulas()[i] for i in (0, 1, 2, 0, 1)]
