// Closed-form checks of decoding and geometry, without a browser: node --test test/
import { test } from "node:test";
import assert from "node:assert/strict";
import { Film, frameCif } from "../src/film.js";
import { cart, copies, fade, halfBonds, heights, nearest, norm, shortest, toPredicted, trail, wrap } from "../src/periodic.js";
import { hull, polyhedra } from "../src/polyhedra.js";
import { Session } from "../src/session.js";

globalThis.requestAnimationFrame ??= () => 0;
globalThis.cancelAnimationFrame ??= () => {};

const STEPS = 65535, A = 4, cube = [[A, 0, 0], [0, A, 0], [0, 0, A]];
const LOOK = { 11: { symbol: "Na", bond: 1.66, metal: true }, 17: { symbol: "Cl", bond: 1.02, metal: false, en: 3.16 }, 38: { symbol: "Sr", bond: 1.95, metal: true }, 22: { symbol: "Ti", bond: 1.6, metal: true }, 8: { symbol: "O", bond: 0.66, metal: false, en: 3.44 } };

/** A film from paths[frame][atom] in unwrapped fractional coordinates. */
function film(paths, numbers = [11], lattice = cube, x0 = paths) {
  const F = paths.length, n = paths[0].length, flat = paths.flat(2), cells = flat.map(Math.floor), parts = {
    t: Float32Array.from(paths, (_, i) => F - 1 - i), place: Uint16Array.from(flat, (v, i) => (Number.isNaN(v) ? STEPS : Math.round((v - cells[i]) * STEPS))),
    x0: Uint16Array.from(x0.flat(2), (v) => Math.round(wrap(v) * STEPS)), cell: Int8Array.from(cells, (v) => (Number.isNaN(v) ? 0 : v)), numbers: Uint8Array.from(numbers), target: new Float32Array(0), target_numbers: new Uint8Array(0) };
  const kinds = { t: "f4", target: "f4", place: "u2", x0: "u2", cell: "i1", numbers: "u1", target_numbers: "u1" }, arrays = {}, chunks = [];
  let offset = 0;
  for (const [k, a] of Object.entries(parts).sort((p, q) => q[1].BYTES_PER_ELEMENT - p[1].BYTES_PER_ELEMENT)) {
    arrays[k] = { dtype: kinds[k], offset, shape: k === "numbers" ? [1, n] : [a.length] };
    chunks.push(Buffer.from(a.buffer)); offset += a.byteLength;
  }
  const all = Buffer.concat(chunks), buffer = all.buffer.slice(all.byteOffset, all.byteOffset + all.length);
  return new Film({ formula: "X", facts: [], lattice, elements: [...new Set(numbers)].map((z) => ({ z, radius: 0.5, color: "#888888", ...LOOK[z] })), frames: F, atoms: n, arrays }, buffer, STEPS);
}
const close = (a, b, eps = 1e-4) => assert.ok(Math.abs(a - b) < eps, `${a} is not ${b}`);

test("a film is read as it was written, between frames it is straight", () => {
  const f = film([[[0.25, -1.5, 3.75]], [[0.75, -0.5, 2.75]]]);
  for (const [k, v] of [0.25, -1.5, 3.75].entries()) close(f.coordinate(0, 0, k), v);
  for (const [k, v] of [0.5, -1, 3.25].entries()) close(f.at(0.5)[k], v);
  for (const [k, v] of [0.75, -0.5, 2.75].entries()) close(f.at(9)[k], v);
  assert.equal(f.cleanest, 1); assert.equal(f.value("t", 0), 1); assert.equal(f.value("noise", 0), null);
});

test("an unknown place stays unknown and is not drawn", () => {
  const f = film([[[NaN, NaN, NaN], [0.5, 0.5, 0.5]]], [11, 17]);
  assert.ok(Number.isNaN(f.coordinate(0, 0, 0)));
  assert.deepEqual(copies(f, 0).map((c) => c.atom), [1]);
});

