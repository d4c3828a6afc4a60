"""The tour in a real JupyterLab and in Voila, from the first cell to the last, by mouse.

And on a page without a kernel."""

import json
from pathlib import Path

import pytest
from conftest import CLOSED, LATE, notebook, until, watch
from hand import agrees, atoms, crowded, drag, kernel, painted, pixels, player, settled, state

from dpcdvae.diffusion.trajectory import read_trajectory

TOUR = Path(__file__).resolve().parents[1] / "nbs/tutorials/00_tour.ipynb"
DEAF = (
    "document.addEventListener('input', e => e.target.matches('.dpv-slider') && "
    "e.stopImmediatePropagation(), true)"
)  # nobody hears the slider


def tour():
    """The notebook, with all its cells and no outputs.

    Only its training is cut to three seconds, since this is about what is seen."""
    book, long = json.loads(TOUR.read_text()), 'max_time="00:00:30"'
    assert sum(long in "".join(c["source"]) for c in book["cells"]) == 1
    for c in book["cells"]:
        c["source"] = "".join(c["source"]).replace(long, 'max_time="00:00:03"')
        if c["cell_type"] == "code":
            c["outputs"], c["execution_count"] = [], None
    return book


@pytest.fixture(scope="module")
def page(browser, lab):
    "The tour after Run All; what must not happen on its page is noted to the end."
    context = browser.new_context(viewport=dict(width=1250, height=1000))
    page = watch(context.new_page(), [lab.url, lab.url.replace("http", "ws")])
    page.set_default_timeout(90000)
    lab.open_book(page, "tour.ipynb", tour())
    lab.run_all(page)
    yield page
    context.close()


def unharmed(lab, page):
    """No error output, no page error, no request to elsewhere.

    (A busy machine may make anywidget complain; the player bears it.)"""
    assert (lab.errors(page), [w for w in page.wrong if w != LATE]) == ([], [])


def cell(page, code, part=".dpv-stage"):
    "Bring a part of the output of the cell that holds some code into view; return a selector of the cell."
    found = page.evaluate(
        """code => {
          const all = window.jupyterapp.shell.currentWidget.content.widgets;
          const holds = ({ type, sharedModel }) => type === 'code' && sharedModel.source.includes(code);
          const i = all.findIndex(w => holds(w.model));
          if (i >= 0) all[i].node.dataset.tour = i;
          return i;
        }""",
        code,
    )
    assert found >= 0, f"no cell of the tour holds {code}"
    at = f'[data-tour="{found}"]'
    page.locator(f"{at} {part}").first.evaluate("e => e.scrollIntoView({block: 'center'})")
    return at


def ask_until(lab, page, expression, value, tries=200):
    "Wait until the kernel gives a value."
    for _ in range(tries):
        if (got := lab.ask(page, expression)) == value:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} is {got}, not {value}")


def slides(lab, page, root, film, part, wrapped=True, name="scrubber.player", timeout=30000, tries=200):
    "Drag the slider; picture, words, slider, film and kernel must agree on where it is."
    drag(page, part, root)
    frame = round(part * (len(film) - 1))
    settled(page, frame, timeout, root)
    ask_until(lab, page, f"[{name}.frame, {name}.drawn.get('frame')]", [frame] * 2, tries)
    return agrees(page, film, frame, wrapped, root)


@pytest.fixture(scope="module")
def film(lab, page):
    "The film of the scrubber, as the kernel keeps it."
    lab.ask(page, "str(scrubber.film.save('film.safetensors'))")
    return read_trajectory(lab.folder / "work/film.safetensors")


def test_run_all_reaches_the_end(lab, page):
    counts = page.evaluate(
        "window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === "
        "'code').map(c => [c.model.executionCount, c.model.outputs.length])"
    )
    assert [n for n, _ in counts] == list(range(1, len(counts) + 1)) and all(
        outputs for _, outputs in counts[1:]
    )
    for root in (
        "forward = ",
        "playground = ",
        "sampler = LiveSampler",
        "FilmCompare(films",
        "scrubber = ",
        "LatentExplorer(model",
    ):
        at = cell(page, root) + " .dpv"
        until(page, f"{player(at)}.session.drawn.atoms > 0 && !{player(at)}.dirty")
        kinds, share = painted(pixels(page, f"{at} .dpv-stage"))
        assert kinds > 25 and 0.01 < share < 0.95, (root, kinds, share)
    unharmed(lab, page)


