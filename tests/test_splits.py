"A model knows what it was trained on, and reconstruction and evaluation go by it, from any folder."

import csv
import json
import shutil
from pathlib import Path

import pytest

from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.splits import SEEN_FILE, crystal_digests, read_record
from dpcdvae.evaluation.evaluate import _mark_seen
from dpcdvae.model.pretrained import list_pretrained

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

QUICK = ("--steps", 2, "--workers", 1)


def call(capsys, *words) -> str:  # what was printed, on both streams
    capsys.readouterr()
    assert main([str(w) for w in words]) == 0
    return "".join(capsys.readouterr())


def ids(path) -> list[str]:
    return [r["material_id"] for r in csv.DictReader(open(path))]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    "Eight CIFs and a cell of 100 atoms, and a model trained on them."
    home = tmp_path_factory.mktemp("splits")
    (home / "cifs").mkdir()
    crystals = load_crystals("perov_mini", split="train", progress=False)[:8].to_structures()
    for i, s in enumerate(crystals):
        s.to(filename=str(home / "cifs" / f"mine_{i}.cif"))
    large = crystals[0] * [4, 5, 1]
    large.replace(0, "Rb")  # else the supercell would be reduced
    large.to(filename=str(home / "cifs" / "large.cif"))
    words = ["--preset", "tiny", "--max-epochs", 1, "--workers", 1, "--set", "latent.prior_steps=2"]
    with pytest.warns(UserWarning, match="skipped 1 of 9 crystals: the first, large, has 100 atoms"):
        done = main([str(w) for w in ("train", "--data", home / "cifs", "--out", home / "run", *words)])
    assert done == 0
    return home


def test_training_divides_and_tells(home):
    run = json.loads((home / "run" / "run.json").read_text())
    assert [run[f"num_{k}"] for k in ("train", "val", "test", "skipped")] == [6, 1, 1, 1]
    assert run["divided"] == "divided at random, seed 0"
    rows = list(csv.DictReader(open(home / "run" / "split.csv")))
    parts = [r["split"] for r in rows]
    assert {k: parts.count(k) for k in set(parts)} == dict(train=6, val=1, test=1, skipped=1)
    assert rows[0]["reason"] == "100 atoms, and the model holds at most 24"
    for kept in ("best", "last"):
        assert read_record(home / "run" / kept) == read_record(home / "run")


def test_reconstruction_takes_what_was_kept(home, capsys, tmp_path):
    "Also with a model and crystals that were moved, under other names."
    shutil.copytree(home / "run" / "best", tmp_path / "model")
    (tmp_path / "other").mkdir()
    for i in range(8):
        shutil.copy(home / "cifs" / f"mine_{i}.cif", tmp_path / "other" / f"x{7 - i}.cif")
    kept = next(r[2] for r in read_record(home / "run").rows if r[1] == "test")
    words = ("reconstruct", "--model", tmp_path / "model", "--data", tmp_path / "other", *QUICK)
    said = call(capsys, *words, "--out", tmp_path / "rec")
    assert "1 of 8 crystals" in said and "the test part of the model's training (split.csv)" in said
    assert ids(tmp_path / "rec" / "truth.csv") == [f"x{7 - int(kept[-1])}"]
    call(capsys, "evaluate", tmp_path / "rec", "--workers", 1)
    page = (tmp_path / "rec_evaluation" / "report.html").read_text()
    assert "None of these crystals was used in the training" in page


def test_training_crystals_are_named_in_summary_and_report(home, capsys, tmp_path):
    words = ("reconstruct", "--model", home / "run", "--data", home / "cifs", "--split", "all", *QUICK)
    with pytest.warns(UserWarning, match="skipped 1 of 9"):
        call(capsys, *words, "--out", tmp_path / "rec")
    said = call(capsys, "evaluate", tmp_path / "rec", "--workers", 1)
    warning = "Attention: the model was trained on 6 of the 8 crystals"
    assert warning in said
    assert warning in (tmp_path / "rec_evaluation" / "report.html").read_text()
    assert warning in json.loads((tmp_path / "rec_evaluation" / "metrics.json").read_text())["notes"][0]
    rows = list(csv.DictReader(open(tmp_path / "rec_evaluation" / "per_crystal.csv")))
    seen = [r["seen"] for r in rows]
    assert {k: seen.count(k) for k in set(seen)} == {"train": 6, "val": 1, "": 1}