test("frames can be appended, types may change with them", () => {
  const f = film([[[0.1, 0.2, 0.3]]]), bytes = Buffer.concat([Buffer.from(Uint16Array.of(6554, 0, 32768).buffer), Buffer.from(Uint16Array.of(0, 0, 0).buffer), Buffer.from(Int32Array.of(0, 200, -1).buffer), Buffer.from(Uint8Array.of(17))]);
  for (let i = 0; i < 5; i++) assert.equal(f.append({ atoms: 1, t: -i, noise: null }, bytes), i + 1);
  assert.equal(f.frames, 6); close(f.coordinate(5, 0, 0), 0.1); close(f.coordinate(5, 0, 1), 200); close(f.coordinate(5, 0, 2), -0.5);
  assert.equal(f.number(0, 0), 11); assert.equal(f.number(5, 0), 17); assert.equal(f.value("t", 5), -4);
  assert.throws(() => f.append({ atoms: 2 }, bytes), /2 atoms/);
});

test("wrapping, heights and the shortest vector in a skew cell", () => {
  assert.equal(wrap(-0.25), 0.75); assert.equal(wrap(-1e-17), 0); close(nearest(0.9), -0.1);
  const skew = [[4, 0, 0], [3, 1, 0], [0, 0, 5]];
  close(heights(skew)[1], 1); close(heights(skew)[2], 5); close(heights(cube)[0], 4);
  const best = norm(shortest(skew, [0.45, 0.45, 0]));
  let brute = Infinity;
  for (let i = -4; i <= 4; i++) for (let j = -4; j <= 4; j++) brute = Math.min(brute, norm(cart(skew, 0.45 + i, 0.45 + j, 0)));
  close(best, brute);
});

test("an atom on a corner is seen eight times, one in the middle once; ghosts fade with the distance", () => {
  const corner = copies(film([[[0, 0, 0]]]), 0);
  assert.equal(corner.length, 8); assert.ok(corner.every((c) => c.alpha === 1)); assert.equal(corner.filter((c) => c.home).length, 1);
  assert.equal(copies(film([[[0.5, 0.5, 0.5]]]), 0).length, 1);
  assert.equal(copies(film([[[0, 0, 0]]]), 0, { ghosts: false }).length, 1);
  assert.equal(copies(film([[[0.5, 0.5, 0.5]]]), 0, { supercell: 3 }).filter((c) => c.home).length, 27);
  assert.equal(fade(-1), 1); assert.equal(fade(9), 0); assert.ok(fade(0.2) > fade(0.5) && fade(0.5) > 0.2);
  for (let o = 0; o < 1; o += 0.001) assert.ok(Math.abs(fade(o + 0.001) - fade(o)) < 0.02);
});

test("wrapped atoms are inside, unwrapped ones where their path is", () => {
  const f = film([[[2.25, -0.75, 0.5]]]);
  copies(f, 0, { ghosts: false })[0].frac.forEach((v, k) => close(v, [0.25, 0.25, 0.5][k]));
  copies(f, 0, { wrapped: false })[0].frac.forEach((v, k) => close(v, [2.25, -0.75, 0.5][k]));
});

test("rock salt has six half bonds an atom, over the faces, and none between like atoms", () => {
  const a = 5.64, L = [[a, 0, 0], [0, a, 0], [0, 0, a]], na = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]], cl = na.map((p) => [wrap(p[0] + 0.5), p[1], p[2]]);
  const bonds = halfBonds(film([[...na, ...cl]], [11, 11, 11, 11, 17, 17, 17, 17], L), 0);
  assert.ok(bonds.every((b) => b.length === 6)); for (const b of bonds.flat()) close(norm(b), a / 4, 1e-3);
});

test("in a perovskite the octahedron is bonded and strontium stands free", () => {
  const a = 3.905, L = [[a, 0, 0], [0, a, 0], [0, 0, a]], f = film([[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]], [38, 22, 8, 8, 8], L);
  assert.deepEqual(halfBonds(f, 0).map((b) => b.length), [0, 6, 2, 2, 2]);
});

test("arrows take the nearest image of the predicted place", () => {
  const v = toPredicted(film([[[0.95, 0.5, 0.5]]], [11], cube, [[[0.05, 0.5, 0.5]]]), 0)[0];
  close(v[0], 0.1 * A, 1e-3); close(v[1], 0, 1e-3);
});

test("a trail through a face is drawn on both sides", () => {
  const f = film([[[0.9, 0.5, 0.5]], [[1.1, 0.5, 0.5]]]);
  const parts = trail(f, true);
  assert.deepEqual(parts.map((p) => p.alpha), [[1, 0], [0, 1]]); close(parts[0].a[0], 0.9 * A, 1e-3); close(parts[1].b[0], 0.1 * A, 1e-3);
  assert.equal(trail(f, false).length, 1);
  assert.ok(trail(film(Array.from({ length: 500 }, () => [[0, 0, 0]])), true, 100).length <= 101);
});

