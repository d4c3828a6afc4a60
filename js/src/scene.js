// The picture: a film at a moment becomes spheres, rods, lines and rings, and these become pixels.
import { DoubleSide, Scene, Vector2, Vector3 } from "three";
import { Batch, QUAD, SQUARE, THREE, dome, tube } from "./batch.js";
import { View } from "./camera.js";
import { THEMES, css, elementColors, mix } from "./colors.js";
import { graphics } from "./gl.js";
import { cart, copies, dot, halfBonds, norm, shortest, toPredicted, trail } from "./periodic.js";
import { polyhedra } from "./polyhedra.js";
import * as shaders from "./shaders.js";

const DETAIL = [3, 5, 8, 12]; // roundness: the rim of a sphere of 30, 60, 140, 300 pixels is off by less than a third of a pixel

/** How round spheres must be: by their size on the screen, less when there are many. */
function roundness(pixels, many) {
  const wanted = 0.81 * Math.sqrt(pixels) - 1, most = many > 900 ? 3 : many > 250 ? 5 : 12;
  return Math.min(DETAIL.find((d) => d >= wanted) ?? 12, most);
}
const corners = (S) => [0, S].flatMap((i) => [0, S].flatMap((j) => [0, S].map((k) => [i, j, k])));

export class Picture {
  constructor(session) {
    this.session = session; this.view = new View(); this.scene = new Scene(); this.atoms = []; this.solids = []; this.bonds = null; this.trailKey = "";
    this.shared = { back: { value: new Vector3() }, depth: { value: new Vector2(10, 5) }, perspective: { value: 0 }, pixels: { value: new Vector2(1, 1) }, scale: { value: 1 } };
    const u = (more = {}) => ({ ...this.shared, ...Object.fromEntries(Object.entries(more).map(([k, v]) => [k, { value: v }])) });
    const body = { center: 4, color: 4 }, stick = { start: 4, along: 4, color: 4 }, stroke = { from: 3, to: 3, color: 4, span: 4 };
    const add = (name, order, batch) => { this[name] = batch; batch.mesh.renderOrder = order; this.scene.add(batch.mesh); };
    this.makeSpheres = (d, order) => { const b = new Batch(shaders.sphere, ...dome(d), body, u()); b.mesh.renderOrder = order; this.scene.add(b.mesh); return b; };
    add("solidBonds", 1, new Batch(shaders.rod, ...tube(14, false), stick, u({ head: 0, lift: 0 })));
    add("arrows", 2, new Batch(shaders.rod, ...tube(14, true), stick, u({ head: 0.34, lift: 0 })));
    add("edges", 3, new Batch(shaders.line, ...QUAD, stroke, u({ width: 1.6, now: 0, memory: 0 })));
    add("axes", 4, new Batch(shaders.line, ...QUAD, stroke, u({ width: 3.2, now: 0, memory: 0 })));
    add("trails", 5, new Batch(shaders.line, ...QUAD, stroke, u({ width: 2, now: 0, memory: 1 }), { depthWrite: false }));
    add("target", 6, new Batch(shaders.ring, ...SQUARE, body, u({ width: 2.4, lift: 0 }), { depthWrite: false }));
    add("ghostBonds", 7, new Batch(shaders.rod, ...tube(14, false), stick, u({ head: 0, lift: 0 }), { depthWrite: false }));
    const seethrough = { depthWrite: false, side: DoubleSide };
    add("farEdges", 7.2, new Batch(shaders.line, ...QUAD, stroke, u({ width: 1.2, now: 0, memory: 0 }), seethrough));
    add("facets", 8.3, new Batch(shaders.facet, ...THREE, { p0: 3, p1: 3, p2: 3, normal: 3, color: 4 }, u(), seethrough));
    add("nearEdges", 8.6, new Batch(shaders.line, ...QUAD, stroke, u({ width: 1.8, now: 0, memory: 0 }), seethrough));
    add("pick", 9, new Batch(shaders.ring, ...SQUARE, body, u({ width: 3, lift: 0 }), { depthWrite: false, depthTest: false }));
    this.levels = new Map();
  }

  dispose() {
    for (const b of [this.solidBonds, this.arrows, this.edges, this.axes, this.trails, this.target, this.ghostBonds, this.pick, this.farEdges, this.facets, this.nearEdges, ...[...this.levels.values()].flat()]) b.dispose();
    this.scene.clear();
  }

  get film() { return this.session.film; }
  get widest() { return Math.max(...this.film.elements.map((e) => e.radius)); }

