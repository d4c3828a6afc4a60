// One view of a session: the picture, what lies over it, the controls below it.
import { css, surroundings, watchSurroundings, THEMES } from "./colors.js";
import { Controls } from "./controls.js";
import { Curves } from "./curves.js";
import { formula, h } from "./dom.js";
import { frameCif } from "./film.js";
import { LOST, NO_WEBGL, graphics } from "./gl.js";
import { orbit } from "./orbit.js";
import { Picture } from "./scene.js";
import { number, spoken } from "./words.js";
import STYLE from "./style.css";

const SHEET = "dpv-style";
function style(root) {
  const home = root.getRootNode(), at = home instanceof ShadowRoot ? home : document.head;
  if (!at.querySelector(`#${SHEET}`)) at.append(h("style", { id: SHEET }, STYLE));
}

export class PlayerView {
  constructor(session, parent) {
    this.session = session; this.visible = false; this.dirty = true; this.frameRequest = 0; this.width = 0; this.height = 0; this.gone = [];
    this.canvas = h("canvas", { class: "dpv-canvas", role: "img" });
    this.message = h("p", { class: "dpv-message", role: "alert", hidden: true });
    this.heading = h("div", { class: "dpv-heading" });
    this.legend = h("div", { class: "dpv-legend", role: "group", "aria-label": "elements" });
    this.card = h("div", { class: "dpv-card", hidden: true });
    this.stage = h("div", { class: "dpv-stage", tabindex: 0, "aria-keyshortcuts": "Space ArrowLeft ArrowRight" }, this.canvas, this.heading, this.legend, this.card, this.message);
    this.live = h("div", { class: "dpv-live", "aria-live": "polite", role: "status" });
    this.picture = new Picture(session);
    this.controls = new Controls(session, { along: (k) => { this.picture.along(k); this.refresh(); }, reset: () => this.reset(), picture: () => this.save(), cif: () => this.saveCif(), full: () => this.full() });
    this.curves = new Curves(session);
    this.root = h("div", { class: "dpv", role: "region", "data-lm-suppress-shortcuts": "true", "data-jp-suppress-context-menu": "" }, this.stage, this.controls.el, this.curves.el, this.live);
    this.root.player = this;
    parent.append(this.root);
    style(this.root);
    this.context = this.canvas.getContext("2d");
    orbit(this.stage, this.picture, { changed: () => this.refresh(), pick: (x, y) => this.pick(this.picture.hit(x, y)?.atom), focused: () => this.root.contains(this.root.getRootNode().activeElement) });
    const hear = (e) => { // before any other listener of the page: JupyterLab acts on keys before they reach the player
      if (!e.composedPath().includes(this.root)) return;
      this.key(e);
      if (!e.ctrlKey && !e.metaKey && !e.altKey) e.stopImmediatePropagation();
    };
    window.addEventListener("keydown", hear, true);
    this.gone.push(() => window.removeEventListener("keydown", hear, true));
    const device = graphics(), again = () => this.refresh();
    if (device) { device.watchers.add(again); this.gone.push(() => device.watchers.delete(again)); }
    const resized = new ResizeObserver(() => this.measure()); resized.observe(this.stage); resized.observe(this.root);
    const seen = new IntersectionObserver((all) => { this.visible = all.at(-1).isIntersecting; if (this.visible) { this.refresh(); session.tick(); } }); seen.observe(this.root);
    this.gone.push(() => resized.disconnect(), () => seen.disconnect(), watchSurroundings(() => this.refresh()), session.on((changed, origin) => this.changed(changed, origin)));
    session.attach(this);
    this.setUp();
  }

  /** Everything that depends on the film or on the layout. */
  setUp() {
    const { state: s, film } = this.session;
    this.stage.style.height = `${s.height}px`;
    this.controls.el.hidden = !s.controls; this.curves.el.hidden = !s.curves;
    this.root.classList.toggle("dpv-bare", !s.controls);
    this.root.setAttribute("aria-label", `Film player: ${s.label || film.formula}`);
    this.measure();
    this.picture.reset(this.aspect);
    this.write(); this.refresh();
  }

