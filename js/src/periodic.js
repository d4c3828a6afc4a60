// The geometry of a crystal: rows a, b, c of the lattice in Å; fractional coordinates live on a torus.

export const cart = (L, x, y, z) => [x * L[0][0] + y * L[1][0] + z * L[2][0], x * L[0][1] + y * L[1][1] + z * L[2][1], x * L[0][2] + y * L[1][2] + z * L[2][2]];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const norm = (v) => Math.hypot(v[0], v[1], v[2]);
export const wrap = (x) => { const w = x - Math.floor(x); return w < 1 ? w : 0; };
/** Difference on the circle, from -1/2 to 1/2. */
export const nearest = (d) => d - Math.round(d);

/** Distance between opposite faces of the cell, along each axis. */
export function heights(L) {
  const faces = [cross(L[1], L[2]), cross(L[2], L[0]), cross(L[0], L[1])];
  const volume = Math.abs(L[0][0] * faces[0][0] + L[0][1] * faces[0][1] + L[0][2] * faces[0][2]);
  return faces.map((f) => volume / Math.max(norm(f), 1e-9));
}

export const GHOST = 0.34, REACH = 0.85, SOFT = 0.4; // opacity of a ghost; how far out ghosts are seen; where they turn solid (Å)
const smooth = (x) => { const c = Math.min(Math.max(x, 0), 1); return c * c * (3 - 2 * c); };

/** Opacity of an image that lies `out` Å outside the cell: solid at the face, a ghost further out, nothing beyond reach. It has no jump, so an atom that crosses a face fades. */
export function fade(out, reach = REACH) {
  if (out <= 0) return 1;
  if (out >= reach) return 0;
  const soft = Math.min(SOFT, 0.6 * reach);
  return (1 - (1 - GHOST) * smooth(out / soft)) * (1 - smooth((out - 0.75 * reach) / (0.25 * reach)));
}

/**
 * What is drawn at a moment: a list of {atom, frac, alpha, home}, home for the copies that stand for the atom itself.
 * Wrapped, an atom is inside the cell; with ghosts its images near the faces are seen too, without them it fades over while it crosses.
 */
export function copies(film, position, { wrapped = true, ghosts = true, supercell = 1, hidden = null } = {}) {
  const S = supercell, H = heights(film.lattice), u = film.at(position), frame = Math.min(Math.floor(position + 1e-9), film.frames - 1);
  const f = position - frame, out = [];
  const push = (atom, x, y, z, alpha, home) => { if (alpha > 0.004) out.push({ atom, frac: [x, y, z], alpha, home }); };
  const inside = (atom, x, y, z, alpha, home) => { for (let i = 0; i < S; i++) for (let j = 0; j < S; j++) for (let k = 0; k < S; k++) push(atom, x + i, y + j, z + k, alpha, home); };
  for (let a = 0; a < film.atoms; a++) {
    const x = u[3 * a], y = u[3 * a + 1], z = u[3 * a + 2];
    if (!Number.isFinite(x + y + z) || hidden?.has(film.number(frame, a))) continue;
    if (!wrapped) { inside(a, x, y, z, 1, true); continue; }
    const w = [wrap(x), wrap(y), wrap(z)];
    if (ghosts) {
      const options = w.map((c, axis) => {
        const found = [], reach = Math.min(REACH, 0.5 * H[axis]);
        for (let n = -1; n <= S; n++) {
          const far = Math.max(-(c + n), c + n - S, 0) * H[axis];
          if (far < reach) found.push([c + n, far / reach, n >= 0 && n < S]);
        }
        return found;
      });
      for (const [p, o, inP] of options[0]) for (const [q, e, inQ] of options[1]) for (const [r, g, inR] of options[2]) push(a, p, q, r, fade(REACH * Math.hypot(o, e, g)), inP && inQ && inR);
    } else if (f > 1e-6) {
      const before = [0, 1, 2].map((k) => Math.floor(film.coordinate(frame, a, k))), next = Math.min(frame + 1, film.frames - 1);
      const after = [0, 1, 2].map((k) => Math.floor(film.coordinate(next, a, k)));
      if (after.every((c, k) => c === before[k] || Number.isNaN(c))) { inside(a, x - before[0], y - before[1], z - before[2], 1, true); continue; }
      inside(a, x - before[0], y - before[1], z - before[2], 1 - smooth(f), f < 0.5);
      inside(a, x - after[0], y - after[1], z - after[2], smooth(f), f >= 0.5);
    } else inside(a, w[0], w[1], w[2], 1, true);
  }
  return out;
}

const SPECTATORS = new Set([3, 11, 19, 37, 55, 87, 20, 38, 56, 88]); // alkali and heavy alkaline-earth metals

const TOLERANCE = 1.1, IONIC = 1.2; // longest bond over the sum of covalent radii; between a metal and a non-metal (Pb-I is 1.10 to 1.13 in halide perovskites)