def test_a_training_draws_its_losses_where_it_runs(lab, page):
    "A line of at least two points and a dot for the validation, in the output of the cell; no lines of text."
    at = cell(page, "train(", "svg")
    parts = page.evaluate(
        f"""(() => {{
          const svg = document.querySelectorAll('{at} svg');
          const line = [...svg].find(s => s.querySelector('polyline'));
          const text = document.querySelector('{at}').innerText;
          return [line.querySelector('polyline').points.length, line.querySelectorAll('circle').length, text];
        }})()"""
    )
    assert parts[0] > 1 and parts[1] == 1 and "crystals/s |" in parts[2] and "| train total" not in parts[2]


def test_the_crystal_comes_back_by_three_samplers_as_the_text_says(lab, page):
    left = lab.ask(page, "[float(f.distance_to_target()[-1]) for f in films]")
    assert max(left[:3]) < 0.2 and left[3] > 2 * max(left[:3]), left  # Å; the last is of half a minute


def test_no_explorer_is_wider_than_its_cell(page):
    found = page.evaluate(
        """[...document.querySelectorAll('.jp-OutputArea *')]
        .filter(e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX))
        .filter(e => e.scrollWidth > e.clientWidth + 1)
        .map(e => [e.className, e.scrollWidth, e.clientWidth])"""
    )
    assert found == []


def test_nothing_pops_up_over_the_tour(page):
    "The configuration of `make lab` asks for no rebuild, no news and no update."
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0


def test_slider_picture_words_and_kernel_agree(lab, page, film):
    root = cell(page, "scrubber = ") + " .dpv"
    settled(page, 30, root=root)
    agrees(page, film, 30, root=root)
    seen = set()
    for part in (0.0, 0.6, 1.0, 0.35):
        slides(lab, page, root, film, part)
        seen.add(pixels(page, f"{root} .dpv-canvas").tobytes())
    assert len(seen) == 4  # four moments, four pictures
    unharmed(lab, page)


