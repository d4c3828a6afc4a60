"The film player under a real hand: in a page without a kernel, in JupyterLab and in Voila."

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import LATE, ROOT, notebook, until
from hand import agrees, atoms, colours, crowded, drag, kernel, painted, pixels, player, settled, state
from pymatgen.core import Structure

from benchmarks.player import slider_latency, wandering
from dpcdvae.crystal.batch import toy
from dpcdvae.diffusion.trajectory import Trajectory
from dpcdvae.viz.page import film_html

PLAYER = player()


def make(name="SrTiO3", F=41, sigma=0.9, seed=0, target=True, spread=0.0):
    "A toy crystal that leaves its cell in many directions and comes back."
    c = toy(name) if isinstance(name, str) else name
    s = torch.linspace(sigma, 0, F)
    eps = torch.randn(c.frac_coords.shape, generator=torch.Generator().manual_seed(seed))
    return Trajectory(
        t=torch.arange(F - 1, -1, -1),
        noise=s,
        alpha_bar=1 - torch.linspace(1, 0, F) ** 2,
        frac_unwrapped=c.frac_coords + s[:, None, None] * eps,
        atomic_numbers=c.atomic_numbers.expand(F, -1),
        x0=c.frac_coords.expand(F, -1, -1),
        lengths=c.lengths[0],
        angles=c.angles[0],
        meta=dict(sampler="closed form"),
        target=c if target else None,
    )


def show(page, path):
    page.goto(path.as_uri())
    settled(page, 0)


def test_slider_dragged_with_the_mouse(page, tmp_path):
    film = make()
    show(page, film.to_html(tmp_path / "film.html"))
    agrees(page, film, 0)
    for part, frame in ((0.5, 20), (1.0, 40), (0.1, 4)):
        drag(page, part)
        settled(page, frame)
        agrees(page, film, frame)
        assert (
            state(page)["read"] == f"t = {int(film.t[frame])} · noise {float(film.noise[frame]):.3f} · "
            f"{float(film.distance_to_target()[frame]):.2f} Å from target"
        )
    kinds, share = colours(page)
    assert kinds > 40 and 0.005 < share < 0.9


def test_wrapped_atoms_stay_in_the_cell(page, tmp_path):
    film = make(sigma=1.4)
    show(page, film.to_html(tmp_path / "film.html"))
    outside = lambda: [a for a in atoms(page) if min(a["frac"]) < 0 or max(a["frac"]) >= 1]
    page.click("[data-toggle=ghosts]")
    for part, frame in ((0.0, 0), (0.25, 10), (0.75, 30)):
        drag(page, part)
        settled(page, frame)
        agrees(page, film, frame)
        assert not outside()
    page.click("[data-toggle=wrapped]")
    until(page, f"!{PLAYER}.dirty")
    drag(page, 0.0)
    settled(page, 0)
    agrees(page, film, 0, wrapped=False)
    assert outside()
    page.click("[data-toggle=wrapped]")
    until(page, f"!{PLAYER}.dirty")
    agrees(page, film, 0)
    assert not outside()
    page.click("[data-toggle=ghosts]")
    until(page, f"!{PLAYER}.dirty")
    ghosts = [a for a in agrees(page, film, 0) if not a["home"]]
    assert (
        ghosts
        and all(a["alpha"] < 1 for a in ghosts)
        and all(a["alpha"] == 1 for a in atoms(page) if a["home"])
    )


