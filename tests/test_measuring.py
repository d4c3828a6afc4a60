"Commands that measure: what they are given is checked, and a child never goes on as its parent."

import os

import pytest

from benchmarks import evaluating, mutants


def pool(folder, num):
    folder.mkdir(parents=True)
    rows = [f"{i},crystal-{i},data_{i}" for i in range(num)]
    (folder / "crystals.csv").write_text("\n".join(["index,material_id,cif", *rows]) + "\n")
    return folder


def test_pools_are_joined_and_what_is_wrong_is_named(tmp_path):
    a, b, twin = (pool(tmp_path / name, 3) for name in ("a", "b", "other/a"))
    assert evaluating.pooled([a, b], 4, tmp_path / "new") == [3, 1]
    for pools, words in (([a, twin], "one name"), ([a], "fewer than 4"), ([tmp_path], "no crystals.csv")):
        with pytest.raises(SystemExit, match=words):
            evaluating.pooled(pools, 4, tmp_path / "new")


def test_a_package_that_cannot_be_imported_is_a_mutant_that_was_found(monkeypatch, tmp_path):
    "The child must not leave by the way of its parent, which removes the copied files."
    here = os.getpid()

    def fail(tree, arguments):
        raise ImportError("a mutant")

    monkeypatch.setattr(mutants, "_pytest_in", fail)
    found = mutants.run_tests(tmp_path, mutants.Mutant("a.py", "x", "y", "none"))
    assert (os.getpid(), found) == (here, "found")
