"""The anatomy of errors.

What became of a crystal, which readings are the same by construction, films of single cases, and runs
that go on."""

import json
from pathlib import Path

import pytest
import torch
from modules import group

bench = group("bench")
from benchmarks.anatomy import (
    LADDER,
    anatomy,
    crystal_system,
    describe_truth,
    films_of,
    ladder_table,
    match_by,
    same_reading,
)
from benchmarks.cards import PARTS, letters, outcome_counts
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.evaluation.reconstruction import evaluate_reconstruction
from dpcdvae.generation.jobs import rows_of
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE

TOYS = CrystalBatch.cat([toy(k) for k in ("SrTiO3", "NaCl", "CsCl", "Si", "Cu")])


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    m = DPCDVAE(get_config("tiny", num_blocks=1, prior="standard")).eval()
    m.prepare(TOYS)
    return m


def evaluated(made):
    return evaluate_reconstruction(made, TOYS, progress=False, workers=1)[0]


def test_every_failure_has_its_letter():
    "Crystals that differ from their target in one thing each."
    STO, CsCl = TOYS[0], TOYS[2]
    swapped = STO.atomic_numbers.clone()
    swapped[[0, 1]] = swapped[[1, 0]]
    truth = CrystalBatch.cat([STO, STO, STO, STO, CsCl, STO])
    moved = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0.4, 0, 0], [0.6, 0, 0], [0.8, 0, 0]])
    made = CrystalBatch.cat(
        [
            STO,
            STO.replace(atomic_numbers=swapped),
            STO.replace(frac_coords=moved),
            STO.replace(atomic_numbers=torch.where(STO.atomic_numbers == 38, 56, STO.atomic_numbers)),
            STO,
            STO.replace(lengths=STO.lengths * torch.tensor([[1.0, 1.0, 4.0]])),
        ]
    )
    rows = evaluate_reconstruction(made, truth, progress=False, workers=1)[0]
    assert letters(rows) == "msxcnl"
    assert letters([dict(reason="timeout"), dict()]) == "ff"
    assert outcome_counts("mms") == {"match": 2, "right places, wrong species": 1} and len(
        set(PARTS.values())
    ) == len(PARTS)


def test_crystal_systems():
    assert [
        crystal_system(n) for n in (1, 2, 3, 15, 16, 74, 75, 142, 143, 167, 168, 194, 195, 230, None)
    ] == [
        s
        for k in ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
        for s in (k, k)
    ] + ["unknown"]


def test_truths_are_described():
    found = describe_truth(TOYS, [False] * 5)
    assert (
        found["formula"] == ["SrTiO3", "NaCl", "CsCl", "Si", "Cu"]
        and found["num_elements"] == [3, 2, 2, 1, 1]
        and found["space_group"] == [221, 225, 221, 227, 225]
        and found["num_atoms"] == TOYS.num_atoms.tolist()
    )


def readings(composition, num_atoms=1.0):
    return dict(
        free=[
            dict(
                seed=0,
                metrics=dict(
                    composition_exact=dict(value=composition), num_atoms_exact=dict(value=num_atoms)
                ),
            )
        ]
    )


def test_forcing_what_was_exact_is_the_free_reading():
    exact, loose, worse = readings(1.0), readings(0.9), readings(0.5, 0.8)
    assert [same_reading(exact, LADDER, k, 0) for k in LADDER] == [
        None,
        None,
        "free",
        "free",
        None,
        None,
        None,
        None,
    ]
    assert [same_reading(loose, LADDER, k, 0) for k in ("number of atoms given", "composition given")] == [
        "free",
        None,
    ]
    assert (
        same_reading(worse, LADDER, "number of atoms given", 0) is None
        and same_reading(exact, LADDER, "composition given", 1) is None
        and same_reading({}, LADDER, "composition given", 0) is None
    )
    assert (
        same_reading(exact | {"cell given": [dict(seed=0)]}, LADDER, "composition and cell given", 0)
        == "cell given"
    )


def test_groups_count_every_seed():
    r = dict(readings={"free": [dict(outcome="mxm"), dict(outcome="mmx")]})
    found = match_by(r, [["a", "b"], ["b"], ["a"]])
    assert {k: (m["count"], m["total"]) for k, m in found.items()} == dict(a=(3, 4), b=(3, 4))


def test_films_of_single_cases_end_where_the_job_did(model):
    made = model.reconstruct(TOYS, films=0, steps=6, seed=3).crystals
    for i, film in zip((4, 0), films_of(model, TOYS, [4, 0], seed=3, steps=6)):
        gap = film.frac_coords[-1] - made[i].frac_coords
        assert (gap - gap.round()).abs().max() < 1e-3 and film.meta["index"] == i and film.target is not None


def test_an_anatomy_goes_on_where_it_stopped(model, tmp_path, monkeypatch):
    from dpcdvae.generation.jobs import csv_text

    rows = [[n, c] for _, n, c, _ in rows_of(TOYS, 0, ["a", "b", "c", "d", "e"])]
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(csv_text([["material_id", "cif"], *rows]))
    monkeypatch.setenv("DPCDVAE_CACHE", str(tmp_path / "cache"))
    run, out = model.save(tmp_path / "model"), tmp_path / "anatomy.json"
    how = dict(data=tmp_path, run=run, out=out, num=4, seeds=(0, 1), steps=2)
    anatomy(**how, ladder={"free": {}})
    before = json.loads(out.read_text())
    assert [len(r["outcome"]) for r in before["readings"]["free"]] == [4, 4] and len(
        before["crystals"]["formula"]
    ) == 4
    real, called = DPCDVAE.reconstruct, []
    monkeypatch.setattr(
        DPCDVAE, "reconstruct", lambda *a, **k: called.append(k.get("force")) or real(*a, **k)
    )
    after = anatomy(**how, ladder={"free": {}, "cell given": dict(force=("lattice",))})
    assert (
        called == [("lattice",)]
        and after["readings"]["free"] == before["readings"]["free"]
        and "cell given" in ladder_table(after)
    )
    assert json.loads(out.read_text()) == json.loads(json.dumps(after))
    assert max(len(line) for line in out.read_text().splitlines()) < 400 and '"rms": [' in out.read_text()
    with pytest.raises(ValueError, match="holds something else"):
        anatomy(**how | dict(num=3))


def test_results_are_those_of_the_models_in_the_box():
    for path in sorted((Path(__file__).parents[1] / "results").glob("anatomy-*.json")):
        r = json.loads(path.read_text())
        assert r["run"] == path.stem.removeprefix("anatomy-")
        for found in r["readings"].values():
            for one in found:
                assert (
                    len(one["outcome"]) == r["num"] == one["metrics"]["match_rate"]["total"]
                    and one["outcome"].count("m") == one["metrics"]["match_rate"]["count"]
                )