def test_an_atom_that_crosses_a_face_fades_over(page, tmp_path):
    c = toy("Cu")
    path = torch.tensor([[0.9, 0.5, 0.5]]) + torch.linspace(0, 0.2, 3)[:, None, None] * torch.tensor(
        [1.0, 0, 0]
    )
    film = replace(make(c, F=3), frac_unwrapped=path, x0=path)
    show(page, film_html(film, tmp_path / "film.html", ghosts=False))
    at = lambda p: (
        page.evaluate(
            f"(() => {{ const v = {PLAYER}; v.session.position = {p}; v.picture.update('light'); }})()"
        )
        or atoms(page)
    )
    assert [round(a["frac"][0], 3) for a in at(0)] == [0.9]
    before = at(0.5)
    assert (
        [round(a["frac"][0], 3) for a in before] == [0.95, -0.05]
        and abs(before[0]["alpha"] - 0.5) < 1e-6
        and abs(sum(a["alpha"] for a in before) - 1) < 1e-6
    )  # 1.0 lies in the next cell
    assert at(0.9)[0]["alpha"] < 0.1 and at(0.9)[1]["alpha"] > 0.9
    page.evaluate(f"{PLAYER}.session.state.ghosts = true")
    alphas = [[(a["frac"][0], a["alpha"]) for a in at(p)] for p in np.linspace(0, 2, 201)]
    track = lambda shift: np.array(
        [
            next((al for x, al in frame if abs(x - (0.9 + 0.1 * p + shift)) < 1e-3), 0.0)
            for p, frame in zip(np.linspace(0, 2, 201), alphas)
        ]
    )
    for path in (track(0), track(-1)):
        assert np.abs(np.diff(path)).max() < 0.1  # nothing pops up or away