/**
 * Bonded neighbours of every atom: {to, v, frac}, the vector from the atom in Å and fractional, over all faces. `dpcdvae.viz.polyhedra.bonded_neighbors` is the same rule.
 * Where there are non-metals, metals are not bonded to each other; and where other metals hold the frame, as in a perovskite, alkali and alkaline-earth metals stand free in it.
 */
export function neighbors(film, position) {
  const L = film.lattice, H = heights(L), u = film.at(position), of = elementsAt(film, position), n = film.atoms;
  const salt = of.some((e) => !e.metal && e.bond), framed = salt && of.some((e) => e.metal && !SPECTATORS.has(e.z)), longest = 2 * IONIC * Math.max(...of.map((e) => e.bond));
  const range = H.map((h) => Math.min(Math.ceil(longest / h + 0.5), 3)), found = Array.from({ length: n }, () => []);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) {
    if (!of[i].bond || !of[j].bond || (salt && of[i].metal && of[j].metal) || (framed && (SPECTATORS.has(of[i].z) || SPECTATORS.has(of[j].z)))) continue;
    const limit = (of[i].metal === of[j].metal ? TOLERANCE : IONIC) * (of[i].bond + of[j].bond), d = [0, 1, 2].map((k) => nearest(u[3 * j + k] - u[3 * i + k]));
    if (d.some(Number.isNaN)) continue;
    for (let p = -range[0]; p <= range[0]; p++) for (let q = -range[1]; q <= range[1]; q++) for (let r = -range[2]; r <= range[2]; r++) {
      if (i === j && !(p || q || r)) continue;
      const frac = [d[0] + p, d[1] + q, d[2] + r], v = cart(L, ...frac), long = norm(v);
      if (long > limit || long < 0.3) continue;
      found[i].push({ to: j, v, frac });
      if (i !== j) found[j].push({ to: i, v: v.map((c) => -c), frac: frac.map((c) => -c) });
    }
  }
  return found;
}

/** How each atom is drawn and bonded at a moment. */
function elementsAt(film, position) {
  const look = new Map(film.elements.map((e) => [e.z, e])), frame = Math.min(Math.round(position), film.frames - 1);
  return Array.from({ length: film.atoms }, (_, i) => look.get(film.number(frame, i)));
}

/** Half bonds of every atom: vectors (Å) to the middle of each bond. */
export const halfBonds = (film, position) => neighbors(film, position).map((all) => all.map((b) => b.v.map((c) => c / 2)));

/** Vectors (Å) from every atom to the nearest image of its predicted clean place. */
export function toPredicted(film, position) {
  const u = film.at(position), x0 = film.predicted(Math.min(Math.round(position), film.frames - 1)), out = [];
  for (let a = 0; a < film.atoms; a++) out.push(shortest(film.lattice, [0, 1, 2].map((k) => x0[3 * a + k] - u[3 * a + k])));
  return out;
}

/** The shortest of the vectors (Å) that differ by whole cells from a fractional one. In skew cells rounding is not enough, so neighbours are tried. */
export function shortest(L, delta) {
  const d = delta.map(nearest);
  let best = cart(L, ...d);
  for (let p = -1; p <= 1; p++) for (let q = -1; q <= 1; q++) for (let r = -1; r <= 1; r++) {
    const v = cart(L, d[0] + p, d[1] + q, d[2] + r);
    if (norm(v) < norm(best) - 1e-9) best = v;
  }
  return best;
}

/** Broken line of a path for the trails: [from, to, frame, opacity at both ends]; wrapped, a step through a face is drawn on both sides and fades there. */
export function trail(film, wrapped, limit = 24000) {
  const stride = Math.max(1, Math.ceil((film.frames * film.atoms) / limit)), out = [], L = film.lattice;
  const stops = [];
  for (let i = 0; i < film.frames; i += stride) stops.push(i);
  if (stops.at(-1) !== film.frames - 1) stops.push(film.frames - 1);
  for (let a = 0; a < film.atoms; a++) for (let s = 0; s + 1 < stops.length; s++) {
    const i = stops[s], j = stops[s + 1], p = [0, 1, 2].map((k) => film.coordinate(i, a, k)), q = [0, 1, 2].map((k) => film.coordinate(j, a, k));
    if (p.some(Number.isNaN) || q.some(Number.isNaN)) continue;
    const c = wrapped ? p.map(Math.floor) : [0, 0, 0], e = wrapped ? q.map(Math.floor) : c, same = c.every((v, k) => v === e[k]);
    const add = (cell, from, to) => out.push({ atom: a, a: cart(L, ...p.map((v, k) => v - cell[k])), b: cart(L, ...q.map((v, k) => v - cell[k])), t: [i, j], alpha: [from, to] });
    if (same) add(c, 1, 1); else { add(c, 1, 0); add(e, 0, 1); }
  }
  return out;
}