  get aspect() { return this.width && this.height ? this.width / this.height : 1.6; }

  measure() {
    const width = this.stage.clientWidth, height = this.stage.clientHeight, ratio = Math.min(devicePixelRatio || 1, 2);
    const before = this.aspect, first = !this.width;
    if (width === this.width && height === this.height && ratio === this.ratio) return;
    Object.assign(this, { width, height, ratio });
    if (first || Math.abs(before - this.aspect) > 0.01) { const { zoom, shift } = this.picture.view, kept = shift.clone(); this.picture.refit(this.aspect); if (!first) { this.picture.view.zoom = zoom; this.picture.view.shift.copy(kept); } }
    this.refresh();
  }

  changed(changed, origin) {
    const has = (...k) => k.some((x) => changed.has(x));
    if (origin === "view") return;
    if (has("films")) { this.session.stamp = (this.session.stamp ?? 0) + 1; this.setUp(); return; }
    if (has("crystal", "height", "controls", "curves", "label")) { this.setUp(); }
    if (has("wrapped", "supercell", "polyhedra")) this.picture.refit(this.aspect);
    if (!(changed.size === 1 && changed.has("position"))) this.write(origin);
    this.refresh();
  }

  /** Ask for one drawing; many wishes become one. */
  refresh() {
    this.dirty = true;
    this.frameRequest ||= requestAnimationFrame(() => { this.frameRequest = 0; this.draw(); });
  }

  draw() {
    if (this.ended || !this.dirty || !this.width || !this.height || !this.root.isConnected) return;
    const { session } = this, s = session.state, since = session.since;
    this.theme = s.theme === "auto" ? surroundings(this.root) : s.theme;
    this.root.dataset.theme = this.theme;
    const width = Math.round(this.width * this.ratio), height = Math.round(this.height * this.ratio);
    if (this.canvas.width !== width || this.canvas.height !== height) { this.canvas.width = width; this.canvas.height = height; }
    this.picture.update(this.theme);
    clearTimeout(this.polishing);
    const drawn = this.picture.draw(this.context, width, height, this.ratio, this.theme), device = graphics();
    this.message.hidden = drawn;
    if (!drawn) this.message.textContent = device ? LOST : NO_WEBGL;
    if (drawn && device.software) this.polishing = setTimeout(() => this.polish(), 260);
    if (s.curves) this.curves.update(this.curves.el.clientWidth - 28);
    this.dirty = false; session.since = null;
    this.showCard();
    session.note({ drawn: { frame: s.frame, crystal: s.crystal, atoms: drawn ? this.picture.atoms.length : 0, ms: since === null ? 0 : Math.round(100 * (performance.now() - since)) / 100 } });
  }

  /** A promise of the next picture: what was drawn. */
  next() { return new Promise((done) => { const off = this.session.on((changed) => { if (changed.has("drawn")) { off(); done(this.session.drawn); } }); }); }

  /** Where the processor draws, smooth the picture once it is at rest. */
  polish() {
    const { width, height } = this.canvas;
    if (!this.ended && !this.session.state.playing && width * height < 4e6) this.picture.draw(this.context, width, height, this.ratio, this.theme, 2);
  }

  /** Words and buttons. */
  write(origin) {
    const { state: s, film, films } = this.session;
    this.controls.update();
    const title = s.label ? [s.label] : formula(film.formula), key = [s.label, film.formula, s.crystal, films.length].join("/");
    if (key !== this.headingKey) {
      this.headingKey = key;
      const move = (by) => () => this.session.set({ crystal: (s.crystal + by + films.length) % films.length, playing: false });
      const chooser = films.length > 1 ? [h("button", { type: "button", class: "dpv-small", "aria-label": "previous crystal", onclick: move(-1) }, "‹"), h("span", { class: "dpv-which" }, `${s.crystal + 1} / ${films.length}`), h("button", { type: "button", class: "dpv-small", "aria-label": "next crystal", onclick: move(1) }, "›")] : [];
      this.heading.replaceChildren(h("span", { class: `dpv-title${s.label.length > 32 ? " dpv-long" : ""}` }, title), ...chooser);
    }
    this.writeLegend();
    const words = spoken(film, s.frame);
    this.canvas.setAttribute("aria-label", `${film.formula}, ${film.atoms} atoms in the cell, ${words}`);
    if (!s.playing && origin !== "clock") { clearTimeout(this.speaking); this.speaking = setTimeout(() => { this.live.textContent = words; }, 350); }
  }