def test_keyboard_reaches_everything(page, tmp_path):
    film = make(F=21)
    show(page, film.to_html(tmp_path / "film.html"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "dpv-stage"
    for key, frame in (
        ("ArrowRight", 1),
        ("ArrowRight", 2),
        ("ArrowLeft", 1),
        ("End", 20),
        ("PageUp", 18),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        settled(page, frame)
    for key, name in (
        ("b", "bonds"),
        ("h", "polyhedra"),
        ("x", "arrows"),
        ("t", "trails"),
        ("o", "target"),
        ("a", "axes"),
        ("g", "ghosts"),
        ("w", "wrapped"),
        ("l", "loop"),
    ):
        before = page.evaluate(f"{PLAYER}.session.state.{name}")
        page.keyboard.press(key)
        assert page.evaluate(f"{PLAYER}.session.state.{name}") is not before, key
    page.keyboard.press("2")
    page.keyboard.press("p")
    page.keyboard.press("c")
    page.keyboard.press("]")
    s = page.evaluate(f"{PLAYER}.session.state")
    assert (s["supercell"], s["projection"], s["palette"], s["picked"]["index"]) == (
        2,
        "perspective",
        "safe",
        0,
    )
    page.keyboard.press("Escape")
    assert page.evaluate(f"{PLAYER}.session.state.picked") == {}
    turn = page.evaluate(f"{PLAYER}.picture.view.turn.toArray()")
    page.keyboard.press("Shift+ArrowLeft")
    assert page.evaluate(f"{PLAYER}.picture.view.turn.toArray()") != turn
    until(page, "document.querySelector('.dpv-live').textContent.startsWith('frame 1 of 21')")
    assert "frame 1 of 21" in page.get_attribute(".dpv-slider", "aria-valuetext") and page.get_attribute(
        ".dpv-canvas", "aria-label"
    ).startswith("SrTiO3, 5 atoms")
    page.focus(".dpv-slider")
    page.keyboard.press("ArrowRight")
    settled(page, 1)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('.dpv button, .dpv input, .dpv select')].filter(e => "
        "!(e.getAttribute('aria-label') || e.textContent.trim())).length"
    )
    assert unnamed == 0


def test_trails_are_those_of_the_film_that_is_shown(page, tmp_path):
    show(page, film_html([make(F=21), make(F=21, seed=1)], tmp_path / "film.html", trails=True))
    trails = (
        f"(() => {{ const v = {PLAYER}; v.picture.update('light'); return "
        f"[...v.picture.trails.arrays.from.slice(0, 30)]; }})()"
    )
    before = page.evaluate(trails)
    page.evaluate(f"{PLAYER}.session.replace([{PLAYER}.session.films[1]])")
    assert np.abs(np.array(page.evaluate(trails)) - before).max() > 0.1  # as many frames, another path


def test_playing_moves_smoothly_and_stops_at_the_end(page, tmp_path):
    show(page, film_html(make(F=9), tmp_path / "film.html", speed=30))
    page.evaluate(f"window.seen = []; void {PLAYER}.session.on(() => seen.push({PLAYER}.session.position))")
    page.click("button[aria-label=Play]")
    until(page, f"!{PLAYER}.session.state.playing && {PLAYER}.session.state.frame === 8")
    settled(page, 8)
    seen = page.evaluate("seen")
    assert seen == sorted(seen) and any(p % 1 for p in seen)
    calls = page.evaluate(
        f"new Promise(done => {{ let n = 0; const v = {PLAYER}, draw = v.picture.draw; "
        f"v.picture.draw = function (...a) {{ n++; return draw.apply(this, a); }}; setTimeout(() => "
        f"{{ v.picture.draw = draw; done(n); }}, 1200); }})"
    )
    assert calls <= 1  # when nothing moves, no drawing but one smoothing
    page.click("button[aria-label=Loop]")
    page.click("button[aria-label=Play]")
    page.wait_for_timeout(900)
    assert state(page)["playing"]
    page.click("button[aria-label=Pause]")
    until(page, f"!{PLAYER}.dirty")
    assert page.evaluate(f"{PLAYER}.session.position % 1") == 0


def test_picking_an_atom_says_where_it_is(page, tmp_path):
    film = make()
    show(page, film.to_html(tmp_path / "film.html"))
    drag(page, 0.5)
    settled(page, 20)
    spot = page.evaluate(
        f"(() => {{ const v = {PLAYER}, p = v.picture, a = [...p.atoms].filter(a => a.alpha > "
        f"0.15).sort((x, y) => y.depth + y.radius - x.depth - x.radius)[0], q = p.project(a.at, "
        f"v.width, v.height), b = v.canvas.getBoundingClientRect(); return [a.atom, b.x + q[0], b.y "
        f"+ q[1]]; }})()"
    )
    page.mouse.click(spot[1], spot[2])
    page.wait_for_selector(".dpv-card:not([hidden])")
    picked, i = page.evaluate(f"{PLAYER}.session.state.picked"), spot[0]
    assert picked["index"] == i and picked["element"] in page.inner_text(".dpv-card")
    off = np.array(picked["frac"]) - film.frac_coords[20, i].numpy()
    assert np.abs(off - off.round()).max() < 2e-4
    far = (film.frac_unwrapped[40, i] - film.frac_unwrapped[20, i]).norm() * film.lengths[0]  # cubic
    assert abs(picked["displacement"] - float(far)) < 2e-3
    page.keyboard.press("ArrowRight")
    settled(page, 21)
    until(
        page, f"Math.abs({PLAYER}.session.state.picked.displacement - {picked['displacement']}) > 1e-3"
    )  # the card follows the atom
    page.evaluate(f"{PLAYER}.session.set({{playing: true, loop: true}})")
    page.click(".dpv-card button")
    page.wait_for_selector(".dpv-card", state="hidden")  # also while it plays
    assert page.evaluate(f"{PLAYER}.session.state.picked") == {} and state(page)["playing"]


def test_turning_and_zooming_with_the_mouse(page, tmp_path):
    show(page, make(F=3).to_html(tmp_path / "film.html"))
    view = f"(() => {{ const v = {PLAYER}.picture.view; return [...v.turn.toArray(), v.zoom]; }})()"
    before, box = page.evaluate(view), page.locator(".dpv-stage").bounding_box()
    pixels = lambda: page.evaluate(f"{PLAYER}.canvas.toDataURL()")
    x, y = box["x"] + 60, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(200)
    assert page.evaluate(view) == before  # untouched, it lets the page scroll
    old = pixels()
    page.mouse.down()
    page.mouse.move(x + 150, y + 40, steps=4)
    page.mouse.up()
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(300)
    until(page, f"!{PLAYER}.dirty")
    after = page.evaluate(view)
    assert np.abs(np.array(after[:4]) - before[:4]).max() > 0.1 and after[4] > 1.3 and pixels() != old
    page.click("button[aria-label='Reset the view']")
    until(page, f"!{PLAYER}.dirty")
    assert np.allclose(page.evaluate(view), before)


def test_curves_jump_on_a_click(page, tmp_path):
    film = make(F=41)
    show(page, film.to_html(tmp_path / "film.html"))
    assert page.locator(".dpv-plotlegend span").all_inner_texts() == [
        "ᾱ signal left",
        "noise level",
        "distance to target (Å)",
    ]
    box = page.locator(".dpv-plot").bounding_box()
    page.mouse.click(box["x"] + 40 + 0.25 * (box["width"] - 84), box["y"] + 60)
    settled(page, 10)
    assert abs(float(page.get_attribute(".dpv-marker", "x1")) - (40 + 0.25 * (box["width"] - 84))) < 1
    y = page.evaluate("[...document.querySelectorAll('.dpv-dot')].map(d => +d.getAttribute('cy'))")
    scale = lambda v, top: 8 + 100 * (1 - v / (1.04 * top))
    d = film.distance_to_target()
    assert np.allclose(
        y,
        [
            scale(float(film.alpha_bar[10]), 1),
            scale(float(film.noise[10]), 1),
            scale(float(d[10] / d.max()), 1),
        ],
        atol=0.2,
    )


def test_several_crystals_legend_and_supercell(page, tmp_path):
    films = [make(F=21), make("NaCl", F=11), make("Si", F=1)]
    show(page, film_html(films, tmp_path / "films.html"))
    drag(page, 0.8)
    settled(page, 16)
    page.click("[aria-label='next crystal']")
    until(page, f"{PLAYER}.session.drawn.crystal === 1")
    agrees(page, films[1], 10)
    assert page.inner_text("h1") == "NaCl" and page.locator(".dpv-legend button").all_inner_texts() == [
        "Cl",
        "Na",
    ]
    page.click("[data-toggle=ghosts]")
    page.keyboard.press("2")
    until(page, f"{PLAYER}.session.drawn.atoms === 8 * {films[1].num_atoms}")
    page.click(".dpv-legend button >> text=Cl")
    until(page, f"{PLAYER}.session.drawn.atoms === 4 * {films[1].num_atoms}")
    assert {a["z"] for a in atoms(page)} == {11}
    page.click("[aria-label='next crystal']")
    until(page, f"{PLAYER}.session.drawn.crystal === 2 && {PLAYER}.session.drawn.frame === 0")
    assert page.is_disabled(".dpv-slider")


def flat():
    c = toy("Cu")
    return c.replace(lengths=torch.tensor([[4.0, 4.0, 0.8]]), angles=torch.tensor([[90.0, 90.0, 90.0]]))


def holes():
    film = make(target=False)
    x = film.frac_unwrapped.clone()
    x[3, 1] = math.nan
    x[0] = math.nan
    z = film.atomic_numbers.clone()
    z[:5, 0] = 0
    return replace(
        film,
        frac_unwrapped=x,
        atomic_numbers=z,
        noise=film.noise * math.nan,
        alpha_bar=film.alpha_bar * math.nan,
    )


EDGES = dict(
    one_frame=lambda: make(F=1),
    one_atom=lambda: make("Cu", F=5),
    one_of_each=lambda: make("Cu", F=1),
    flat=lambda: make(flat(), F=7),
    skew=lambda: make(toy("Si").replace(angles=torch.tensor([[50.0, 50.0, 50.0]])), F=4),
    holes=holes,
    far=lambda: make(sigma=400.0),
    sixty_four=lambda: wandering(64, 60),
)


CHANGE_EVERYTHING = """session => {
  const switches = ['wrapped', 'ghosts', 'bonds', 'arrows', 'trails', 'target', 'axes', 'loop', 'playing'];
  for (let i = 0; i < 10; i++) {
    for (const k of [...switches, 'curves']) session.toggle(k);
    session.set({
      frame: 7 * i,
      supercell: 1 + i % 3,
      projection: i % 2 ? 'perspective' : 'orthographic',
      theme: ['auto', 'light', 'dark'][i % 3],
      palette: i % 2 ? 'safe' : 'jmol',
      height: 300 + 20 * i,
      picked: { index: i },
      speed: i,
    });
  }
}"""


@pytest.mark.parametrize("kind", EDGES)
def test_edge_films_and_ten_quick_changes_of_everything(page, tmp_path, kind):
    film = EDGES[kind]()
    page.goto(film.to_html(tmp_path / "film.html").as_uri())
    until(page, f"{PLAYER}?.session.drawn.frame === 0")
    page.evaluate(f"({CHANGE_EVERYTHING})({PLAYER}.session)")
    page.set_viewport_size(dict(width=500, height=700))
    page.wait_for_timeout(150)
    page.set_viewport_size(dict(width=1000, height=900))
    page.evaluate(f"{PLAYER}.root.style.display = 'none'")
    page.wait_for_timeout(100)
    page.evaluate(f"{PLAYER}.session.step(1); {PLAYER}.root.style.display = ''")
    page.evaluate(
        f"{PLAYER}.session.set({{playing: false, frame: {len(film) - 1}, wrapped: true, supercell: "
        f"1, ghosts: false, bonds: true, arrows: true, trails: true, target: true}})"
    )
    settled(page, len(film) - 1)
    agrees(page, film, len(film) - 1)
    assert colours(page)[0] > 10


@pytest.mark.parametrize("width", [240, 290, 340, 399, 460, 620, 781, 1100])
def test_nothing_overlaps_however_narrow(page, tmp_path, width):
    film = make(F=1001)
    page.set_viewport_size(dict(width=width + 16, height=900))
    show(page, film_html([film, make("NaCl", F=3)], tmp_path / "film.html", max_frames=1001, height=300))
    page.add_style_tag(content="main { margin: 0 8px !important; padding: 0 !important }")
    page.keyboard.press("s")
    page.click("button[aria-label=Keys]")
    page.keyboard.press("]")
    for part in (0.3, 0.7):
        drag(page, part)
        frame = state(page)["slider"]
        settled(page, frame)
        assert (
            abs(frame - 1000 * part) < 6
            and abs(page.locator(".dpv").bounding_box()["width"] - width) < 1.5
            and crowded(page) == []
        )  # a pixel is some frames wide
    agrees(page, film, frame)
    assert page.locator(".dpv-slider").bounding_box()["width"] > 200


def test_crystal_and_slider_fit_on_one_screen_at_150_percent(page, tmp_path):
    "A window of 1280 x 900 at 150 % is 853 x 600 to the page."
    page.set_viewport_size(dict(width=853, height=600))
    film = make()
    show(page, film.to_html(tmp_path / "film.html"))
    stage, slider = (page.locator(f".dpv {s}").bounding_box() for s in (".dpv-stage", ".dpv-slider"))
    assert stage["y"] >= 0 and slider["y"] + slider["height"] <= 600 and stage["height"] >= 220
    drag(page, 0.5)
    settled(page, 20)
    agrees(page, film, 20)


def test_without_webgl_it_says_so_and_time_still_works(page, tmp_path):
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext "
        "= function (kind, ...a) { return kind.startsWith('webgl') ? null : get.call(this, kind, "
        "...a); };"
    )
    film = make(F=5)
    page.goto(film.to_html(tmp_path / "film.html").as_uri())
    page.wait_for_selector(".dpv-message:not([hidden])")
    assert "WebGL" in page.inner_text(".dpv-message")
    drag(page, 1.0)
    until(page, f"{PLAYER}.controls.count.textContent === '5 / 5'")


def test_a_lost_device_is_told_and_comes_back(page, tmp_path):
    page.add_init_script(
        "const get = HTMLCanvasElement.prototype.getContext; window.devices = []; "
        "HTMLCanvasElement.prototype.getContext = function (kind, ...a) { const c = get.call(this, "
        "kind, ...a); if (kind === 'webgl2') devices.push(c); return c; };"
    )
    film = make(F=5)
    show(page, film.to_html(tmp_path / "film.html"))
    page.evaluate("window.gone = devices.at(-1).getExtension('WEBGL_lose_context'); gone.loseContext()")
    page.wait_for_selector(".dpv-message:not([hidden])")
    assert "lost" in page.inner_text(".dpv-message")
    drag(page, 1.0)
    page.evaluate("gone.restoreContext()")
    page.wait_for_selector(".dpv-message", state="hidden")
    settled(page, 4)
    agrees(page, film, 4)
    assert colours(page)[0] > 40


def test_a_view_that_ends_leaves_nothing_behind(page, tmp_path):
    show(page, make(F=5).to_html(tmp_path / "film.html"))
    left = page.evaluate(
        f"(() => {{ const v = {PLAYER}, s = v.session; s.set({{playing: true}}); v.dispose(); return "
        f"[document.querySelectorAll('.dpv').length, s.views.size, s.listeners.size, s.timer, "
        f"v.frameRequest]; }})()"
    )
    assert left[:3] == [0, 0, 1] and left[3] == 0  # the page itself listens for its title
    page.wait_for_timeout(300)


def test_dark_and_light_follow_the_reader(page, tmp_path):
    path = make(F=3).to_html(tmp_path / "film.html")
    page.emulate_media(color_scheme="dark")
    show(page, path)
    assert (
        page.get_attribute(".dpv", "data-theme") == "dark"
        and page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(15, 18, 22)"
    )
    page.emulate_media(color_scheme="light")
    page.wait_for_selector(".dpv[data-theme=light]")
    page.evaluate(f"{PLAYER}.session.set({{theme: 'dark'}})")
    page.wait_for_selector(".dpv[data-theme=dark]")


def test_a_picture_is_a_png_of_what_is_seen(page, tmp_path):
    show(page, make(F=3).to_html(tmp_path / "film.html"))
    with page.expect_download() as download:
        page.click("button[aria-label='Save a picture']")
    png = open(download.value.path(), "rb").read()
    assert (
        png[:8] == b"\x89PNG\r\n\x1a\n"
        and len(png) > 8000
        and download.value.suggested_filename == "SrTiO3_0.png"
    )


def test_the_frame_on_screen_is_saved_as_cif(page, tmp_path):
    film = make(F=5)
    show(page, film.to_html(tmp_path / "film.html"))
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    settled(page, 1)
    with page.expect_download() as download:
        page.click("button[aria-label='Save this frame as CIF']")
    assert download.value.suggested_filename == "SrTiO3_1.cif"
    text = open(download.value.path(), encoding="utf-8").read()
    found, wanted = Structure.from_str(text, fmt="cif"), film.structure(1)
    assert np.allclose(found.lattice.parameters, wanted.lattice.parameters, atol=1e-4)
    apart = wanted.lattice.get_all_distances(found.frac_coords, wanted.frac_coords)
    assert [s.symbol for s in found.species] == [s.symbol for s in wanted.species]
    assert np.diag(apart).max() < 1e-3  # Å


def test_latency_of_24_atoms_and_a_thousand_frames(page, tmp_path):
    ms = slider_latency(
        page, film_html(wandering(24, 1000), tmp_path / "film.html", max_frames=1000, height=420), 40
    )
    print(
        f"\nfrom slider to pixels, 24 atoms, 1,000 frames, software GL: best {ms[0]:.0f} ms, median "
        f"{ms[len(ms) // 2]:.0f} ms, 90 % {ms[int(0.9 * len(ms))]:.0f} ms"
    )
    assert (
        ms[len(ms) // 4] < 200
    )  # the goal is 50 ms (results/player.json); a machine that is busy with other work needs longer


# ---- JupyterLab

CELLS = [
    """import json, sys
from pathlib import Path
import torch
from dpcdvae.crystal.batch import toy
from dpcdvae.diffusion.trajectory import Trajectory
from dpcdvae.viz.player import FilmPlayer
c, F = toy("SrTiO3"), 41
s = torch.linspace(.9, 0, F)
eps = torch.randn(c.frac_coords.shape, generator=torch.Generator().manual_seed(0))
film = Trajectory(
    t=torch.arange(F - 1, -1, -1), noise=s, alpha_bar=1 - torch.linspace(1, 0, F)**2,
    frac_unwrapped=c.frac_coords + s[:,None,None] * eps, atomic_numbers=c.atomic_numbers.expand(F, -1),
    x0=c.frac_coords.expand(F, -1, -1), lengths=c.lengths[0], angles=c.angles[0], target=c)
player = film.scrub()
def tell(_=None):
    state = {k: getattr(player, k) for k in ("frame", "drawn", "playing", "wrapped", "picked")}
    state |= dict(png=len(player.png), num=player.num_frames)
    Path("state.json.tmp").write_text(json.dumps(state))
    Path("state.json.tmp").rename("state.json")
player.observe(tell)
player""",
    "player.frame = 7; player.bonds = True; player.snapshot('shot.png')",
    "for i in range(3): player.append(film.frac_coords[-1] + .05 * i, t=-i)",
    "player.show(toy('NaCl'))",
]


def test_player_in_jupyterlab(lab, lab_page):
    page, film = lab_page, make()
    lab.open(page, "player.ipynb", CELLS)
    lab.run(page, 0)
    page.wait_for_selector(".dpv", timeout=120000)
    settled(page, 0, 60000)
    page.locator(".dpv-slider").scroll_into_view_if_needed()
    for part, frame in ((0.5, 20), (0.9, 36)):
        drag(page, part)
        settled(page, frame)
        agrees(page, film, frame)
        held = kernel(lab.folder, lambda s: s["frame"] == frame and s["drawn"].get("frame") == frame)
        assert held["drawn"]["atoms"] == len(atoms(page)) and not held["playing"]
    assert colours(page)[0] > 40
    page.click("[data-toggle=wrapped]")
    kernel(lab.folder, lambda s: not s["wrapped"])
    until(page, f"!{PLAYER}.dirty")
    agrees(page, film, 36, wrapped=False)
    page.click("[data-toggle=wrapped]")
    kernel(lab.folder, lambda s: s["wrapped"])
    page.locator(".dpv-stage").click(position=dict(x=5, y=200))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("]")  # keys go to the player, not to the notebook
    kernel(lab.folder, lambda s: s["frame"] == 37 and s["picked"].get("index") == 0)
    for key in "mydz":  # JupyterLab would turn the cell into markdown, change or delete it
        page.keyboard.press(key)
    kinds = "window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.type)"
    assert page.evaluate(kinds) == ["code"] * len(CELLS)
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    until(page, f"{PLAYER}.session.state.frame === 40 && !{PLAYER}.session.state.playing", timeout=60000)
    kernel(lab.folder, lambda s: s["frame"] == 40 and not s["playing"])
    assert (
        len(page.evaluate("window.jupyterapp.shell.currentWidget.content.widgets.map(c => 0)")) == len(CELLS)
        and lab.errors(page) == []
    )
    lab.run(page, 1)
    settled(page, 7)
    agrees(page, film, 7)
    assert page.evaluate(f"{PLAYER}.session.state.bonds")  # the kernel moves it
    kernel(lab.folder, lambda s: s["png"] > 5000)
    assert (lab.folder / "work/shot.png").read_bytes()[:4] == b"\x89PNG"
    lab.run(page, 2)
    settled(page, 43)
    assert state(page)["count"] == "44 / 44"  # frames that arrive one by one
    kernel(lab.folder, lambda s: s["num"] == 44 and s["drawn"].get("frame") == 43)
    page.evaluate("window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})")
    page.wait_for_selector(".dpv[data-theme=dark]")
    assert lab.errors(page) == [] and page.wrong == []
    lab.close_kernels()
    page.wait_for_timeout(1500)
    drag(page, 0.25)
    settled(page, 11)  # no kernel, and the film still plays
    page.locator(".dpv-stage").click(position=dict(x=5, y=200))
    page.keyboard.press("ArrowRight")
    settled(page, 12)
    assert [w for w in page.wrong if w.startswith("error")] == []


def test_a_late_view_of_a_film_that_grew_has_all_frames(lab, lab_page):
    page = lab_page
    lab.open(
        page,
        "late.ipynb",
        [CELLS[0].replace('\nplayer"""', "").removesuffix("\nplayer"), CELLS[2], "player", CELLS[3]],
    )
    lab.run(page, 0)
    lab.run(page, 1)
    lab.run(page, 2)
    page.wait_for_selector(".dpv", timeout=120000)
    settled(page, 43, 60000)
    assert state(page)["count"] == "44 / 44"
    lab.run(page, 3)
    until(page, f"{PLAYER}.session.film.formula === 'NaCl'")
    settled(page, 0)
    assert lab.errors(page) == [] and page.wrong == []


def test_a_player_that_began_late_still_hears_the_kernel(lab, lab_page):
    "A busy page takes longer than anywidget waits; such a widget would be deaf."
    page = lab_page
    page.add_init_script(
        "const late = AbortSignal.timeout; AbortSignal.timeout = (ms) => late.call(AbortSignal, ms "
        "=== 2000 ? 0 : ms);"
    )
    lab.open(page, "slow.ipynb", [CELLS[0], "player.frame = 7"])
    lab.run(page, 0)
    page.wait_for_selector(".dpv", timeout=120000)
    settled(page, 0, 60000)
    lab.run(page, 1)
    settled(page, 7)
    drag(page, 0.5)
    settled(page, 20)
    kernel(lab.folder, lambda s: s["frame"] == 20)
    assert lab.errors(page) == [] and page.wrong and set(page.wrong) == {LATE}  # anywidget did give up on it


# ---- Voila


def test_a_page_that_takes_long_is_shown_to_its_end(voila):
    """While cells run, Voila hears no answer to its pings; by default it hangs up after three of them, or
    after 30 s where they come more often than every 10 s."""
    settings = json.loads((ROOT / "share/jupyter/config/voila.json").read_text())["Voila"]["tornado_settings"]
    often = f"--Voila.tornado_settings={settings | dict(ws_ping_interval=1000)}"
    cells = ["import time\n\ntime.sleep(45)\nprint('slept')", "print('the end of the page')"]
    page, _ = voila(notebook(cells), more=[often])
    until(page, "document.body.innerText.includes('the end of the page')", 150000)


def test_player_in_voila(voila):
    (page, folder), film = voila(notebook(CELLS[:1])), make()
    page.wait_for_selector(".dpv")
    settled(page, 0, 60000)
    for part, frame in ((0.5, 20), (0.9, 36)):
        drag(page, part)
        settled(page, frame)
        agrees(page, film, frame)
        kernel(folder, lambda s: s["frame"] == frame and s["drawn"].get("frame") == frame)
    page.click("[data-toggle=wrapped]")
    kernel(folder, lambda s: not s["wrapped"])
    until(page, f"!{PLAYER}.dirty")
    agrees(page, film, 36, wrapped=False)
    kinds, share = painted(pixels(page, ".dpv-stage"))
    assert kinds > 25 and 0.01 < share < 0.95
    assert page.locator(".dpv-icon svg").count() >= 8  # the player's icons are its own
    assert [w for w in page.wrong if w != LATE] == []
