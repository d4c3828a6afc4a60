"""The short form of the campaign of kills: jobs that are killed go on and end with the same results, bad
conditions are named; and what it must find is found: a lock, a checksum, a resume that do not work."""

import json
import random
from pathlib import Path

import pytest
from test_run import own_cache  # noqa: F401  fixture

from benchmarks.campaign import conditions, counts, running
from benchmarks.campaign import jobs as kinds
from dpcdvae.data import files
from dpcdvae.generation import jobs
from dpcdvae.model import pretrained


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("campaign")
    running.prepare(folder)
    return folder


def job(name: str):
    return next(j for j in kinds.JOBS if j.name == name)


def cut_and_go_on(work, out):
    "Stop a generation after its first two blocks, tear its last line, and go on; (whole, continued)."
    given = work / "given"
    assert running.codes([running.fork(lambda: stopped_early(given, out), work / "log")]) == [9]
    text = (out / "crystals.csv").read_text()
    (out / "crystals.csv").write_text(text[:-40])
    cut, _ = running.whole_run(job("generate"), given, out)
    whole, _ = running.whole_run(job("generate"), given, out.with_name("whole"))
    return whole, cut


def stopped_early(given, out):
    write, count = jobs.Job.write, iter(range(99))

    def once(self, first, rows):
        write(self, first, rows)
        if next(count):
            raise SystemExit

    jobs.Job.write = once
    try:
        kinds.generate_job(given, out, 0, 1)
    except SystemExit:
        return 9


def test_killed_jobs_end_with_the_same_results(work, tmp_path):
    found = running.campaign(job("relax"), work / "given", tmp_path, 1, seed=1)
    assert found["kills"] and found["results_equal"] == found["jobs"] and not found["faults"], found


def test_a_job_goes_on_and_a_broken_resume_is_found(work, tmp_path, monkeypatch):
    whole, cut = cut_and_go_on(work, tmp_path / "a" / "cut")
    assert whole and whole == cut
    monkeypatch.setattr(jobs, "resume_at", lambda *a, **k: 0)  # goes on without cutting what was torn
    whole, cut = cut_and_go_on(work, tmp_path / "b" / "cut")
    assert whole != cut or "crystals.csv" not in whole


@pytest.mark.parametrize("name", ["limited_file", "read_only", "full_disk", "memory_limit", "other_version"])
def test_conditions_are_named(work, tmp_path, name):
    tmp_path.chmod(0o755)
    found = getattr(conditions, name)(work / "given", tmp_path)
    assert all(code == 2 and conditions.CONDITIONS[name] in line for code, line in found.values()), found


def second_job(work, tmp_path):
    "Start a second process in a folder that the first holds."
    with files.lock_folder(tmp_path):
        return conditions.said(lambda: took_lock(tmp_path), work)


def took_lock(folder):
    files._held.clear()  # the child has none of its parent's
    with files.lock_folder(folder):
        return 0


def test_a_second_job_is_refused_and_a_broken_lock_is_found(work, tmp_path, monkeypatch):
    code, line = second_job(work, tmp_path)
    assert code == 2 and "another process is at work" in line
    assert took_lock(tmp_path) == 0 and not (tmp_path / files.LOCK).exists()
    monkeypatch.setattr("fcntl.lockf", lambda *a: None)
    assert second_job(work, tmp_path) == (0, "")


def test_shares_of_one_job_do_not_exclude_each_other(work, tmp_path):
    def share(which):
        files._held.clear()
        with files.lock_folder(tmp_path, (which, 2)):
            return 0

    with files.lock_folder(tmp_path, (0, 2)):
        assert conditions.said(lambda: share(1), work)[0] == 0
        assert conditions.said(lambda: share(0), work)[0] == 2
        assert conditions.said(lambda: took_lock(tmp_path), work)[0] == 2


def test_flipped_bytes_are_named_and_a_missing_check_is_found(work, tmp_path, monkeypatch):
    found = conditions.flipped_model(work / "given", tmp_path, 12)
    assert found and all(r["named"] == r["flipped"] for r in found.values()), found
    weights = pretrained._read_weights(work / "given" / "model" / "model.safetensors")
    same = pretrained.content_digest(weights, {})
    monkeypatch.setattr(pretrained, "content_digest", lambda *a: same)  # a check that checks nothing
    found = conditions.flipped_model(work / "given", tmp_path, 12)["model.safetensors, tensors"]
    assert found["named"] == 0


def test_flipped_film_and_checkpoint_are_named(work, tmp_path):
    from dpcdvae.diffusion.trajectory import Trajectory, TrajectoryError
    from dpcdvae.model.checkpoint import SafeCheckpointIO

    film = kinds.model_of(work / "given").generate(1, steps=2, seed=5)[0]
    film.save(tmp_path / "film.safetensors")
    assert Trajectory.load(tmp_path / "film.safetensors").frac_coords.equal(film.frac_coords)
    SafeCheckpointIO().save_checkpoint(dict(a=film.frac_coords), tmp_path / "c.safetensors")
    SafeCheckpointIO().load_checkpoint(tmp_path / "c.safetensors")
    readers = {
        "film": (Trajectory.load, TrajectoryError),
        "c": (SafeCheckpointIO().load_checkpoint, ValueError),
    }
    for name, (reader, error) in readers.items():
        source, rng = tmp_path / f"{name}.safetensors", random.Random(0)
        for place in conditions.flip_places(source, 12, rng)["tensors"]:
            conditions.flip(source, tmp_path / "flipped.safetensors", place)
            with pytest.raises(error, match="checksum"):
                reader(tmp_path / "flipped.safetensors")


def test_counts_of_a_campaign_must_be_clean():
    good = dict(jobs=dict(a=dict(faults=[])), conditions=dict(b=dict(named=True)), flipped_bytes={})
    assert counts.is_clean(good)
    assert not counts.is_clean(json.loads(json.dumps(good).replace("true", "false")))
    assert not counts.is_clean(good | dict(jobs=dict(a=dict(faults=[dict()]))))
    assert not counts.is_clean(good | dict(flipped_bytes=dict(x=dict(named=1, flipped=2))))


def stored(name):
    return json.loads((Path(__file__).parents[1] / "results" / f"{name}.json").read_text())


def test_the_stored_counts_are_clean():
    found = stored("campaign")
    assert counts.is_clean(found) and found["jobs"] and set(found) >= {"seed", "made_on"}
    assert all(r["results_equal"] == r["jobs"] for r in found["jobs"].values())
    assert not any(case.get("failed", True) for case in stored("pythons")["cases"].values())
    for name in ("long-generate", "long-train"):
        complete = stored(name)["complete"]
        assert not complete.get("misplaced") and not complete.get("epochs_doubled")