  writeLegend() {
    const { film, films, state, hidden } = this.session, here = new Set();
    for (const e of film.elements) here.add(e.z);
    const key = [state.crystal, state.palette, this.session.stamp, films.length, [...hidden], state.target, film.formula].join();
    if (key === this.legendKey) return;
    this.legendKey = key;
    this.picture.update("light");
    this.legend.replaceChildren(...film.elements.map((e) => h("button", { type: "button", class: "dpv-element", "aria-pressed": !hidden.has(e.z), title: `show or hide ${e.symbol}`, onclick: () => this.session.hide(e.z) },
      h("i", { style: `--c:${css(this.picture.colors.get(e.z))}` }), e.symbol)), ...(state.target && film.target.numbers?.length ? [h("span", { class: "dpv-element" }, h("i", { class: "dpv-hollow" }), "target")] : []));
  }

  // ---- an atom in the hand

  pick(index) {
    const p = index === undefined || index === null ? {} : this.picture.describe(index);
    this.session.set({ picked: p });
    if (p.element) this.live.textContent = `picked ${p.element}, index ${p.index}${p.frac ? `, at ${p.frac.join(", ")}` : ""}`;
  }

  showCard() {
    const { state: s, film } = this.session, i = s.picked?.index;
    if (!(i >= 0 && i < film.atoms)) { this.card.hidden = true; return; }
    const d = this.picture.describe(i), row = (k, v) => [h("span", {}, k), h("b", {}, v)];
    const rows = d.frac ? [row("fractional", d.frac.map((v) => number(v, 3)).join("  ")), row("x y z", d.cart.map((v) => number(v, 2)).join("  ") + " Å"), d.to_x0 === undefined ? [] : row("to predicted", `${number(d.to_x0, 2)} Å`), row(`to t = ${+(film.value("t", film.cleanest) ?? 0).toPrecision(6)}`, `${number(d.displacement, 2)} Å`)] : [row("position", "unknown in this frame")];
    if (!this.cardHead) { // made once: a button that is replaced at every picture cannot be clicked while the film plays
      this.cardHead = h("div", { class: "dpv-cardhead" }, h("i"), h("b"), h("span"), h("button", { type: "button", class: "dpv-small", "aria-label": "let the atom go", onclick: () => this.pick(null) }, "×"));
      this.cardRows = h("div", { class: "dpv-rows" });
      this.card.append(this.cardHead, this.cardRows);
    }
    const [ball, name, which] = this.cardHead.children;
    ball.style.setProperty("--c", css(this.picture.colors.get(film.number(s.frame, i)) ?? [0.6, 0.6, 0.6]));
    name.textContent = d.element; which.textContent = `index ${i}`;
    this.cardRows.replaceChildren(...rows.flat());
    this.card.hidden = false;
    if (JSON.stringify(d) !== JSON.stringify(s.picked)) this.session.note({ picked: d });
  }

  nextAtom(by) {
    const n = this.session.film.atoms, now = this.session.state.picked?.index;
    this.pick(now === undefined ? (by > 0 ? 0 : n - 1) : (now + by + n) % n);
  }

  // ---- keys

