"""The commands behind every number that this project states"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.speed import circumstances, disturbed
from dpcdvae.diffusion.trajectory import Trajectory

FLAGS = (
    "--headless --no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader "
    "--disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()  # no graphics card and no network


def chromium() -> dict | None:  # for playwright's launch; None if there is none
    "Find the browser that tests and measurements use."
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found and dict(executable_path=found, args=FLAGS)


def wandering(num_atoms: int = 24, num_frames: int = 1000, seed: int = 0) -> Trajectory:
    "Make a film of atoms that wander at random through a cell and its faces."
    g, numbers = torch.Generator().manual_seed(seed), torch.tensor([11, 17, 8])[torch.arange(num_atoms) % 3]
    path = torch.rand((num_atoms, 3), generator=g) + torch.cumsum(
        0.01 * torch.randn((num_frames, num_atoms, 3), generator=g), 0
    )
    return Trajectory(
        t=torch.arange(num_frames - 1, -1, -1),
        noise=torch.linspace(1, 0, num_frames),
        alpha_bar=torch.linspace(0, 1, num_frames),
        frac_unwrapped=path,
        atomic_numbers=numbers.expand(num_frames, -1),
        x0=path[-1].expand(num_frames, -1, -1),
        lengths=torch.tensor([9.0, 8.5, 8.0]),
        angles=torch.tensor([90.0, 95.0, 90.0]),
    )


DRAG = """async (changes) => {
  const v = document.querySelector('.dpv').player, slider = v.controls.slider, out = [];
  for (let i = 1; i <= changes; i++) {
    const began = performance.now();
    slider.value = (37 * i) % (+slider.max + 1);
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    if ((await v.next()).frame !== +slider.value) throw new Error('the slider asks for another picture');
    v.context.getImageData(2, 2, 1, 1);
    out.push(performance.now() - began);
  }
  return out;
}"""  # reading a pixel waits for the picture
PLAY = """async (seconds) => {
  const v = document.querySelector('.dpv').player, { slider, play } = v.controls;
  const end = performance.now() + 1000 * seconds;
  slider.value = 0;
  slider.dispatchEvent(new Event('input'));
  play.click();
  let n = 0;
  for (; performance.now() < end; n++) await v.next();
  return n / seconds;
}"""


def slider_latency(page, path, changes: int = 100) -> list[float]:  # ms, in order of size
    "Measure how long it takes from a slider that moves to pixels that can be read."
    page.goto(Path(path).absolute().as_uri())
    page.wait_for_selector(".dpv-canvas")
    page.wait_for_timeout(500)
    page.evaluate(DRAG, 8)  # shaders are ready after the first pictures
    return sorted(page.evaluate(DRAG, changes))


MEMORY = """import psutil, sys
from benchmarks.player import wandering
from dpcdvae.viz.player import FilmPlayer
used = lambda: psutil.Process().memory_info().rss / 1e6
FilmPlayer(wandering(2, 2)).get_state()      # what is loaded once is not the film's
before = used()
player = FilmPlayer(wandering(*map(int, sys.argv[1:])))
player.get_state()
print(used() - before)"""


def player_memory(num_atoms: int = 24, num_frames: int = 1000, seed: int = 0) -> float:  # MB
    "Measure by how much a kernel grows when it shows a film, in a process of its own."
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(num_atoms), str(num_frames), str(seed)],
        capture_output=True,
        text=True,
        env=os.environ | dict(OMP_NUM_THREADS="1"),
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-1500:])
    return float(done.stdout)


def player_bench(seed: int = 0, changes: int = 100, num_atoms: int = 24, num_frames: int = 1000) -> dict:
    """Measure the film player.

    From slider to picture, pictures a second while it plays, memory of the kernel, size of a page."""
    import tempfile

    from playwright.sync_api import sync_playwright

    from dpcdvae.viz.page import film_html

    film, when = wandering(num_atoms, num_frames, seed), circumstances()
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        browser = p.chromium.launch(**(chromium() or {}))
        page = browser.new_page(viewport=dict(width=1100, height=920))
        ms = slider_latency(page, film_html(film, Path(d) / "film.html", num_frames, height=420), changes)
        played, version, size = (
            page.evaluate(PLAY, 4),
            browser.version,
            film_html(film, Path(d) / "short.html", 300).stat().st_size,
        )
        browser.close()
    at = lambda q: round(ms[int(q * (len(ms) - 1))], 1)
    return dict(
        name="player",
        atoms=num_atoms,
        frames=num_frames,
        seed=seed,
        changes=changes,
        latency_ms=dict(least=at(0), median=at(0.5), most_of_ten=at(0.9), largest=at(1)),
        pictures_per_s=round(played, 1),
        kernel_mb=round(player_memory(num_atoms, num_frames, seed), 1),
        page_mb_300_frames=round(size / 1e6, 2),
        browser=f"Chromium {version}, headless, software GL",
        made_on=when,
    )


def player_table(r: dict) -> str:  # markdown
    "Put the measurements of the player into a table."
    ms = r["latency_ms"]
    rows = [
        "| | measured | goal |",
        "|---|---|---|",
        f"| from slider to drawn frame, median of {r['changes']} | {ms['median']:.0f} ms | 50 ms |",
        f"| nine of ten are below | {ms['most_of_ten']:.0f} ms | |",
        f"| quickest, slowest | {ms['least']:.0f} ms, {ms['largest']:.0f} ms | |",
        f"| pictures a second while it plays | {r['pictures_per_s']:.0f} | |",
        f"| memory of the kernel | {r['kernel_mb']:.1f} MB | 20 MB |",
        f"| page of 300 frames | {r['page_mb_300_frames']:.2f} MB | 1.5 MB |",
    ]
    return "\n".join(
        [
            *rows,
            "",
            f"{r['atoms']} atoms, {r['frames']} frames, seed {r['seed']}; {r['browser']}; load "
            f"{r['made_on']['load']:.2f} before"
            + (f". **{warning}**" if (warning := disturbed(r["made_on"]["load"])) else "."),
        ]
    )
