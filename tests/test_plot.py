"Figures and pages hold the film's own numbers."

import base64
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from modules import Modules

plot = Modules("dpcdvae.viz.atoms", "dpcdvae.viz.animation", "dpcdvae.viz.page", "dpcdvae.viz.curves")
from dpcdvae.crystal.batch import toy
from dpcdvae.diffusion.trajectory import Trajectory


def make(name="SrTiO3", F=21, sigma=0.3, drift=0.2, target=True, seed=0, **meta):
    "The closed-form film of a toy crystal, drifted as a whole."
    c = toy(name)
    s = torch.linspace(sigma, 0, F)
    eps = torch.randn(c.frac_coords.shape, generator=torch.Generator().manual_seed(seed))
    return Trajectory(
        t=torch.arange(F - 1, -1, -1),
        noise=s,
        alpha_bar=torch.full((F,), math.nan),
        frac_unwrapped=c.frac_coords + drift + s[:, None, None] * eps,
        atomic_numbers=c.atomic_numbers.expand(F, -1),
        x0=(c.frac_coords + drift).expand(F, -1, -1),
        lengths=c.lengths[0],
        angles=c.angles[0],
        meta=dict(sampler="ddim", steps=F - 1) | meta,
        target=c if target else None,
    )


def page_data(path):
    "The header and the arrays inside a page."
    header, data = (
        re.search(rf'id="film-{k}">(.*?)</script>', path.read_text())[1] for k in ("header", "data")
    )
    return json.loads(header), plot.unpack(json.loads(header), base64.b64decode(data))[0]


@pytest.mark.parametrize("name", ["Cu", "NaCl", "CsCl", "Si", "SrTiO3"])
def test_cell_draws_every_atom_at_its_place(name):
    c = toy(name)
    fig = plot.cell(c, ghosts=False)
    meshes = [t for t in fig.data if t.type == "mesh3d"]
    V = len(plot.icosphere()[0])
    centres = np.concatenate([np.stack([t.x, t.y, t.z], 1).reshape(-1, V, 3).mean(1) for t in meshes])
    cart = (c.frac_coords.double() @ c.lattice[0].double()).numpy()
    assert len(centres) == len(cart) and np.abs(np.sort(centres, 0) - np.sort(cart, 0)).max() < 2e-3
    assert sum(t.showlegend is None for t in fig.data) == len(set(c.atomic_numbers.tolist()))


def test_edges_of_a_skew_cell():
    L = toy("Si").lattice[0].double().numpy()
    e = plot.cell_edges(L)
    assert e.shape == (36, 3) and np.isnan(e[2::3]).all()
    assert {tuple(x) for x in np.concatenate([e[0::3], e[1::3]]).round(6)} == {
        tuple((np.array(k) @ L).round(6) + 0.0) for k in product((0, 1), repeat=3)
    }
    assert len({frozenset((tuple(a), tuple(b))) for a, b in zip(e[0::3].round(6), e[1::3].round(6))}) == 12


def test_images_against_brute_force():
    g = np.random.default_rng(0)
    frac = np.concatenate([g.random((200, 3)), g.choice([0.0, 0.02, 0.5, 0.97], (100, 3))])
    which, where = plot.images(frac, near=0.05)
    brute = {
        (i, tuple(np.round(x + s, 9)))
        for i, x in enumerate(frac)
        for s in map(np.array, product((-1, 0, 1), repeat=3))
        if s.any() and ((x + s > -0.05) & (x + s < 1.05)).all()
    }
    assert {(i, tuple(x.round(9))) for i, x in zip(which.tolist(), where)} == brute


def test_page_holds_the_films_numbers(tmp_path):
    film = make(F=50, id="mp-1")
    path = film.to_html(tmp_path / "a.html", max_frames=11, bonds=True)
    (header, d), thin = page_data(path), film.thin(11)
    assert (
        np.abs(d["frac"] - thin.frac_unwrapped.numpy()).max() < 1e-5
        and d["t"].tolist() == thin.t.tolist()
        and d["numbers"].tolist() == [[38, 22, 8, 8, 8]]
    )
    assert (
        np.abs(d["distance"] - thin.distance_to_target().numpy()).max() < 1e-4
        and np.abs(d["noise"] - thin.noise.numpy()).max() < 1e-4
        and "alpha_bar" not in d
    )
    assert (
        header["films"][0]["formula"] == "SrTiO3"
        and ["id", "mp-1"] in header["films"][0]["facts"]
        and header["state"]["bonds"] is True
        and "mp-1" in path.read_text()
    )
    assert os.listdir(tmp_path) == ["a.html"] and path.stat().st_size < 0.8e6


def test_page_of_300_frames_is_small(tmp_path):
    "24 atoms that never leave each other alone, 300 frames and more: under 1.5 MB."
    n, g = 24, torch.Generator().manual_seed(0)
    path = torch.rand((1000, n, 3), generator=g) * 3
    film = Trajectory(
        t=torch.arange(999, -1, -1),
        noise=torch.rand(1000),
        alpha_bar=torch.rand(1000),
        frac_unwrapped=path,
        atomic_numbers=torch.randint(1, 90, (1000, n)),
        x0=path,
        lengths=torch.full((3,), 9.0),
        angles=torch.full((3,), 90.0),
    )
    page = film.to_html(tmp_path / "a.html")
    assert page_data(page)[0]["films"][0]["frames"] == 300 and page.stat().st_size < 1.5e6


