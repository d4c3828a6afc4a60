"Figures hold the film's own numbers, and the page plays in a real browser without a network."
import json, math, os, re, shutil, subprocess, sys
from dataclasses import replace
from itertools import product
import numpy as np, pytest, torch
from dpcdvae import plot
from dpcdvae.crystal import CrystalBatch, toy
from dpcdvae.film import Film

def make(name="SrTiO3", F=21, sigma=0.3, drift=0.2, target=True, seed=0, **meta):
    "The closed-form film of a toy crystal, drifted as a whole."
    c = toy(name)
    s = torch.linspace(sigma, 0, F)
    eps = torch.randn(c.frac_coords.shape, generator=torch.Generator().manual_seed(seed))
    return Film(t=torch.arange(F - 1, -1, -1), noise=s, alpha_bar=torch.full((F,), math.nan), frac_unwrapped=c.frac_coords + drift + s[:,None,None] * eps, atomic_numbers=c.atomic_numbers.expand(F, -1),
                x0=(c.frac_coords + drift).expand(F, -1, -1), lengths=c.lengths[0], angles=c.angles[0], meta=dict(sampler="ddim", steps=F - 1) | meta, target=c if target else None)

def page_data(path):
    "The numbers inside a page."
    return json.loads(re.search(r"const D=(.*?);</script>", path.read_text())[1])

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
    assert {tuple(x) for x in np.concatenate([e[0::3], e[1::3]]).round(6)} == {tuple((np.array(k) @ L).round(6) + 0.) for k in product((0, 1), repeat=3)}
    assert len({frozenset((tuple(a), tuple(b))) for a, b in zip(e[0::3].round(6), e[1::3].round(6))}) == 12

def test_images_against_brute_force():
    g = np.random.default_rng(0)
    frac = np.concatenate([g.random((200, 3)), g.choice([0., 0.02, 0.5, 0.97], (100, 3))])
    which, where = plot.images(frac, near=0.05)
    brute = {(i, tuple(np.round(x + s, 9))) for i, x in enumerate(frac) for s in map(np.array, product((-1, 0, 1), repeat=3)) if s.any() and ((x + s > -0.05) & (x + s < 1.05)).all()}
    assert {(i, tuple(x.round(9))) for i, x in zip(which.tolist(), where)} == brute

def test_page_holds_the_films_numbers(tmp_path):
    film = make(F=50, id="mp-1")
    path = film.to_html(tmp_path/"a.html", max_frames=11)
    d, thin = page_data(path), film.thin(11)
    assert np.abs(np.array(d["path"]) - thin.frac_unwrapped.numpy()).max() < 1e-4 and d["t"] == thin.t.tolist() and d["numbers"] == [[38, 22, 8, 8, 8]]
    assert np.abs(np.array(d["distance"]) - thin.distance_to_target().numpy()).max() < 1e-4
    assert "SrTiO<sub>3</sub>" in path.read_text() and "mp-1" in path.read_text() and [c["name"] for c in d["curves"]] == ["noise level", "distance to target (Å)"]
    assert os.listdir(tmp_path) == ["a.html"] and 3e6 < path.stat().st_size < 7e6

def test_page_of_a_film_with_holes_and_changing_types(tmp_path):
    film = make(target=False)
    x = film.frac_unwrapped.clone(); x[3,1] = math.nan; z = film.atomic_numbers.clone(); z[:5,0] = 0
    d = page_data(replace(film, frac_unwrapped=x, atomic_numbers=z).to_html(tmp_path/"a.html"))
    assert d["path"][3][1] == [None] * 3 and d["numbers"][0][0] == 0 and d["numbers"][20][0] == 38 and {e["symbol"] for e in d["elements"]} == {"Sr", "Ti", "O", "?"}
    assert "NaN" not in json.dumps(d)

@pytest.mark.parametrize("F", [1, 2, 3])
@pytest.mark.parametrize("name", ["Cu", "SrTiO3"])
def test_short_films(tmp_path, name, F):
    film = make(name, F=F)
    assert len(plot.film_figure(film).frames) == F and len(page_data(film.to_html(tmp_path/"a.html"))["t"]) == F
    plot.film_strip(film)

