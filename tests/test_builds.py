"Two builds side by side: in turns, resumed where they stopped, medians and ratio as the samples have them."

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import builds

MEASURE = "training, Perov-5, batch 64"


@pytest.fixture
def fake(monkeypatch):
    "A build of the past that takes 0.4 s a step, a present one of 0.2 s, and the order of the calls."
    calls = []

    def run_once(build, tree, measure, data):
        if len(calls) == 3:
            calls.append("stop")
            raise KeyboardInterrupt
        calls.append("old" if tree.name == "past" else "new")
        return dict(seconds=0.4 if tree.name == "past" else 0.2, load=1.5)

    monkeypatch.setattr(builds, "MEASURES", {MEASURE: builds.MEASURES[MEASURE]})
    monkeypatch.setattr(builds, "check_out", lambda commit, folder: folder)
    monkeypatch.setattr(builds, "run_once", run_once)
    return calls


def test_builds_take_turns_and_go_on_where_they_were_stopped(fake, tmp_path):
    out, more = tmp_path / "builds.json", (2, tmp_path / "past")
    with pytest.raises(KeyboardInterrupt):
        builds.compare_builds("abc", Path("."), out, *more)
    kept = json.loads(out.read_text())["samples"][MEASURE]
    assert [len(kept[k]) for k in ("old", "new")] == [2, 1] and fake == ["new", "old", "old", "stop"]
    table = builds.builds_table(builds.compare_builds("abc", Path("."), out, *more))
    assert fake[4:] == ["new"]
    assert "| 400 (400 to 400) | 200 (200 to 200) | 2.00 × |" in table and "load 1.5 to 1.5" in table
    with pytest.raises(ValueError, match="old"):
        builds.compare_builds("another", Path("."), out, *more)


def test_a_commit_is_unpacked_once(tmp_path):
    tree = builds.check_out("HEAD", tmp_path / "tree")
    assert (tree / "dpcdvae/nn/gemnet.py").exists()
    (tree / "dpcdvae/mine").write_text("kept")
    assert (builds.check_out("HEAD", tree) / "dpcdvae/mine").read_text() == "kept"


def test_a_folder_without_a_build_is_not_measured_as_the_installed_one(tmp_path):
    with pytest.raises(ValueError, match="holds no dpcdvae"):
        builds.run_once("old", tmp_path, "generate --num 1 --steps 20", tmp_path / "nowhere")


def test_a_build_gets_what_is_meant_for_it(tmp_path, monkeypatch):
    given = []

    def run(command, **how):
        given.append(command)
        return SimpleNamespace(returncode=0, stdout="")

    monkeypatch.setattr(builds.subprocess, "run", run)
    for build in ("old", "new"):
        builds.run_once(
            build, tmp_path, "generate --num 256, 50 evaluations before, 20 critical now", tmp_path
        )
    old, new = given
    assert old[old.index("--steps") + 1] == "50" and "--spacing" not in old
    assert new[new.index("--steps") + 1] == "20" and new[new.index("--spacing") + 1] == "critical"