  /** Points that must be seen: the cell, and the paths where they are not wrapped. */
  extent() {
    const { wrapped, supercell } = this.session.state, f = this.film, L = f.lattice, points = [...corners(supercell).map((c) => cart(L, ...c)), ...L.map((v) => v.map((x) => x * (1 + 0.95 / Math.max(norm(v), 1e-9))))];
    if (this.session.state.polyhedra) points.push(...this.reach());
    if (wrapped) return points;
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity], every = Math.max(1, Math.floor(f.frames / 200));
    for (let i = 0; i < f.frames; i += every) for (let a = 0; a < f.atoms; a++) {
      const p = cart(L, f.coordinate(i, a, 0), f.coordinate(i, a, 1), f.coordinate(i, a, 2));
      for (let k = 0; k < 3; k++) if (Number.isFinite(p[k])) { low[k] = Math.min(low[k], p[k]); high[k] = Math.max(high[k], p[k]); }
    }
    if (!Number.isFinite(low[0])) return points;
    const far = cart(L, supercell - 1, supercell - 1, supercell - 1).map((v) => Math.max(v, 0));
    return [...points, ...corners(1).map((c) => c.map((v, k) => (v ? high[k] + far[k] : low[k])))];
  }

  /** Corners of the polyhedra of the cleanest frame. */
  reach() {
    const { film, session } = this, L = film.lattice, { wrapped, ghosts, supercell } = session.state, found = new Map(polyhedra(film, film.cleanest).map((b) => [b.atom, b.corners]));
    return copies(film, film.cleanest, { wrapped, ghosts, supercell, hidden: session.hidden }).filter((c) => c.alpha > 0.5).flatMap((c) => (found.get(c.atom) ?? []).map((n) => cart(L, ...c.frac).map((x, k) => x + n.v[k])));
  }

  reset(aspect) { this.orient(); this.refit(aspect); }
  refit(aspect) { this.view.fit(this.extent(), aspect, 0.15 + this.widest); }

  /** The usual view of a crystal: a towards the reader, b to the right, c up. */
  orient() {
    const L = this.film.lattice, unit = (v) => v.map((x) => x / Math.max(norm(v), 1e-9)), [a, b, c] = L.map(unit);
    this.view.look([0, 1, 2].map((k) => 1.55 * a[k] + 0.72 * b[k] + 0.55 * c[k]), c);
  }

  /** Look down one of the axes of the cell. */
  along(axis) { const L = this.film.lattice; this.view.look(L[axis], L[axis === 2 ? 1 : 2]); }

  /** Fill all buffers for the present moment. */
  update(theme) {
    const { session } = this, s = session.state, film = this.film, L = film.lattice, look = THEMES[theme], p = session.position;
    this.colors = elementColors(session.films, s.palette);
    const element = new Map(film.elements.map((e) => [e.z, e])), frame = Math.min(Math.round(p), film.frames - 1);
    this.shared.back.value.set(...look.back);
    this.atoms = copies(film, p, { wrapped: s.wrapped, ghosts: s.ghosts, supercell: s.supercell, hidden: session.hidden }).map((c) => {
      const z = film.number(frame, c.atom), e = element.get(z);
      return { ...c, z, at: cart(L, ...c.frac), radius: e.radius, color: this.colors.get(z), symbol: e.symbol };
    });
    this.solids = s.polyhedra ? this.bodies(p) : [];
    this.bonds = s.bonds ? halfBonds(film, p) : null;
    for (const b of [this.solidBonds, this.ghostBonds]) b.begin(this.bonds ? this.atoms.reduce((n, a) => n + this.bonds[a.atom].length, 0) : 0);
    if (this.bonds) {
      const key = (p) => p.map((x) => Math.round(x * 50)).join(), met = new Map(this.atoms.map((a) => [key(a.at), a.alpha]));
      const partner = (a, v) => { // how solid the atom at the other end is drawn, 0 where it is not
        const q = a.at.map((x, k) => (x + 2 * v[k]) * 50), low = q.map(Math.floor);
        for (let n = 0; n < 8; n++) { const found = met.get(`${low[0] + (n & 1)},${low[1] + ((n >> 1) & 1)},${low[2] + (n >> 2)}`); if (found) return found; }
        return 0;
      };
      for (const a of this.atoms) for (const v of this.bonds[a.atom]) {
        const end = partner(a, v) > 0.2 ? 1 : 0;
        (end && a.alpha > 0.995 ? this.solidBonds : this.ghostBonds).add(...a.at, Math.min(0.11, 0.5 * a.radius), ...v, end, ...a.color, a.alpha);
      }
    }
    this.solidBonds.end(); this.ghostBonds.end();
    const home = this.atoms.filter((a) => a.home && a.alpha > 0.5);
    this.arrows.begin(home.length); this.arrows.material.uniforms.lift.value = this.widest; // a short arrow is seen on its ball
    if (s.arrows) { const to = toPredicted(film, p); for (const a of home) if (norm(to[a.atom]) > 0.06) this.arrows.add(...a.at, 0.05, ...to[a.atom], 1, ...look.arrow, 1); }
    this.arrows.end();
    this.outline(look);
    this.memories(look, p);
    this.target.begin(0);
    if (s.target && film.target.numbers?.length) this.targetRings(element, look);
    this.target.end();
    const picked = this.atoms.filter((a) => a.atom === s.picked?.index && a.alpha > 0.2);
    this.pick.begin(picked.length);
    for (const a of picked) this.pick.add(...a.at, a.radius * 1.12 + 0.06, ...look.pick, a.alpha);
    this.pick.end();
  }

  /** Polyhedra around the atoms that are drawn; a corner at which no atom is drawn yet gets one, as faint as its centre. */
  bodies(p) {
    const found = new Map(polyhedra(this.film, p).map((b) => [b.atom, b])), key = (at) => at.map((x) => Math.round(x * 20)).join(), out = [];
    const met = new Map(this.atoms.map((a) => [key(a.at), a])), element = new Map(this.film.elements.map((e) => [e.z, e])), frame = Math.min(Math.round(p), this.film.frames - 1);
    for (const a of [...this.atoms]) {
      const body = found.get(a.atom);
      if (!body || a.alpha < 0.05) continue;
      out.push({ ...body, at: a.at, color: a.color, alpha: a.alpha });
      for (const c of body.corners) {
        const z = this.film.number(frame, c.to), at = a.at.map((x, k) => x + c.v[k]), there = met.get(key(at));
        if (this.session.hidden.has(z)) continue;
        if (there) { there.alpha = Math.max(there.alpha, a.alpha); continue; }
        const e = element.get(z), atom = { atom: c.to, frac: a.frac.map((x, k) => x + c.frac[k]), alpha: a.alpha, home: false, z, at, radius: e.radius, color: this.colors.get(z), symbol: e.symbol };
        met.set(key(at), atom); this.atoms.push(atom);
      }
    }
    return out;
  }

  /** Faces from back to front, and edges before and behind them. */
  facetsInOrder(camera, theme) {
    const e = camera.matrixWorldInverse.elements, deep = (v) => e[2] * v[0] + e[6] * v[1] + e[10] * v[2], eye = camera.position.toArray(), flat = this.session.state.projection !== "perspective", look = THEMES[theme], whole = [0, 0, 1, 1];
    const triangles = [], lines = [];
    for (const s of this.solids) {
      const corner = s.corners.map((c) => c.v.map((x, k) => x + s.at[k])), near = s.faces.map((f, i) => (flat ? deep(s.normals[i]) > 0 : dot(s.normals[i], eye.map((x, k) => x - corner[f[0]][k])) > 0));
      s.faces.forEach((f, i) => { const depth = f.reduce((n, m) => n + deep(corner[m]), 0) / f.length; for (let m = 1; m + 1 < f.length; m++) triangles.push([depth, corner[f[0]], corner[f[m]], corner[f[m + 1]], s.normals[i], s]); });
      for (const [a, b, i, j] of s.edges) lines.push([near[i] || near[j], corner[a], corner[b], mix(s.color, look.arrow, 0.55), s.alpha]);
    }
    triangles.sort((x, y) => x[0] - y[0]);
    this.facets.begin(triangles.length); this.nearEdges.begin(lines.length); this.farEdges.begin(lines.length);
    for (const [, a, b, c, normal, s] of triangles) this.facets.add(...a, ...b, ...c, ...normal, ...mix(s.color, look.arrow, look.tint), look.solid * s.alpha);
    for (const [near, a, b, color, alpha] of lines) (near ? this.nearEdges : this.farEdges).add(...a, ...b, ...color, (near ? 0.9 : 0.6) * alpha, ...whole);
    this.facets.end(); this.nearEdges.end(); this.farEdges.end();
  }

  outline(look) {
    const { supercell: S, axes } = this.session.state, L = this.film.lattice;
    this.edges.begin(12 * S ** 3); this.axes.begin(3);
    const whole = [0, 0, 1, 1];
    for (let axis = 0; axis < 3; axis++) {
      const [j, k] = [0, 1, 2].filter((x) => x !== axis);
      for (let p = 0; p <= S; p++) for (let q = 0; q <= S; q++) {
        const from = [0, 0, 0], to = [0, 0, 0];
        from[j] = to[j] = p; from[k] = to[k] = q; to[axis] = S;
        const outer = p % S === 0 && q % S === 0;
        if (axes && !p && !q) from[axis] = 1; // the axis itself is drawn there
        if (from[axis] === S) continue;
        this.edges.add(...cart(L, ...from), ...cart(L, ...to), ...look.cell, outer ? 0.95 : 0.3, ...whole);
      }
      if (axes) { const v = L[axis], n = norm(v); this.axes.add(0, 0, 0, ...v.map((x) => x * (1 + (0.3 + this.widest) / n)), ...look.axes[axis], 1, ...whole); }
    }
    this.edges.end(); this.axes.end();
  }

  memories(look, p) {
    const s = this.session.state, film = this.film, key = [s.trails, s.crystal, s.wrapped, film.frames, s.palette, [...this.session.hidden], this.session.stamp].join();
    this.trails.material.uniforms.now.value = p; this.trails.material.uniforms.memory.value = Math.max(0.12 * film.frames, 1.5);
    if (key === this.trailKey) return;
    this.trailKey = key;
    const parts = s.trails ? trail(film, s.wrapped, graphics()?.software ? 5000 : 24000) : [];
    this.trails.begin(parts.length);
    for (const t of parts) {
      const z = film.number(t.t[1], t.atom);
      if (!this.session.hidden.has(z)) this.trails.add(...t.a, ...t.b, ...mix(this.colors.get(z), look.arrow, 0.25), 1, ...t.t, ...t.alpha);
    }
    this.trails.end();
  }

  targetRings(element, look) {
    const film = this.film, { frac, numbers } = film.target, still = { ...film, frames: 1, atoms: numbers.length, number: (_, i) => numbers[i], at: () => frac, coordinate: (_, i, k) => frac[3 * i + k] };
    const { supercell, ghosts } = this.session.state, all = copies(still, 0, { ghosts, supercell, hidden: this.session.hidden });
    this.target.begin(all.length);
    for (const c of all) {
      const e = element.get(numbers[c.atom]);
      this.target.add(...cart(film.lattice, ...c.frac), 1.08 * e.radius + 0.04, ...mix(this.colors.get(numbers[c.atom]), look.arrow, 0.35), 0.9 * c.alpha);
    }
  }

  /** Spheres, in the order in which they must be drawn: solid ones from front to back, which hides most pixels before they are lit, then ghosts from back to front. */
  order(camera) {
    const n = this.atoms.length, detail = roundness(this.widest * this.shared.scale.value, n);
    for (const [d, pair] of this.levels) if (d !== detail) for (const b of pair) b.mesh.visible = false;
    if (!this.levels.has(detail)) this.levels.set(detail, [this.makeSpheres(detail, 0), this.makeSpheres(detail, 8)]);
    const [solid, ghost] = this.levels.get(detail), e = camera.matrixWorldInverse.elements;
    for (const a of this.atoms) a.depth = e[2] * a.at[0] + e[6] * a.at[1] + e[10] * a.at[2];
    solid.begin(n); ghost.begin(n);
    const sorted = [...this.atoms].sort((x, y) => x.depth - y.depth);
    for (const a of sorted) if (a.alpha <= 0.995) ghost.add(...a.at, a.radius, ...a.color, a.alpha);
    for (const a of sorted.reverse()) if (a.alpha > 0.995) solid.add(...a.at, a.radius, ...a.color, 1);
    solid.end(); ghost.end();
  }

  /** Draw into a flat canvas, `fine` times finer and averaged; false where there is no device. */
  draw(context, width, height, ratio, theme, fine = 1) {
    const device = graphics(), s = this.session.state;
    if (!device || device.lost || width < 1 || height < 1) return false;
    const camera = this.camera = this.view.camera(s.projection, width / height), u = this.shared;
    u.depth.value.set(this.view.distance, this.view.radius); u.perspective.value = s.projection === "perspective" ? 1 : 0;
    u.pixels.value.set(width / 2, height / 2); // lines keep their width in the finer picture too
    u.scale.value = (height / 2 / this.view.half) * this.view.zoom;
    for (const [b, w] of [[this.edges, 1.6], [this.axes, 3.2], [this.trails, 2], [this.target, 2.4], [this.pick, 3], [this.farEdges, 1.2], [this.nearEdges, 1.8]]) b.material.uniforms.width.value = w * ratio;
    this.order(camera); this.facetsInOrder(camera, theme);
    device.draw(this.scene, camera, context, width, height, fine);
    this.letters(context, width, height, ratio, theme);
    return true;
  }

  /** Pixels of a point (Å). */
  project(point, width, height) {
    const v = new Vector3(...point).project(this.camera);
    return [(0.5 + 0.5 * v.x) * width, (0.5 - 0.5 * v.y) * height];
  }

  letters(context, width, height, ratio, theme) {
    const look = THEMES[theme], { axes, palette } = this.session.state, L = this.film.lattice;
    context.textAlign = "center"; context.textBaseline = "middle"; context.lineJoin = "round";
    const write = (text, at, color, size, weight) => {
      context.font = `${weight} ${size * ratio}px system-ui, sans-serif`;
      context.lineWidth = 3.5 * ratio; context.strokeStyle = look.halo; context.strokeText(text, ...at);
      context.fillStyle = color; context.fillText(text, ...at);
    };
    if (axes && height > 90 * ratio) for (let k = 0; k < 3; k++) {
      const n = norm(L[k]), tip = this.project(L[k].map((x) => x * (1 + (0.62 + this.widest) / n)), width, height);
      write("abc"[k], tip, css(look.axes[k]), 16, "italic 600");
    }
    if (palette === "safe" && this.atoms.length <= 160) for (const a of this.atoms) if (a.alpha > 0.6 && this.seen(a)) {
      const px = a.radius * this.shared.scale.value;
      if (px > 7 * ratio) write(a.symbol, this.project(a.at, width, height), look.ink, Math.min(0.8 * px / ratio, 15), "600");
    }
  }

  /** Is the middle of a sphere in front of all others? */
  seen(atom) {
    const e = this.camera.matrixWorldInverse.elements, flat = (p) => [e[0] * p[0] + e[4] * p[1] + e[8] * p[2], e[1] * p[0] + e[5] * p[1] + e[9] * p[2]], [x, y] = flat(atom.at);
    return this.atoms.every((o) => o === atom || o.alpha < 0.5 || o.depth <= atom.depth || Math.hypot(flat(o.at)[0] - x, flat(o.at)[1] - y) > 0.8 * o.radius);
  }

  /** The atom under a point of the picture (-1..1, y up), the nearest first; null where there is none. */
  hit(x, y) {
    if (!this.camera) return null;
    const near = new Vector3(x, y, -1).unproject(this.camera), ray = new Vector3(x, y, 1).unproject(this.camera).sub(near).normalize();
    let best = null, first = Infinity;
    for (const a of this.atoms) {
      if (a.alpha < 0.15) continue;
      const c = new Vector3(...a.at).sub(near), t = c.dot(ray), d2 = c.lengthSq() - t * t;
      if (d2 <= a.radius ** 2 && t - Math.sqrt(a.radius ** 2 - d2) < first) { first = t - Math.sqrt(a.radius ** 2 - d2); best = a; }
    }
    return best;
  }

  /** What can be said of an atom at this moment. */
  describe(index) {
    const film = this.film, { position, state } = this.session, frame = Math.min(Math.round(position), film.frames - 1);
    if (!(index >= 0 && index < film.atoms)) return {};
    const shown = this.atoms.find((a) => a.atom === index && a.home) ?? this.atoms.find((a) => a.atom === index), z = film.number(frame, index), digits = (v, d) => Math.round(v * 10 ** d) / 10 ** d;
    const u = [0, 1, 2].map((k) => film.coordinate(frame, index, k)), frac = shown ? shown.frac : u;
    if (!frac.every(Number.isFinite)) return { index, element: film.elements.find((e) => e.z === z)?.symbol ?? "?" };
    const clean = [0, 1, 2].map((k) => film.coordinate(film.cleanest, index, k) - u[k]), x0 = film.predicted(frame), ahead = [0, 1, 2].map((k) => x0[3 * index + k] - u[k]);
    const out = { index, element: film.elements.find((e) => e.z === z).symbol, frac: frac.map((v) => digits(v, 4)), cart: cart(film.lattice, ...frac).map((v) => digits(v, 3)), displacement: digits(norm(cart(film.lattice, ...clean)), 3) };
    if (ahead.every(Number.isFinite)) out.to_x0 = digits(norm(shortest(film.lattice, ahead)), 3);
    return out;
  }
}
