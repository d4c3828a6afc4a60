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

explorer = ForwardExplorer(toy("SrTiO3"), t=600, height=300)
explorer"""
PAIR = """from dpcdvae.viz.view import view

view(toy("NaCl"), toy("CsCl"))"""
PICKER = """import traitlets

from dpcdvae import load_crystals
from dpcdvae.viz.browse import CrystalPicker

picker = CrystalPicker(load_crystals("perov_mini", split="test", progress=False))
traitlets.dlink((picker, "selected"), (explorer, "crystal"))
picker"""
PLOT = "document.querySelector('.js-plotly-plot')"
LINE = f"[...({PLOT}?.querySelectorAll('.trace path.js-line') ?? [])].map(p => p.getAttribute('d')).join()"
TITLES = "[...document.querySelectorAll('.dpv-title')].map(t => t.textContent)"


@pytest.fixture(scope="module")
def page(firefox, tmp_path_factory):
    "A page of Voila: a forward explorer, two crystals side by side, a picker of crystals."
    pytest.importorskip("voila", reason="voila is not installed: pip install voila")
    server = Voila(tmp_path_factory.mktemp("voila"), notebook([EXPLORER, PAIR, PICKER]))
    server.listen()
    firefox.goto(server.url)
    firefox.until(f"{PLAYER.replace(').player', ')?.player')} && {LINE}", 90)
    firefox.until(f"{TITLES}.length === 3 && document.querySelector('.dpcdvae-gallery button')", 90)
    yield
    firefox.goto("about:blank")
    server.end()


@pytest.fixture
def explorer(firefox, page):
    firefox.evaluate("document.querySelector('.dpv-stage').scrollIntoView({block: 'center'})")


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


def test_crystals_stand_side_by_side_without_a_time(firefox, page):
    "Each in a player of its own, whose switches obey the mouse."
    assert firefox.evaluate(f"{TITLES}.slice(1)") == ["NaCl", "CsCl"]
    boxes = firefox.evaluate("[...document.querySelectorAll('.dpv')].map(d => d.getBoundingClientRect())")
    assert abs(boxes[1]["top"] - boxes[2]["top"]) < 2 and boxes[1]["right"] <= boxes[2]["left"]
    times = (
        "[...document.querySelectorAll('.dpv')].map(d => d.querySelector('.dpv-slider').checkVisibility())"
    )
    assert firefox.evaluate(times) == [True, False, False]
    chip = "document.querySelectorAll('.dpv')[2].querySelector('[data-toggle=bonds]')"
    for pressed in ("true", "false"):
        firefox.click(chip)
        firefox.until(f"{chip}.getAttribute('aria-pressed') === '{pressed}'")
    other = chip.replace("[2]", "[1]")
    assert firefox.evaluate(f"{other}.getAttribute('aria-pressed')") == "false"


def test_a_crystal_that_is_clicked_goes_into_the_explorer(firefox, page):
    "As in the tour: the picker feeds the next explorer."
    for k in (2, 0):
        card = f"document.querySelectorAll('.dpcdvae-gallery button')[{k}]"
        name = firefox.evaluate(f"{card}.querySelector('b').textContent")
        firefox.click(card)
        firefox.until(f"{TITLES}[0] === '{name}'")