def test_words_of_a_film_cannot_leave_their_place(tmp_path):
    evil = "</script><script>alert(1)</script>@PLOTLY@<img src=x onerror=alert(2)>"
    film = make(id=evil, model=evil)
    text = film.to_html(tmp_path/"a.html").read_text()
    assert "<script>alert" not in text and "<img src=x" not in text and len(text) < 7e6
    assert "<script>" not in plot.film_figure(film).layout.title.text and "<img" not in plot.film_figure(film).layout.title.text

def test_json_in_a_script_cannot_end_it():
    assert "</script" not in plot.script_json({"a": "</script>"}) and json.loads(plot.script_json({"a": "</script>\u2028"})) == {"a": "</script>\u2028"}
    with pytest.raises(ValueError): plot.script_json([math.nan])

@pytest.mark.parametrize("drift", [0., 0.2, 0.5, -3.7])
def test_target_stands_where_the_film_ends(drift):
    film = make(drift=drift)
    d = torch.tensor(plot.aligned_target(film)[0]) - film.frac_unwrapped[-1].double()
    assert (d - d.round()).abs().max() < 1e-5

def test_figure_frames_follow_the_film():
    film = make(F=9, drift=0.)
    fig, L = plot.film_figure(film), film.crystal().lattice[0].double().numpy()
    for i in range(9):
        data = dict(zip(fig.frames[i].traces, fig.frames[i].data))
        oxygen = [d for k, d in data.items() if fig.data[k].name == "O"]      # wrapped, ghosts, path, x0
        for d, frac in zip((oxygen[0], oxygen[2], oxygen[3]), (film.frac_coords, film.frac_unwrapped, film.x0)):
            want = frac[i,2:].double().numpy() @ L
            got = np.stack([d.x, d.y, d.z], 1)
            assert np.abs(got - want).max() < 5e-3
    assert [s.args[0] for s in fig.layout.sliders[0].steps] == [(str(i),) for i in range(9)] or [list(s.args[0]) for s in fig.layout.sliders[0].steps] == [[str(i)] for i in range(9)]
    assert all(s.args[1]["mode"] == "immediate" for s in fig.layout.sliders[0].steps)

def test_losses_and_metrics_say_what_is_wrong(tmp_path):
    (tmp_path/"metrics.csv").write_text("")
    with pytest.raises(ValueError, match="metrics.csv"): plot.losses(tmp_path)
    with pytest.raises(ValueError, match="no number"): plot.metrics({"a": "b"})
    assert plot.losses({"loss": [1., math.nan, 3.]}).data[0].y[1] is None

def test_import_is_light():
    heavy = ("pymatgen", "ase", "plotly", "pandas", "lightning")
    code = f"import sys, dpcdvae.plot; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

# ---- the real browser

FLAGS = ("--headless --no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run --disable-background-networking "
         "--disable-component-update --disable-sync").split()

@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found: pytest.skip("no chromium on this machine: apt-get install chromium")
    with api.sync_playwright() as p:
        b = p.chromium.launch(executable_path=found, args=FLAGS)
        yield b
        b.close()

@pytest.fixture
def page(browser):
    "A page in a context without a network; it must end without an error and without a request but for its own file."
    context = browser.new_context(offline=True, viewport=dict(width=1100, height=900))
    page = context.new_page(); page.wrong = []
    page.on("pageerror", lambda e: page.wrong.append(f"error {e}"))
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else page.wrong.append(f"asks for {r.url}"))
    yield page
    context.close()
    assert page.wrong == []

CENTRES = """() => Object.fromEntries(D.elements.map((e, q) => { const t = gl.data[first+2*q], V = D.sphere.points.length, out = [];
  for(let n=0; n<t.x.length/V; n++) out.push(['x','y','z'].map(k => Array.from(t[k]).slice(n*V,(n+1)*V).reduce((a,b) => a+b, 0)/V)); return [e.symbol, out]; }))"""

def show(page, path):
    page.goto(path.as_uri()); page.wait_for_selector("body[data-ready='1']", timeout=60000)

def at(page, n):
    page.wait_for_selector(f"body[data-frame='{n}']", timeout=20000)

