"A hand on one player of a page: it drags, looks, and compares what is drawn, read and held with the film."

import io
import json
import time

import numpy as np
from conftest import until


def player(root=".dpv"):
    "The JavaScript object behind a player; `root` is a selector."
    return f"document.querySelector('{root}').player"


def state(page, root=".dpv"):
    "What the player holds, has drawn and says."
    return page.evaluate(
        f"(() => {{ const v = {player(root)}, s = v.session.state; return {{frame: s.frame, playing: "
        f"s.playing, drawn: v.session.drawn, read: v.controls.read.textContent, slider: "
        f"+v.controls.slider.value, count: v.controls.count.textContent}}; }})()"
    )


def atoms(page, root=".dpv"):
    "Atoms of the drawn picture: fractional place, Å, opacity, and whether it is the atom itself or an image."
    return page.evaluate(
        f"{player(root)}.picture.atoms.map(a => ({{atom: a.atom, z: a.z, frac: a.frac, at: a.at, "
        f"home: a.home, alpha: a.alpha}}))"
    )


def settled(page, frame, timeout=30000, root=".dpv"):
    "Wait until this frame is on the screen."
    until(
        page,
        f"{player(root).replace(').player', ')?.player')}?.session.drawn.frame === {frame} && "
        f"!{player(root)}.dirty",
        timeout=timeout,
    )


def drag(page, to, root=".dpv", slider=".dpv-slider", steps=6):
    "Drag the knob of the slider with the mouse to a part of its length."
    box = page.locator(f"{root} {slider}").first.bounding_box()
    s = page.evaluate(
        f"(() => {{ const e = document.querySelector('{root} {slider}'); return (e.value - e.min) / "
        f"Math.max(e.max - e.min, 1); }})()"
    )
    y, x = box["y"] + box["height"] / 2, lambda f: box["x"] + 8.5 + f * (box["width"] - 17)
    page.mouse.move(x(s), y)
    page.mouse.down()
    page.mouse.move(x(to), y, steps=steps)
    page.mouse.up()


def colours(page, root=".dpv"):
    "How many colours the canvas shows, and which share of it is not background."
    return page.evaluate(f"""(() => {{
      const c = {player(root)}.canvas, d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
      const seen = new Set();
      let full = 0;
      for (let i = 0; i < d.length; i += 4) {{
        if (d[i + 3] > 200) full++;
        seen.add((d[i] >> 4) << 8 | (d[i + 1] >> 4) << 4 | d[i + 2] >> 4);
      }}
      return [seen.size, full / (d.length / 4)];
    }})()""")


def pixels(page, selector):
    "What the screen really shows of an element: (h,w,3) bytes of a screenshot."
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def painted(image):
    """How many colours (of 4,096) a picture holds, and which share of it differs from its most frequent one
    by more than a shade."""
    kinds, many = np.unique((image // 16).reshape(-1, 3), axis=0, return_counts=True)
    return len(kinds), float(
        (np.abs(kinds.astype(int) - kinds[many.argmax()].astype(int)).max(1) > 2) @ many / many.sum()
    )


def agrees(page, film, frame, wrapped=True, root=".dpv"):
    "What is drawn, what is read and what is held are the same frame; the atoms stand where the film says."
    got = state(page, root)
    assert (
        got["frame"] == got["drawn"]["frame"] == got["slider"] == frame
        and got["count"] == f"{frame + 1} / {len(film)}"
    ), got
    assert got["read"].startswith(f"t = {float(film.t[frame]):g}"), got
    found = atoms(page, root)
    assert got["drawn"]["atoms"] == len(found)
    want, home = (
        (film.frac_coords if wrapped else film.frac_unwrapped)[frame].double().numpy(),
        {a["atom"]: a for a in found if a["home"]},
    )
    assert len(home) == film.num_atoms
    for i, a in home.items():
        off = np.array(a["frac"]) - want[i]
        assert np.abs(off - np.round(off) * wrapped).max() < 5e-5, (
            i,
            a["frac"],
            want[i],
        )  # 0 and 1 are one place
        assert (
            np.abs(np.array(a["at"]) - np.array(a["frac"]) @ film.crystal().lattice[0].double().numpy()).max()
            < 1e-4
        )
        assert a["z"] == int(film.atomic_numbers[frame, i])
    return found


def kernel(folder, what, timeout=40):
    "Wait until what a kernel wrote of its widgets (in work/state.json) satisfies a test; return it."
    deadline, path, held = time.time() + timeout, folder / "work/state.json", None
    while time.time() < deadline:
        if path.exists():
            held = json.loads(path.read_text())
            if what(held):
                return held
        time.sleep(0.1)
    raise AssertionError(f"the kernel still says {held}")


CROWDED = """root => {
  const box = root.getBoundingClientRect(), wrong = [];
  const name = e => e.getAttribute('aria-label') || e.textContent.trim().slice(0, 20) || e.className;
  const selector = 'button, select, .dpv-slider, .dpv-read, .dpv-count, .dpv-ticks span, .dpv-title, '
    + '.dpv-plotlegend span, .dpv-help div, .dpv-choice > span';
  const seen = [...root.querySelectorAll(selector)].filter(e => e.checkVisibility());
  const parts = seen.map(e => [e, e.getBoundingClientRect()]);
  const canScroll = e => ['SELECT', 'INPUT'].includes(e.tagName) || getComputedStyle(e).display === 'inline';
  for (const [e, r] of parts) {
    if (r.left < box.left - .5 || r.right > box.right + .5) wrong.push(name(e) + ' is cut off');
    if (e.scrollWidth > e.clientWidth + 1 && !canScroll(e)) wrong.push(name(e) + ' is clipped');
  }
  const overlap = (a, b, low, high) => Math.min(a[high], b[high]) - Math.max(a[low], b[low]) > 1;
  for (let i = 0; i < parts.length; i++) for (let j = 0; j < i; j++) {
    const [e, a] = parts[i], [f, b] = parts[j];
    if (e.contains(f) || f.contains(e)) continue;
    if (overlap(a, b, 'left', 'right') && overlap(a, b, 'top', 'bottom'))
      wrong.push(name(e) + ' lies on ' + name(f));
  }
  return wrong;
}"""


def crowded(page, root=".dpv"):
    "What is cut off, clipped, or lies on something else in a player."
    return page.locator(root).first.evaluate(CROWDED)