def test_page_of_a_film_with_holes_and_changing_types(tmp_path):
    film = make(target=False)
    x = film.frac_unwrapped.clone()
    x[3, 1] = math.nan
    z = film.atomic_numbers.clone()
    z[:5, 0] = 0
    header, d = page_data(replace(film, frac_unwrapped=x, atomic_numbers=z).to_html(tmp_path / "a.html"))
    assert (
        np.isnan(d["frac"][3][1]).all()
        and np.isfinite(np.delete(d["frac"].reshape(-1, 3), 3 * 5 + 1, 0)).all()
    )
    assert (
        d["numbers"][0][0] == 0
        and d["numbers"][20][0] == 38
        and {e["symbol"] for e in header["films"][0]["elements"]} == {"Sr", "Ti", "O", "?"}
    )
    assert "NaN" not in json.dumps(header) and d["target"].shape == (0, 3) and "distance" not in d


@pytest.mark.parametrize("F", [1, 2, 3])
@pytest.mark.parametrize("name", ["Cu", "SrTiO3"])
def test_short_films(tmp_path, name, F):
    film = make(name, F=F)
    assert (
        len(plot.film_figure(film).frames) == F
        and len(page_data(film.to_html(tmp_path / "a.html"))[1]["t"]) == F
    )
    plot.film_strip(film)


def test_words_of_a_film_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script>@PLAYER@<img src=x onerror=alert(2)>"
    film = make(id=evil, model=evil)
    text = film.to_html(tmp_path / "a.html").read_text()
    assert "<script>alert" not in text and "<img src=x" not in text and text.count("function make(){") == 1
    assert (
        "<script>" not in plot.film_figure(film).layout.title.text
        and "<img" not in plot.film_figure(film).layout.title.text
    )


def test_json_in_a_script_cannot_end_it():
    assert "</script" not in plot.script_json({"a": "</script>"}) and json.loads(
        plot.script_json({"a": "</script>\u2028"})
    ) == {"a": "</script>\u2028"}
    with pytest.raises(ValueError):
        plot.script_json([math.nan])


@pytest.mark.parametrize("drift", [0.0, 0.2, 0.5, -3.7])
def test_target_stands_where_the_film_ends(drift):
    film = make(drift=drift)
    d = torch.tensor(plot.aligned_target(film)[0]) - film.frac_unwrapped[-1].double()
    assert (d - d.round()).abs().max() < 1e-5


def test_figure_frames_follow_the_film():
    film = make(F=9, drift=0.0)
    fig, L = plot.film_figure(film), film.crystal().lattice[0].double().numpy()
    for i in range(9):
        data = dict(zip(fig.frames[i].traces, fig.frames[i].data))
        oxygen = [d for k, d in data.items() if fig.data[k].name == "O"]  # wrapped, ghosts, path, x0
        for d, frac in zip(
            (oxygen[0], oxygen[2], oxygen[3]), (film.frac_coords, film.frac_unwrapped, film.x0)
        ):
            want = frac[i, 2:].double().numpy() @ L
            got = np.stack([d.x, d.y, d.z], 1)
            assert np.abs(got - want).max() < 5e-3
    assert [s.args[0] for s in fig.layout.sliders[0].steps] == [(str(i),) for i in range(9)] or [
        list(s.args[0]) for s in fig.layout.sliders[0].steps
    ] == [[str(i)] for i in range(9)]
    assert all(s.args[1]["mode"] == "immediate" for s in fig.layout.sliders[0].steps)


def test_losses_and_metrics_say_what_is_wrong(tmp_path):
    (tmp_path / "metrics.csv").write_text("")
    with pytest.raises(ValueError, match="metrics.csv"):
        plot.losses(tmp_path)
    with pytest.raises(ValueError, match="no number"):
        plot.metrics({"a": "b"})
    assert plot.losses({"loss": [1.0, math.nan, 3.0]}).data[0].y[1] is None


def test_import_is_light():
    heavy = ("pymatgen", "ase", "plotly", "pandas", "lightning")
    code = f"import sys, dpcdvae.viz.atoms; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


# ---- the real browser (the film's page has tests/test_browser.py)


def test_plotly_figure_animates_in_a_browser(page, tmp_path):
    film = make(F=8)
    plot.film_figure(film).write_html(tmp_path / "fig.html", auto_play=False)
    page.goto((tmp_path / "fig.html").as_uri())
    page.wait_for_selector(".js-plotly-plot .slider-container", timeout=60000)
    page.evaluate(
        "Plotly.animate(document.querySelector('.js-plotly-plot'), ['5'], {mode:'immediate', "
        "frame:{duration:0, redraw:true}, transition:{duration:0}})"
    )
    dot = page.evaluate(
        "(() => { const d = document.querySelector('.js-plotly-plot').data; return "
        "[d[d.length-1].x[0], d[d.length-1].y[0]]; })()"
    )
    assert dot[0] == 5 and abs(dot[1] - float(film.noise[5])) < 1e-4
    page.click("text=unwrapped")
    page.wait_for_timeout(500)
    seen = page.evaluate("document.querySelector('.js-plotly-plot').data.slice(-13,-1).map(t => t.visible)")
    assert seen == [False] * 6 + [True] * 3 + [False] * 3