def test_atoms_wrap_when_the_toggle_says_so(lab, page, film):
    root = cell(page, "scrubber = ") + " .dpv"
    outside = lambda: [
        a for a in atoms(page, root) if a["home"] and (min(a["frac"]) < 0 or max(a["frac"]) >= 1)
    ]
    away = [i for i, x in enumerate(film.frac_unwrapped) if (x < 0).any() or (x >= 1).any()]
    part = away[len(away) // 2] / (len(film) - 1)
    page.click(f"{root} [data-toggle=ghosts]")
    slides(lab, page, root, film, part)
    assert not outside()
    page.click(f"{root} [data-toggle=wrapped]")
    ask_until(lab, page, "scrubber.player.wrapped", False)
    agrees(page, film, round(part * (len(film) - 1)), False, root)
    assert outside()
    page.click(f"{root} [data-toggle=wrapped]")
    ask_until(lab, page, "scrubber.player.wrapped", True)
    slides(lab, page, root, film, part)
    assert not outside()
    page.click(f"{root} [data-toggle=ghosts]")
    unharmed(lab, page)


def test_sampler_starts_and_stops_by_its_buttons(lab, page):
    at = cell(page, "sampler = LiveSampler")
    root, press = f"{at} .dpv", lambda name: page.click(f"{at} button:has-text('{name}')")
    assert page.is_disabled(f"{at} button:has-text('Stop')") and lab.ask(page, "sampler.state") == "idle"
    press("Start")
    until(page, f"{player(root)}.session.drawn.frame >= 2", 60000)  # the crystal moves while it forms
    press("Pause")
    ask_until(lab, page, "sampler.state", "paused")
    page.wait_for_timeout(400)
    held = lab.ask(page, "len(sampler.rows)")
    page.wait_for_timeout(600)
    assert lab.ask(page, "len(sampler.rows)") == held
    press("Step")
    ask_until(lab, page, "len(sampler.rows)", held + 1)
    settled(page, held, root=root)
    press("Resume")
    ask_until(lab, page, f"len(sampler.rows) > {held + 2}", True)
    press("Stop")
    ask_until(lab, page, "sampler.state", "idle")
    made = lab.ask(page, "len(sampler.film)")
    assert held + 2 < made < 61 and "stopped" in page.locator(at).inner_text()
    settled(page, made - 1, root=root)
    assert state(page, root)["count"] == f"{made} / {made}" and page.is_enabled(
        f"{at} button:has-text('Start')"
    )
    unharmed(lab, page)


def test_a_slider_that_nobody_hears_is_found_out(lab, page, film):
    "The check above fails where the slider is broken, and holds again once it is mended."
    root = cell(page, "scrubber = ") + " .dpv"
    slides(lab, page, root, film, 0.5)
    page.evaluate(f"() => {{ {DEAF.replace('e =>', 'window.deaf = e =>', 1)} }}")
    with pytest.raises(AssertionError, match="never true"):
        slides(lab, page, root, film, 0.8, timeout=1500)
    page.evaluate("() => document.removeEventListener('input', window.deaf, true)")
    slides(lab, page, root, film, 0.2)
    unharmed(lab, page)


LIES = dict(
    picture=(
        "const p = v.picture, update = p.update; p.update = function (theme) { const s = v.session, "
        "{ position } = s; s.position = 0; update.call(p, theme); s.position = position; };",
        "delete v.picture.update",
        r"\(0, \[",
    ),
    words=(
        "Object.defineProperty(v.controls.read, 'textContent', { get: () => 't = 59', set() {}, "
        "configurable: true })",
        "delete v.controls.read.textContent",
        "t = 59",
    ),
    kernel=("", "", r"is \[600, 600\], not"),
)


@pytest.mark.parametrize("lie", LIES)
def test_a_picture_words_or_a_kernel_that_lag_are_found_out(lab, page, film, lie):
    "Each of them alone; the kernel's lie is to speak of a player that nobody moved."
    root, (tell, mend, said) = cell(page, "scrubber = ") + " .dpv", LIES[lie]
    page.evaluate(f"() => {{ const v = {player(root)}; {tell} }}")
    with pytest.raises(AssertionError, match=said):
        slides(
            lab,
            page,
            root,
            film,
            0.7,
            name="forward.player" if lie == "kernel" else "scrubber.player",
            tries=30,
        )
    page.evaluate(f"() => {{ const v = {player(root)}; {mend} }}")
    slides(lab, page, root, film, 0.4)


# ---- haste, a small window, no kernel

CONTROLS = {
    "picker = ": "button text",
    "forward = ": "button select time number checkbox",
    "playground = ": "button select time slider number checkbox",
    "sampler = LiveSampler": "button select time number checkbox",
    "FilmCompare(films": "button slider",
    "scrubber = ": "button select time",
    "LatentExplorer(model": "button select time slider number",
}
HASTE = """at => {
  const done = {}, outputs = document.querySelector(at).querySelector('.jp-OutputArea');
  const fire = (e, ...kinds) => kinds.forEach(k => e.dispatchEvent(new Event(k, { bubbles: true })));
  const isLeft = e => ['Save a picture', 'Full screen'].includes(e.getAttribute('aria-label'))
    || e.closest('.modebar') || e.disabled || !e.isConnected;
  const change = (kind, selector, act) => {
    for (const e of outputs.querySelectorAll(selector)) {
      if (kind === 'button' ? isLeft(e) : e.disabled) continue;
      act(e);
      done[kind] = (done[kind] ?? 0) + 1;
    }
  };
  const slide = (e, part) => {
    const { min, max } = e.noUiSlider.options.range, [low] = [].concat(min), [high] = [].concat(max);
    e.noUiSlider.set(low + (high - low) * part, true);
  };
  const enter = (e, value, ...kinds) => { e.value = value; fire(e, ...kinds); };
  for (let i = 0; i < 10; i++) {
    const word = ['Ti', 'SrTiO3', '', 'zzz'][i % 4];
    change('button', 'button', e => e.click());
    change('checkbox', 'input[type=checkbox]', e => e.click());
    change('select', 'select', e => { e.selectedIndex = i % e.options.length; fire(e, 'change'); });
    const time = e => +e.min + (e.max - e.min) * (7 * i % 10) / 9;
    change('time', '.dpv-slider', e => enter(e, time(e), 'input', 'change'));
    change('slider', '.noUi-target', e => slide(e, (3 * i % 10) / 9));
    change('number', 'input[type=number]', e => enter(e, 1 + 3 * i, 'input', 'change'));
    change('text', 'input[type=text]', e => enter(e, word, 'input', 'change', 'blur'));
  }
  return done;
}"""


@pytest.mark.parametrize("code", CONTROLS)
def test_ten_rapid_changes_of_every_control(lab, page, film, code):
    """All at once, as fast as the page can.

    Then whatever runs is stopped, and the kernel and the slider answer as before."""
    at, wanted = cell(page, code, ".jp-OutputArea-output"), CONTROLS[code].split()
    done = page.evaluate(HASTE, at)
    assert set(done) >= set(wanted) and all(done[k] >= 10 for k in wanted), done
    lab.ask(page, "None if sampler.stop() else None")
    ask_until(lab, page, "sampler.state", "idle", 1200)
    for i in range(page.locator(f"{at} .dpv").count()):
        view = f"document.querySelectorAll('{at} .dpv')[{i}].player"
        page.evaluate(f"{view}.session.set({{playing: false, supercell: 1, theme: 'auto'}})")
        page.locator(f"{at} .dpv-stage").nth(i).scroll_into_view_if_needed()
        until(page, f"!{view}.dirty && {view}.session.drawn.frame === {view}.session.state.frame")
    unharmed(lab, page)
    root = cell(page, "scrubber = ") + " .dpv"
    lab.ask(page, "[scrubber.set_trait('frame', 3)] and scrubber.player.set_trait('wrapped', True)")
    slides(lab, page, root, film, 0.35, tries=1200)


def test_resized_windows(lab, page, film):
    try:
        for width, height in ((620, 700), (420, 900), (1600, 500), (1250, 1000)):
            page.set_viewport_size(dict(width=width, height=height))
            root = cell(page, "scrubber = ", ".dpv-slider") + " .dpv"
            page.wait_for_timeout(600)  # JupyterLab lays its panels out
            slides(lab, page, root, film, 0.35 if width > 1000 else 0.8, tries=600)
            assert crowded(page, root) == []
    finally:
        page.set_viewport_size(dict(width=1250, height=1000))
    unharmed(lab, page)


def test_a_closed_kernel_leaves_no_exception_and_no_frozen_player(lab, page, film):
    "The last on this page."
    unharmed(lab, page)
    lab.close_kernels()
    page.wait_for_timeout(1500)
    for code in CONTROLS:
        page.evaluate(HASTE, cell(page, code, ".jp-OutputArea-output"))
    root = cell(page, "scrubber = ", ".dpv-slider") + " .dpv"
    page.evaluate(
        f"{player(root)}.session.set({{playing: false, supercell: 1, wrapped: true, ghosts: false}})"
    )
    for part in (0.9, 0.25):
        drag(page, part, root)
        settled(page, round(part * (len(film) - 1)), root=root)
    agrees(page, film, round(0.25 * (len(film) - 1)), root=root)
    assert [w for w in page.wrong if w.startswith(("error", "asks")) and w not in (CLOSED, LATE)] == []


# ---- Voila

# plotly's extension would keep a picture of a static figure in the notebook, and Voila has none; the figure
# is drawn
NO_MODEL = "error r.setData is not a function"
TELL = """import json
scrubber.film.save("film.safetensors")
def tell(_=None):
    player = scrubber.player
    state = dict(frame=player.frame, drawn=player.drawn, wrapped=player.wrapped, state=sampler.state)
    state |= dict(rows=len(sampler.rows), made=len(sampler.film) if sampler.film else 0)
    Path("state.json.tmp").write_text(json.dumps(state))
    Path("state.json.tmp").rename("state.json")
for name in ("scrubber", "sampler", "forward", "playground"):
    globals()[name].add_class(f"the-{name}")
for widget in (scrubber.player, sampler.player, sampler):
    widget.observe(tell)
tell()"""


def drawn_plot(root):
    "The plot in an explorer, as an expression of the page."
    return f"document.querySelector('{root} .js-plotly-plot')"


def curve(page, root, trace):
    "The line that is on the page, as plotly drew it: the paths of its SVG, not what was asked of it."
    return page.evaluate(
        f"[...{drawn_plot(root)}.querySelectorAll('.trace')][{trace}].querySelectorAll('path').values()"
        ".map(p => p.getAttribute('d')).toArray().join()"
    )


def changes(page, root, trace, act):
    "Do something, and wait until a plot has been drawn anew."
    until(page, f"{drawn_plot(root)}?.querySelector('.trace path')")
    before = curve(page, root, trace)
    act()
    for _ in range(200):
        if curve(page, root, trace) != before:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"the plot of {root} has not changed")


