// The bar below the picture: time, playing, toggles, view.
import { h, setIcon } from "./dom.js";
import { KEYS, TOGGLES, number, reading, spoken, time } from "./words.js";

const button = (name, label, key, action, extra = {}) => { const b = h("button", { type: "button", class: "dpv-icon", "aria-label": label, title: key ? `${label} (${key})` : label, onclick: action, ...extra }); setIcon(b, name); return b; };
const choice = (label, options, onchange) => h("label", { class: "dpv-choice" }, h("span", {}, label), h("select", { "aria-label": label, onchange: (e) => onchange(e.target.value) }, options.map(([v, t]) => h("option", { value: v }, t))));

export class Controls {
  constructor(session, actions) {
    this.session = session; this.toggles = new Map();
    this.play = button("play", "Play", "space", () => session.toggle("playing"));
    this.slider = h("input", { type: "range", class: "dpv-slider", min: 0, step: 1, "aria-label": "time", oninput: (e) => session.seek(+e.target.value) });
    this.ticks = h("div", { class: "dpv-ticks", "aria-hidden": "true" });
    this.read = h("output", { class: "dpv-read", "aria-live": "off" });
    this.count = h("span", { class: "dpv-count" });
    this.loop = button("loop", "Loop", "l", () => session.toggle("loop"), { "aria-pressed": "false" });
    this.transport = h("div", { class: "dpv-transport", role: "group", "aria-label": "time" },
      h("div", { class: "dpv-buttons" }, button("back", "One frame back", "←", () => session.step(-1)), this.play, button("forward", "One frame forward", "→", () => session.step(1)), this.loop),
      h("div", { class: "dpv-time" }, this.slider, this.ticks), h("div", { class: "dpv-readbox" }, this.read, this.count));
    const chips = h("div", { class: "dpv-chips", role: "group", "aria-label": "what is shown" }, TOGGLES.map(([name, label, key, title]) => {
      const b = h("button", { type: "button", class: "dpv-chip", "data-toggle": name, "aria-pressed": "false", title: `${title} (${key})`, onclick: () => session.toggle(name) }, label);
      this.toggles.set(name, b);
      return b;
    }));
    this.speed = choice("Speed", [], (v) => session.set({ speed: +v }));
    this.cells = choice("Cells", [[1, "1×1×1"], [2, "2×2×2"], [3, "3×3×3"]], (v) => session.set({ supercell: +v }));
    this.projection = choice("View", [["orthographic", "parallel"], ["perspective", "perspective"]], (v) => session.set({ projection: v }));
    this.palette = choice("Colours", [["jmol", "Jmol"], ["safe", "for all eyes"]], (v) => session.set({ palette: v }));
    this.theme = choice("Theme", [["auto", "auto"], ["light", "light"], ["dark", "dark"]], (v) => session.set({ theme: v }));
    const look = h("div", { class: "dpv-look" }, h("div", { class: "dpv-axes", role: "group", "aria-label": "look along an axis" }, ["a", "b", "c"].map((k, i) => h("button", { type: "button", class: `dpv-axis dpv-axis-${k}`, title: `Look along ${k}`, "aria-label": `look along ${k}`, onclick: () => actions.along(i) }, k)),
      button("reset", "Reset the view", "r", actions.reset)),
      h("div", { class: "dpv-axes" }, button("camera", "Save a picture", "", actions.picture), button("file", "Save this frame as CIF", "", actions.cif), button("full", "Full screen", "", actions.full), this.gear = button("gear", "Settings", "s", () => this.open(this.settings, this.gear)), this.ask = button("help", "Keys", "?", () => this.toggleHelp())));
    this.settings = h("div", { class: "dpv-settings", role: "group", "aria-label": "settings", hidden: true }, this.speed, this.cells, this.projection, this.palette, this.theme);
    this.help = h("div", { class: "dpv-help", hidden: true }, KEYS.map(([k, v]) => h("div", {}, h("b", {}, k), h("span", {}, v))));
    this.el = h("div", { class: "dpv-controls" }, this.transport, h("div", { class: "dpv-row" }, chips, look), this.settings, this.help);
  }

  open(panel, by) { panel.hidden = !panel.hidden; by.setAttribute("aria-expanded", String(!panel.hidden)); by.setAttribute("aria-pressed", String(!panel.hidden)); }
  toggleHelp() { this.open(this.help, this.ask); }
  toggleSettings() { this.open(this.settings, this.gear); }

  /** Times below the slider: the first, the last, and some between. */
  drawTicks(film) {
    const key = `${film.frames}/${film.value("t", 0)}/${film.value("t", film.frames - 1)}`;
    if (key === this.tickKey) return;
    this.tickKey = key;
    const last = film.frames - 1;
    const many = Math.min(5, last), at = last ? Array.from({ length: many + 1 }, (_, i) => Math.round((i * last) / many)) : [0];
    let longest = 0; // the read-out keeps its width, so that the slider does not move under the hand
    for (let i = 0; i < film.frames; i += Math.max(1, Math.floor(film.frames / 400))) longest = Math.max(longest, reading(film, i).length);
    this.read.style.minWidth = `${Math.max(longest, reading(film, last).length) * 0.9}ch`;
    this.ticks.replaceChildren(...at.map((i) => h("span", { style: `left:${last ? (100 * i) / last : 0}%` }, (i ? "" : "t ") + time(film.value("t", i)))));
  }

  update() {
    const { state: s, film } = this.session, one = film.frames < 2;
    this.transport.style.display = one ? "none" : ""; // no time, no slider
    this.slider.max = Math.max(film.frames - 1, 0); this.slider.value = s.frame; this.slider.disabled = one;
    this.slider.setAttribute("aria-valuetext", spoken(film, s.frame));
    this.slider.style.setProperty("--done", `${one ? 0 : (100 * s.frame) / (film.frames - 1)}%`);
    this.drawTicks(film);
    this.read.textContent = reading(film, s.frame);
    this.count.textContent = `${s.frame + 1} / ${film.frames}`;
    setIcon(this.play, s.playing ? "pause" : "play");
    this.play.setAttribute("aria-label", s.playing ? "Pause" : "Play"); this.play.disabled = one;
    this.loop.setAttribute("aria-pressed", s.loop);
    for (const [name, b] of this.toggles) {
      b.setAttribute("aria-pressed", s[name]);
      if (name === "target") b.hidden = !film.target.numbers?.length;
      if (name === "ghosts") b.disabled = !s.wrapped;
    }
    const near = (v) => (Math.abs(v - Math.round(v)) < 0.05 ? Math.round(v) : number(v, 1)), base = [2, 5, 12, 30, 60, 120, 250], rates = [...new Set([...base, s.speed])].sort((a, b) => a - b);
    const select = this.speed.querySelector("select");
    if (select.dataset.rates !== rates.join()) { select.dataset.rates = rates.join(); select.replaceChildren(...rates.map((v) => h("option", { value: v }, `${near(v)} fps`))); }
    for (const [c, v] of [[this.speed, s.speed], [this.cells, s.supercell], [this.projection, s.projection], [this.palette, s.palette], [this.theme, s.theme]]) c.querySelector("select").value = v;
  }
}
