"""The short form of the campaign of kills: jobs that are killed go on and end with the same results, bad
conditions are named; and what it must find is found: a lock, a checksum, a resume that do not work."""

import json
import os
import random
import time
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
    "Stop a reconstruction after its first two blocks, tear its last line, and go on."
    given = work / "given"
    assert running.codes([running.fork(lambda: stopped_early(given, out), work / "log")]) == [9]
    text = (out / "crystals.csv").read_text()
    (out / "crystals.csv").write_text(text[:-40])
    return running.whole_run(job("reconstruct"), given, out)[0]


def stopped_early(given, out):
    write, count = jobs.Job.write, iter(range(99))

    def once(self, first, rows):
        write(self, first, rows)
        if next(count):
            raise SystemExit

    jobs.Job.write = once
    try:
        kinds.reconstruct_job(given, out, 0, 1)
    except SystemExit:
        return 9


@pytest.mark.parametrize("name", dict.fromkeys(j.name for j in kinds.JOBS))
def test_a_killed_job_ends_with_the_same_results(work, tmp_path, name):
    whole, seconds = running.whole_run(job(name), work / "given", tmp_path / "whole")
    for seed in range(9):  # until a kill comes before the end
        rng, out = random.Random(f"{name} {seed}"), tmp_path / str(seed)
        found = running.killed_run(job(name), work / "given", out, seconds / 2, rng, most=1)
        assert found["results"] == whole and whole and not found["trouble"], found
        if running.num_kills([found]):
            return
    raise AssertionError("no kill came in time")


def test_a_campaign_goes_on_with_its_journal_and_no_other_code_s(work, tmp_path, monkeypatch):
    kill = lambda: running.campaign(job("film"), work / "given", tmp_path, 2, 1, tmp_path / "journal.jsonl")
    monkeypatch.setattr(running, "killed_run", lambda *a: dict(kills={"SIGKILL": 1}, trouble=[], results={}))
    monkeypatch.setattr(running, "whole_run", lambda *a: ({}, 1.0))
    assert kill()["kills"] == kill()["kills"] == 2
    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 2 and json.loads(lines[0])["code"] == running.code_digest()
    monkeypatch.setattr(running, "code_digest", lambda: "other")
    kill()
    assert len((tmp_path / "journal.jsonl").read_text().splitlines()) == 4


def test_a_job_goes_on_and_a_broken_resume_is_found(work, tmp_path, monkeypatch):
    whole, _ = running.whole_run(job("reconstruct"), work / "given", tmp_path / "whole")
    assert whole and whole == cut_and_go_on(work, tmp_path / "a")
    monkeypatch.setattr(jobs, "resume_at", lambda *a, **k: 0)  # goes on without cutting what was torn
    assert whole != cut_and_go_on(work, tmp_path / "b")


@pytest.mark.parametrize("name", ["limited_file", "read_only", "full_disk", "memory_limit", "other_version"])
def test_conditions_are_named(work, tmp_path, name):
    tmp_path.chmod(0o755)
    found = getattr(conditions, name)(work / "given", tmp_path)
    assert all(code == 2 and conditions.CONDITIONS[name] in line for code, line in found.values()), found


def test_a_library_that_finds_no_memory_is_named():
    from dpcdvae.cli.app import out_of_memory

    assert out_of_memory(ImportError("libopenblas.so: failed to map segment from shared object"))
    assert out_of_memory(RuntimeError("could not create a primitive"))
    assert not out_of_memory(ImportError("No module named 'ase'"))


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


def test_the_next_job_removes_what_a_killed_process_left(work, tmp_path, monkeypatch):
    (gone,) = pids = [running.fork(lambda: 0, work / "log")]
    running.codes(pids)
    left = [files.part_path(tmp_path / n, gone) for n in ("run.json", "best/model.safetensors")]
    alive = files.part_path(tmp_path / "films" / "film_0.safetensors")
    for path in (*left, alive):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with files.lock_folder(tmp_path):
        assert not any(p.exists() for p in left) and alive.exists()


def test_blocks_that_were_joined_and_not_removed_are_not_left(work, tmp_path):
    "One process of two makes all, and is killed between the table and the parts."
    record = dict(kind="crystals")
    (tmp_path / "parts").mkdir()
    (tmp_path / "crystals.csv").write_text(jobs.csv_text([jobs.HEADER, [0, "a", "x", ""], [1, "b", "x", ""]]))
    for first in (0, 1, 2):
        (tmp_path / "parts" / f"{first:09d}.csv").write_text(jobs.csv_text([[first, "a", "x", ""]]))
    job = jobs.Job(tmp_path, record, 3, 1, (0, 2))
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["000000002.csv"] and job.remaining() == []


def pool_that_is_killed(work):
    "Kill a process that has two workers; its group."
    from dpcdvae.evaluation.parallel import parallel_map

    pid = running.fork(lambda: parallel_map(time.sleep, [60.0] * 4, 2, False), work / "log")
    while len(running.group(pid)) < 3:
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(pid, 9)
    assert running.codes([pid]) == [-9]
    return pid


def test_workers_end_with_a_killed_job_and_some_that_do_not_are_found(work, monkeypatch):
    assert not running.outlive([pool_that_is_killed(work)])
    monkeypatch.setattr("dpcdvae.data.rows._end_with", lambda parent: None)
    pid = pool_that_is_killed(work)
    assert running.outlive([pid], patience=1.5)
    running.sweep([pid])


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
    assert not counts.is_clean(good | dict(broken=dict(x=dict(found=False))))


def stored(name):
    return json.loads((Path(__file__).parents[1] / "results" / f"{name}.json").read_text())


def test_the_stored_counts_are_clean():
    found = stored("campaign")
    assert counts.is_clean(found) and found["jobs"] and set(found) >= {"seed", "made_on"}
    assert all(r["results_equal"] == r["jobs"] for r in found["jobs"].values())
    assert {f"{j.name}, {j.processes}" for j in kinds.JOBS} == set(found["jobs"]) and len(found["broken"]) > 2
    assert not any(case.get("failed", True) for case in stored("pythons")["cases"].values())
    for name in ("long-generate", "long-train"):
        complete = stored(name)["complete"]
        assert not complete.get("misplaced") and not complete.get("epochs_doubled")