def figures_follow(page):
    "The histogram follows the slider, the strong line the schedule, the red line the time."
    forward, play = ".the-forward", ".the-playground"
    for root in (forward, play):
        page.locator(f"{root} .dpv-stage").evaluate("e => e.scrollIntoView({block: 'center'})")
        traces = page.evaluate(
            f"{drawn_plot(root)}.data.findLastIndex(t => ['theory', 'cursor'].includes(t.name))"
        )
        last = page.evaluate(f"{drawn_plot(root)}.querySelectorAll('.trace').length - 1")
        assert traces >= 0
        changes(page, root, last, lambda: drag(page, 0.15, f"{root} .dpv"))
        changes(page, root, last, lambda: drag(page, 0.8, f"{root} .dpv"))
    chosen = page.evaluate(f"{drawn_plot(play)}.data.findIndex(t => t.name === 'chosen')")
    values = lambda: page.evaluate(f"JSON.stringify({drawn_plot(play)}.data[{chosen}].y)")
    before = values()
    page.locator(f"{play} select").first.select_option("linear")
    until(page, f"JSON.stringify({drawn_plot(play)}.data[{chosen}].y) !== {json.dumps(before)}")


def test_voila_shows_the_first_crystal_before_the_training_ends(voila):
    book = json.loads(TOUR.read_text())
    cells = [c for c in book["cells"] if c["cell_type"] == "code"]
    where = next(i for i, c in enumerate(cells) if "young = train(" in "".join(c["source"]))
    book["cells"] = [*cells[:2], *notebook(["import time\ntime.sleep(600)"])["cells"], *cells[2:where]]
    page, _ = voila(book, 1250)
    page.wait_for_selector(".dpcdvae-gallery button svg", timeout=120000)