def agrees(page, film, n, frac):
    "The spheres in the browser stand where the film says."
    L, z = film.crystal().lattice[0].double(), film.atomic_numbers[n]
    got = page.evaluate(CENTRES)
    for symbol, number in dict(Sr=38, Ti=22, O=8).items():
        want = (frac[n][z == number].double() @ L).numpy()
        assert np.abs(np.array(got[symbol]) - want).max() < 5e-3, (symbol, n)

def test_page_plays_in_a_browser(page, tmp_path):
    film = make(F=21)
    show(page, film.to_html(tmp_path/"film.html"))
    assert page.inner_text("h1") == "SrTiO3" and page.locator("#legend button").all_inner_texts() == ["Sr", "Ti", "O", "target"]
    agrees(page, film, 0, film.frac_coords)
    box = page.locator("#slider").bounding_box()      # a real drag to the middle
    page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2); page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5); page.mouse.up(); at(page, 10)
    agrees(page, film, 10, film.frac_coords)
    assert page.inner_text("#read") == f"t = 10 · noise {float(film.noise[10]):.3f} · {float(film.distance_to_target()[10]):.2f} Å from target"
    assert page.evaluate("xy.data[D.curves.length].x[0]") == 10      # the marker went along
    page.uncheck("#wrap"); page.wait_for_function("!busy && !on.wrap"); page.wait_for_timeout(300)
    agrees(page, film, 10, film.frac_unwrapped)
    page.check("#x0"); page.check("#wrap"); page.wait_for_timeout(600)
    agrees(page, film, 10, film[:].x0 - film.x0.floor())
    page.uncheck("#x0"); page.locator("h1").click(); page.keyboard.press("End"); at(page, 20)
    page.wait_for_timeout(300); agrees(page, film, 20, film.frac_coords)
    page.keyboard.press("ArrowLeft"); at(page, 19)

def test_play_runs_to_the_end_and_stops(page, tmp_path):
    show(page, make(F=6).to_html(tmp_path/"film.html"))
    page.click("#play"); at(page, 5); page.wait_for_function("timer === null")
    assert page.inner_text("#play") == "▶ play"

def test_legend_hides_an_element_and_a_target_may_be_missing(page, tmp_path):
    show(page, make(target=False).to_html(tmp_path/"film.html"))
    assert page.locator("#hastarget").count() == 0
    page.click("#legend button >> text=Ti"); page.wait_for_timeout(500)
    drawn = page.evaluate(CENTRES)
    assert drawn["Ti"] == [] and len(drawn["O"]) == 3

def test_turning_the_crystal_moves_the_light(page, tmp_path):
    show(page, make(F=3).to_html(tmp_path/"film.html"))
    before, box = page.evaluate("shine"), page.locator("#crystal").bounding_box()
    page.mouse.move(box["x"] + 400, box["y"] + 200); page.mouse.down(); page.mouse.move(box["x"] + 650, box["y"] + 150, steps=5); page.mouse.up(); page.wait_for_timeout(600)
    after = page.evaluate("shine")
    assert max(abs(a - b) for a, b in zip(before, after)) > 0.1 and page.evaluate("gl.data[first].intensity.slice(0, 3)") == after[:3]

def test_plotly_figure_animates_in_a_browser(page, tmp_path):
    film = make(F=8)
    plot.film_figure(film).write_html(tmp_path/"fig.html", auto_play=False)
    page.goto((tmp_path/"fig.html").as_uri()); page.wait_for_selector(".js-plotly-plot .slider-container", timeout=60000)
    page.evaluate("Plotly.animate(document.querySelector('.js-plotly-plot'), ['5'], {mode:'immediate', frame:{duration:0, redraw:true}, transition:{duration:0}})")
    dot = page.evaluate("(() => { const d = document.querySelector('.js-plotly-plot').data; return [d[d.length-1].x[0], d[d.length-1].y[0]]; })()")
    assert dot[0] == 5 and abs(dot[1] - float(film.noise[5])) < 1e-4
    page.click("text=unwrapped"); page.wait_for_timeout(500)
    seen = page.evaluate("document.querySelector('.js-plotly-plot').data.slice(-13,-1).map(t => t.visible)")
    assert seen == [False] * 6 + [True] * 3 + [False] * 3