test("a session clamps, tells only what changed, and plays again from the start", () => {
  const s = new Session([film([[[0, 0, 0]], [[0, 0, 0]], [[0, 0, 0]]]), film([[[0, 0, 0]]])], { frame: 99, supercell: 9 }), told = [];
  assert.equal(s.state.frame, 2); assert.equal(s.state.supercell, 3); assert.equal(s.state.speed, 2);
  s.on((c, who) => told.push([[...c].sort().join(), who]));
  s.set({ frame: 2 }); assert.deepEqual(told, []);
  s.set({ frame: -5 }, "kernel"); s.set({ frame: 2 }); s.set({ playing: true });
  assert.deepEqual(told, [["frame", "kernel"], ["frame", "hand"], ["frame,playing", "hand"]]); assert.equal(s.state.frame, 0);
  s.set({ crystal: 1 }); assert.equal(s.position, 0);
  assert.equal(s.append({ crystal: 1, index: 3 }, null), false); assert.equal(s.append({ crystal: 1, index: 0 }, null), true);
});

test("a frame of another film is refused, so that the film is asked for", () => {
  const frame = (numbers) => { const n = numbers.length, bytes = new Uint8Array(25 * n); bytes.set(numbers, 24 * n); return bytes.buffer; };
  const s = new Session([film([[[0, 0, 0], [0.5, 0.5, 0.5]]], [11, 17])]), words = { crystal: 0, index: 1, atoms: 2, t: 0, noise: null };
  assert.equal(s.append(words, frame([11, 8])), false); // oxygen has no colour and no radius here
  assert.equal(s.append({ ...words, atoms: 3 }, frame([11, 17, 11])), false);
  assert.equal(s.film.frames, 1);
  assert.equal(s.append(words, frame([17, 11])), true);
  assert.equal(s.film.frames, 2);
});

test("a frame is written as a CIF, inside the cell", () => {
  const f = film([[[0, 0, 0], [-0.25, 1.5, 0.5]], [[0.5, 0, 0], [0.25, 0.5, 0.5]]], [11, 17], [[4, 0, 0], [0, 5, 0], [0, 3, 3]]), text = frameCif(f, 0);
  for (const line of ["_cell_length_c 4.242641", "_cell_angle_alpha 45.000000", "data_X_frame_0"]) assert.ok(text.includes(`${line}\n`), line);
  const words = text.split("\n").find((l) => l.startsWith("Cl Cl2 ")).split(" ");
  for (const [k, v] of [0.75, 0.5, 0.5].entries()) close(+words[2 + k], v);
  close(+frameCif(f, 1).match(/Na Na1 (\S+)/)[1], 0.5);
  assert.equal(frameCif(film([[[NaN, NaN, NaN]]]), 0), null);
});

test("a hull has flat faces, each edge once, and none where all is in one plane", () => {
  const signs = [-1, 1], cubeCorners = signs.flatMap((x) => signs.flatMap((y) => signs.map((z) => [x, y, z]))), octahedron = [0, 1, 2].flatMap((k) => signs.map((s) => [0, 1, 2].map((m) => (m === k ? s : 0))));
  const box = hull(cubeCorners), eight = hull(octahedron);
  assert.deepEqual([box.faces.length, box.edges.length], [6, 12]); close(box.volume, 8, 1e-9); assert.ok(box.faces.every((f) => f.length === 4));
  assert.deepEqual([eight.faces.length, eight.edges.length], [8, 12]); close(eight.volume, 4 / 3, 1e-9);
  eight.faces.forEach((f, i) => { const out = f.reduce((s, m) => s + octahedron[m].reduce((t, x, k) => t + x * eight.normals[i][k], 0), 0); assert.ok(out > 0); });
  assert.equal(hull(signs.flatMap((x) => signs.map((y) => [x, y, 0]))), null);
});

test("strontium titanate has one octahedron of six corners and eight faces", () => {
  const a = 3.905, L = [[a, 0, 0], [0, a, 0], [0, 0, a]], f = film([[[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]], [38, 22, 8, 8, 8], L);
  const found = polyhedra(f, 0);
  assert.deepEqual(found.map((p) => [p.atom, p.corners.length, p.faces.length, p.edges.length]), [[1, 6, 8, 12]]);
});
