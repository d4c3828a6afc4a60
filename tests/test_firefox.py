"The film player and an explorer in Firefox: the same hand as in Chromium, and the same film."

import numpy as np
import pytest
from conftest import Voila, notebook
from firefox import Firefox, program
from hand import player
from test_browser import make

from dpcdvae.crystal.batch import toy
from dpcdvae.viz.forward import ForwardExplorer

PLAYER = player()


@pytest.fixture(scope="module")
def firefox():
    if not program():
        pytest.skip("no Firefox on this machine: apt-get install firefox-esr")
    pytest.importorskip("websocket", reason="websocket-client is not installed")
    window = Firefox()
    yield window
    window.close()


@pytest.fixture
def film(firefox, tmp_path):
    run = make(F=41)
    firefox.goto(run.to_html(tmp_path / "film.html"))
    firefox.until(f"{PLAYER}.controls.count.textContent === '1 / 41'")
    return run


def frame(firefox, number):
    firefox.until(f"{PLAYER}.controls.count.textContent === '{number + 1} / 41'")


def slider(firefox, part):
    b = firefox.box(".dpv .dpv-slider")
    return b["left"] + 8 + part * (b["width"] - 16), b["top"] + b["height"] / 2


def test_time_is_dragged_with_the_mouse(firefox, film):
    at = 0.0
    for part, number in ((0.5, 20), (1.0, 40), (0.0, 0)):
        firefox.drag(slider(firefox, at), slider(firefox, part))
        frame(firefox, number)
        at = part
    firefox.drag(slider(firefox, 0.0), slider(firefox, 0.5))
    read = firefox.evaluate("document.querySelector('.dpv').innerText")
    assert f"noise {float(film.noise[20]):.3f}" in read


def test_keys_move_time_and_turn_switches(firefox, film):
    firefox.press("Tab")
    assert firefox.evaluate("document.activeElement.className") == "dpv-stage"
    for key, number in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 40), ("Home", 0)):
        firefox.press(key)
        frame(firefox, number)
    for key, name in (("b", "bonds"), ("g", "ghosts"), ("w", "wrapped")):
        before = firefox.evaluate(f"{PLAYER}.session.state.{name}")
        firefox.press(key)
        firefox.until(f"{PLAYER}.session.state.{name} === {str(not before).lower()}")


def test_the_stage_shows_atoms_or_says_why_not(firefox, film):
    firefox.until(f"{PLAYER}.session.drawn.ms !== undefined")  # the first picture, or the message
    b = firefox.box(".dpv-stage")
    seen = firefox.picture().crop((b["left"], b["top"], b["right"], b["bottom"] - 20))
    if not firefox.draws:
        assert "WebGL" in firefox.evaluate("document.querySelector('.dpv-message').innerText")
        pytest.skip("Firefox draws in three dimensions only on a screen: apt-get install xvfb")
    first = np.asarray(seen).astype(int)
    vivid = (first.max(-1) - first.min(-1) > 60).mean()
    assert 0.005 < vivid < 0.9  # atoms have colours, the stage has none
    middle = b["left"] + b["width"] / 2, b["top"] + b["height"] / 2
    firefox.drag(middle, (middle[0] + 160, middle[1] + 40))
    turned = np.asarray(firefox.picture().crop((b["left"], b["top"], b["right"], b["bottom"] - 20)))
    assert (np.abs(turned.astype(int) - first).max(-1) > 30).mean() > 0.005  # it turned under the mouse


EXPLORER = """from dpcdvae.crystal.batch import toy
from dpcdvae.viz.forward import ForwardExplorer

ForwardExplorer(toy("SrTiO3"), t=600, height=300)"""
PLOT = "document.querySelector('.js-plotly-plot')"
LINE = f"[...({PLOT}?.querySelectorAll('.trace path.js-line') ?? [])].map(p => p.getAttribute('d')).join()"


@pytest.fixture
def explorer(firefox, tmp_path):
    "A forward explorer in a page of Voila."
    pytest.importorskip("voila", reason="voila is not installed: pip install voila")
    server = Voila(tmp_path, notebook([EXPLORER]))
    server.listen()
    firefox.goto(server.url)
    firefox.until(f"{PLAYER.replace(').player', ')?.player')} && {LINE}", 90)
    firefox.evaluate("document.querySelector('.dpv-stage').scrollIntoView({block: 'center'})")
    yield
    firefox.goto("about:blank")
    server.end()


def test_the_histogram_follows_the_slider_in_voila(firefox, explorer):
    "What plotly drew changes under the mouse, and its numbers are those of the time that is chosen."
    at = firefox.evaluate(f"{PLAYER}.session.state.frame / ({PLAYER}.session.film.frames - 1)")
    python = ForwardExplorer(toy("SrTiO3"))
    for part in (0.15, 0.85):
        before = firefox.evaluate(LINE)
        firefox.drag(slider(firefox, at), slider(firefox, part))
        firefox.until(f"{LINE} !== {before!r}")
        python.t = firefox.evaluate(f"{PLAYER}.session.state.frame")
        assert abs(python.t / (len(python.film) - 1) - part) < 0.03
        for trace in python.figure.data:
            shown = f"{PLOT}.data.find(t => t.name === '{trace.name}').y"
            firefox.until(f"Math.abs(Math.max(...{shown}) - {max(trace.y)}) < 1e-3")
            assert np.allclose(firefox.evaluate(f"[...{shown}]"), trace.y, atol=1e-3)
        at = part