def test_tour_in_voila(voila):
    book = tour()
    book["cells"] += notebook([TELL])["cells"]
    page, folder = voila(book, 1250)
    page.wait_for_selector(".the-scrubber .dpv")
    film, root, live = read_trajectory(folder / "work/film.safetensors"), ".the-scrubber .dpv", ".the-sampler"
    page.locator(f"{root} .dpv-stage").evaluate("e => e.scrollIntoView({block: 'center'})")
    settled(page, 30, root=root)
    for part in (0.6, 0.2):
        frame = round(part * (len(film) - 1))
        drag(page, part, root)
        settled(page, frame, root=root)
        kernel(folder, lambda s: s["frame"] == frame == s["drawn"].get("frame"))
        agrees(page, film, frame, root=root)
    page.click(f"{root} [data-toggle=wrapped]")
    kernel(folder, lambda s: not s["wrapped"])
    until(page, f"!{player(root)}.dirty")
    agrees(page, film, frame, False, root)
    kinds, share = painted(pixels(page, f"{root} .dpv-stage"))
    assert kinds > 25 and 0.01 < share < 0.95
    figures_follow(page)
    press = lambda name: page.click(f"{live} button:has-text('{name}')")
    page.locator(f"{live} .dpv-stage").evaluate("e => e.scrollIntoView({block: 'center'})")
    press("Start")
    until(page, f"{player(live + ' .dpv')}.session.drawn.frame >= 2")
    press("Pause")
    kernel(folder, lambda s: s["state"] == "paused")
    press("Stop")
    made = kernel(folder, lambda s: s["state"] == "idle" and s["made"])["made"]
    assert 2 < made < 61
    settled(page, made - 1, root=f"{live} .dpv")
    until(page, f"{drawn_plot(live)}.data[0].y.length === {made}")
    assert (
        page.locator(
            ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'], .jp-OutputArea-error"
        ).count()
        == 0
        and page.locator(".js-plotly-plot .main-svg").count() >= 7
    )
    assert [w for w in page.wrong if w not in (LATE, NO_MODEL)] == []


# ---- read only


def test_page_without_a_kernel_shows_still_pictures(browser, tmp_path):
    "The tour as it is kept, as HTML: every explorer has left a picture, and nothing is an error."
    from nbconvert import HTMLExporter

    html = HTMLExporter(
        require_js_url="", mathjax_url="", jquery_url="", widget_renderer_url=""
    ).from_filename(str(TOUR))[0]
    (tmp_path / "tour.html").write_text(html)
    context = browser.new_context(offline=True, viewport=dict(width=1000, height=900))
    page = watch(context.new_page(), ["file:"])
    page.goto((tmp_path / "tour.html").as_uri())
    seen = (
        "[...document.querySelectorAll('.jp-OutputArea-output img')].filter(e => e.naturalWidth > 260).length"
    )
    until(page, f"{seen} >= 7")  # picker, forward, schedules, sampler, comparison, scrubber, latent map
    assert page.locator(".jp-OutputArea-output:has-text('Traceback')").count() == 0
    context.close()
    assert page.wrong == []