  key(e) {
    const { session } = this, s = session.state, name = e.composedPath()[0].tagName, last = session.film.frames - 1;
    if (e.ctrlKey || e.metaKey || e.altKey || name === "SELECT") return;
    if (name === "BUTTON" && (e.key === " " || e.key === "Enter")) return;
    const turn = 0.12, view = this.picture.view, then = () => this.refresh();
    const toggles = { w: "wrapped", g: "ghosts", b: "bonds", h: "polyhedra", x: "arrows", t: "trails", o: "target", a: "axes", l: "loop" };
    const act = {
      " ": () => last && session.toggle("playing"), Home: () => session.seek(0), End: () => session.seek(last), PageUp: () => session.step(-Math.max(1, Math.round(last / 10))), PageDown: () => session.step(Math.max(1, Math.round(last / 10))),
      ArrowLeft: () => (e.shiftKey ? (view.rotate(-turn, 0), then()) : session.step(-1)), ArrowRight: () => (e.shiftKey ? (view.rotate(turn, 0), then()) : session.step(1)),
      ArrowUp: () => e.shiftKey && (view.rotate(0, -turn), then()), ArrowDown: () => e.shiftKey && (view.rotate(0, turn), then()),
      "+": () => (view.scale(1.15), then()), "=": () => (view.scale(1.15), then()), "-": () => (view.scale(1 / 1.15), then()), r: () => this.reset(),
      p: () => session.set({ projection: s.projection === "perspective" ? "orthographic" : "perspective" }), c: () => session.set({ palette: s.palette === "safe" ? "jmol" : "safe" }),
      "[": () => this.nextAtom(-1), "]": () => this.nextAtom(1), Escape: () => this.pick(null), "?": () => this.controls.toggleHelp(), s: () => this.controls.toggleSettings(),
      ...Object.fromEntries([1, 2, 3].map((k) => [String(k), () => session.set({ supercell: k })])), ...Object.fromEntries(Object.entries(toggles).map(([k, v]) => [k, () => session.toggle(v)])),
    }[e.key];
    if (!act || (e.key.startsWith("Arrow") && !e.shiftKey && /Up|Down/.test(e.key))) return;
    act(); e.preventDefault(); e.stopPropagation();
  }

  reset() { this.picture.reset(this.aspect); this.refresh(); }
  full() { if (document.fullscreenElement) document.exitFullscreen(); else this.root.requestFullscreen?.().catch(() => {}); }

  // ---- a picture to keep

  /** A PNG of what is seen, with its name and its elements. */
  async png(scale = 2) {
    const width = Math.round(this.width * scale), height = Math.round(this.height * scale), canvas = h("canvas", { width, height }), layer = h("canvas", { width, height }), c = canvas.getContext("2d"), look = THEMES[this.theme ?? "light"];
    if (!this.width || !this.picture.draw(layer.getContext("2d"), width, height, scale, this.theme)) return null;
    c.fillStyle = css(look.back); c.fillRect(0, 0, width, height); c.drawImage(layer, 0, 0);
    c.fillStyle = look.ink; c.textBaseline = "middle"; c.font = `600 ${16 * scale}px system-ui, sans-serif`;
    c.fillText(this.heading.querySelector(".dpv-title").textContent, 14 * scale, 20 * scale);
    c.font = `${13 * scale}px system-ui, sans-serif`;
    this.session.film.elements.forEach((e, i) => {
      const y = (22 + 22 * i) * scale, x = width - 46 * scale;
      c.beginPath(); c.arc(x, y, 7 * scale, 0, 7); c.fillStyle = css(this.picture.colors.get(e.z)); c.fill(); c.strokeStyle = "rgba(0,0,0,.3)"; c.lineWidth = scale; c.stroke();
      c.fillStyle = look.ink; c.fillText(e.symbol, x + 13 * scale, y);
    });
    this.refresh();
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  }

  async save() {
    const blob = await this.png();
    if (!blob) return;
    this.keep(blob, "png");
  }

  /** The frame that is shown, for other programs. */
  saveCif() {
    const { film, state } = this.session, text = frameCif(film, state.frame);
    if (text === null) { this.live.textContent = "this frame has atoms without a place: no CIF"; return; }
    this.keep(new Blob([text], { type: "chemical/x-cif" }), "cif");
  }

  keep(blob, ending) {
    const link = h("a", { href: URL.createObjectURL(blob), download: `${this.session.film.formula}_${this.session.state.frame}.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 4000);
  }

  dispose() {
    this.ended = true;
    cancelAnimationFrame(this.frameRequest); clearTimeout(this.speaking); clearTimeout(this.polishing);
    for (const f of this.gone) f();
    this.session.detach(this);
    this.picture.dispose();
    this.root.remove();
  }
}