def test_new_crystals_are_compared_with_the_same_parts(home, capsys, tmp_path):
    call(capsys, "generate", "--model", home / "run", "--num", 2, "--out", tmp_path / "new", *QUICK)
    words = ("--reference", home / "cifs", "--test", home / "cifs", "--quick", "--workers", 1)
    said = call(capsys, "evaluate", tmp_path / "new", *words)
    assert "As reference: 6 of 9 crystals" in said and "As test set: 1 of 9 crystals" in said
    other = tmp_path / "unknown"
    other.mkdir()
    shutil.copy(next((home / "cifs").glob("large.cif")), other)
    said = call(capsys, "evaluate", tmp_path / "new", "--reference", other, "--quick", "--workers", 1)
    assert "no crystal of" in said and "all are used" in said


def test_digests_stay_when_a_crystal_is_written_and_read(tmp_path):
    crystals = load_crystals("perov_mini", split="val", progress=False)[:40]
    for i, s in enumerate(crystals.to_structures()):
        s.to(filename=str(tmp_path / f"{i:03d}.cif"))
    again = load_crystals(tmp_path, progress=False, cache=False, workers=1)
    same = [a == b for a, b in zip(crystal_digests(crystals), crystal_digests(again))]
    assert sum(same) >= 39


def test_a_digest_does_not_depend_on_the_cell_that_was_read():
    one = load_crystals("perov_mini", split="test", progress=False)[:3]
    many = CrystalBatch.from_structures([s * (1, 2, 1) for s in one.to_structures()])
    assert crystal_digests(many) == crystal_digests(one)


@pytest.mark.parametrize("name", list(list_pretrained()))
def test_pretrained_models_know_what_they_were_trained_on(name):
    record = read_record(list_pretrained()[name])
    assert (list_pretrained()[name] / SEEN_FILE).stat().st_size < 250_000
    train = json.loads((list_pretrained()[name] / "card.json").read_text())["training"]["num_train"]
    assert len(record.seen) > 0.8 * train  # of crystals that occur twice, one is listed
    source = name if name in ("perov_mini", "carbon_mini") else SHARED / name.replace("-", "_")
    if not (name in ("perov_mini", "carbon_mini") or source.exists()):
        pytest.skip("no ../shared/data")
    held_out = record.of(load_crystals(source, "test", limit=200, progress=False))
    assert held_out.count("") > 0.8 * len(held_out)  # simple structures come twice
    part = "val" if name in ("perov-5", "mp-20", "carbon-24") else "train"
    seen = record.of(load_crystals(source, part, limit=60, progress=False))
    assert set(seen) <= {"train", "val", "maybe"} and len(seen) == 60


def test_a_pretrained_model_names_the_training_crystals_among_those_given(home, capsys, tmp_path):
    words = ("--model", "perov_mini", "--out", tmp_path / "rec", *QUICK)
    assert "trained on 8 of 8 crystals" in call(capsys, "reconstruct", "--data", home / "cifs", *words)
    assert "the model was trained on 8 of the 8 crystals" in call(
        capsys, "evaluate", tmp_path / "rec", "--quick"
    )
    words = ("--model", "perov_mini", "--split", "train", "--limit", 3, "--out", tmp_path / "own", *QUICK)
    said = call(capsys, "reconstruct", "--data", "perov_mini", *words)
    assert "attention: the model was trained on 3 of 3 crystals; those are no test of it" in said


def test_what_is_only_perhaps_known_is_said_so():
    rows = [dict(), dict(), dict()]
    note = _mark_seen(rows, dict(seen=dict(train=[0], val=[], maybe=[2], about="2 of 3 were")))
    assert "may have been trained on 1 of the 3 crystals (2 of 3 were), and was on 1 others" in note[0]
    assert [r.get("seen") for r in rows] == ["train", None, "maybe"]
