// What is shown, apart from how: the films, the state, and the clock. One session may have several views.

export const DEFAULTS = {
  frame: 0, crystal: 0, playing: false, loop: false, speed: 0, wrapped: true, ghosts: true, bonds: false, polyhedra: false, arrows: false, trails: false, axes: true, target: false, curves: false,
  supercell: 1, projection: "orthographic", theme: "auto", palette: "jmol", height: 420, label: "", controls: true, picked: {},
};
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

export class Session {
  constructor(films, state = {}) {
    this.films = films;
    this.state = { ...DEFAULTS, ...state };
    this.hidden = new Set(); // atomic numbers that the legend switched off
    this.position = 0; // the moment, between frames while playing
    this.since = null; // when the picture was last wished to change
    this.drawn = {};
    this.listeners = new Set(); this.views = new Set();
    this.timer = 0; this.last = 0;
    this.settle();
    this.position = this.state.frame;
  }

  get film() { return this.films[this.state.crystal]; }

  /** Keep crystal and frame within what there is. */
  settle() {
    const s = this.state;
    s.crystal = clamp(Math.round(s.crystal) || 0, 0, this.films.length - 1);
    s.frame = clamp(Math.round(s.frame) || 0, 0, this.film.frames - 1);
    s.speed = clamp(+s.speed || clamp(this.film.frames / 6, 2, 250), 0.1, 1000); // a film lasts about six seconds
    s.supercell = clamp(Math.round(s.supercell) || 1, 1, 3);
  }

  /** Change the state; `origin` says who wishes it, so that nobody is told what he said. */
  set(patch, origin = "hand") {
    const before = { ...this.state };
    Object.assign(this.state, patch);
    this.settle();
    const changed = new Set(Object.keys(this.state).filter((k) => this.state[k] !== before[k]));
    if (changed.has("frame") && origin !== "clock") this.position = this.state.frame;
    if (changed.has("crystal")) this.position = this.state.frame;
    if (changed.has("playing")) {
      if (this.state.playing && this.position >= this.film.frames - 1) { this.position = 0; if (this.state.frame) { this.state.frame = 0; changed.add("frame"); } }
      if (!this.state.playing) this.position = this.state.frame;
    }
    if (changed.size) this.tell(changed, origin);
    this.tick();
    return changed;
  }

  tell(changed, origin) {
    this.since ??= performance.now();
    for (const f of [...this.listeners]) f(changed, origin);
  }

  on(listener) { this.listeners.add(listener); return () => this.listeners.delete(listener); }

  replace(films, origin = "kernel") {
    this.films = films;
    this.settle();
    this.position = this.state.frame;
    this.tell(new Set(["films", "frame", "crystal"]), origin);
  }

  /** A frame came in; false if one before it is missing, or if it belongs to a film that is not here yet. */
  append(words, data) {
    const film = this.films[words.crystal];
    if (!film || words.index > film.frames) return false;
    if (words.index < film.frames) return true; // known already
    if (!film.takes(words, data)) return false;
    film.append(words, data);
    this.tell(new Set(["grown"]), "kernel");
    return true;
  }

  seek(frame) { this.set({ frame: clamp(Math.round(frame), 0, this.film.frames - 1), playing: false }); }
  step(by) { this.seek(this.state.frame + by); }
  toggle(name) { this.set({ [name]: !this.state[name] }); }
  hide(z) { if (!this.hidden.delete(z)) this.hidden.add(z); this.tell(new Set(["hidden"]), "hand"); }

  /** A view says what it has really drawn, or what became of the picked atom; nothing has to be drawn for it. */
  note(patch) {
    if ("drawn" in patch) this.drawn = patch.drawn;
    if ("picked" in patch) this.state.picked = patch.picked;
    for (const f of [...this.listeners]) f(new Set(Object.keys(patch)), "view");
  }

  // ---- the clock runs only while something plays where somebody sees it

  attach(view) { this.views.add(view); this.tick(); }
  detach(view) { this.views.delete(view); if (!this.views.size) this.stop(); }
  stop() { cancelAnimationFrame(this.timer); this.timer = 0; this.last = 0; }

  tick() {
    if (!this.state.playing) { this.stop(); return; }
    if (this.timer || ![...this.views].some((v) => v.visible)) return;
    this.timer = requestAnimationFrame((now) => {
      this.timer = 0;
      if (!this.state.playing) { this.last = 0; return; }
      const dt = this.last ? Math.min(now - this.last, 250) / 1000 : 0, end = this.film.frames - 1;
      this.last = now;
      let p = this.position + dt * this.state.speed;
      if (p >= end) {
        if (this.state.loop && end > 0) p = this.position >= end ? 0 : end;
        else { this.position = end; this.last = 0; this.set({ frame: end, playing: false }, "clock"); this.tell(new Set(["position"]), "clock"); return; }
      }
      this.position = p;
      const frame = Math.round(p);
      if (frame !== this.state.frame) this.set({ frame }, "clock");
      this.tell(new Set(["position"]), "clock");
      this.tick();
    });
  }
}
