"Chapters, pictures, words, formatting, functions and docstrings get no worse; and each check can fail."

import json

import pytest
from ratchet import CHECKS, allowed, found, has_figure, is_prose, should_show
from words import FOREIGN, INSTEAD

HOW = "put it right; never raise the numbers of tests/ratchet.json"


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_nothing_gets_worse(check):
    most = allowed()[check.__name__]
    worse = {k: f"{n}, allowed {most.get(k, 0)}" for k, n in found(check).items() if n > most.get(k, 0)}
    assert not worse, f"{check.__doc__} {HOW}: {json.dumps(worse, indent=1)}"


def test_words_are_found_and_others_are_not():
    for bad in ("a network call", "Film(t=1)", "the judge said", "models in the box", "at rest", "beside it"):
        assert FOREIGN.search(bad), bad
    for good in ("FilmPlayer", "film.html", "besides", "judicious", "the box is cubic", "classroom", "rest"):
        assert not FOREIGN.search(good), good
    assert all(INSTEAD.values())


def test_prose_in_code_is_found():
    assert is_prose("# **Skip connections.** Composition is mapped\nx = 1")
    assert is_prose("import torch\n#\n# A third one has [its own section](#Here).")
    assert is_prose("The noise is drawn many times, and has the size of the closed form:")
    assert is_prose("\n".join(["# a long paragraph of comments that should be Markdown"] * 6))
    assert not is_prose(
        "#| export\nx = 1  # (N,3) Å, see https://arxiv.org/abs/2006.11239\n# Ho 2020, eq. 7\ny = 2"
    )


def test_cells_that_show_something():
    assert should_show("x = 1\nx") and should_show("print(1)") and should_show("a @ b")
    assert not any(
        map(should_show, ("x = 1", "test_eq(1, 1)", "assert x", "fig;", "def f():\n    print(1)", ""))
    )


def test_a_figure_is_seen(tmp_path):
    book = lambda data: json.dumps(dict(cells=[dict(cell_type="code", source="", outputs=[dict(data=data)])]))
    for data, yes in (
        ({"image/png": ""}, True),
        ({"text/html": "<svg>"}, True),
        ({"text/plain": "1"}, False),
    ):
        (tmp_path / "a.ipynb").write_text(book(data))
        assert has_figure(tmp_path / "a.ipynb") == yes
