// Coordination polyhedra: the convex hull of the more electronegative neighbours of an atom.
import { cross, dot, neighbors, norm } from "./periodic.js";

const FLAT = 0.02, LEAST = 0.3, MOST = 24; // corners that lie in one face (Å); smallest volume (Å^3); corners of a pile of noise that is not worth a hull
const minus = (p, q) => p.map((x, k) => x - q[k]);

/** Convex hull of a few points: faces (corners in order, seen from outside), their outward normals, edges [corner, corner, face, face], volume; null where it is flat. */
export function hull(points) {
  const n = points.length, faces = [], normals = [], known = new Set();
  for (let i = 0; i < n; i++) for (let j = i + 1; j < n; j++) for (let k = j + 1; k < n; k++) {
    const c = cross(minus(points[j], points[i]), minus(points[k], points[i])), size = norm(c);
    if (size < 1e-6) continue;
    const normal = c.map((x) => x / size), out = points.map((p) => dot(minus(p, points[i]), normal)), high = Math.max(...out) > FLAT;
    if (high && Math.min(...out) < -FLAT) continue;
    const outward = high ? normal.map((x) => -x) : normal, flat = out.flatMap((d, m) => (Math.abs(d) <= FLAT ? [m] : [])), key = flat.join();
    if (known.has(key)) continue;
    known.add(key); faces.push(inOrder(points, flat, outward)); normals.push(outward);
  }
  const middle = [0, 1, 2].map((k) => points.reduce((s, p) => s + p[k], 0) / n);
  let volume = 0;
  faces.forEach((f, i) => { for (let m = 1; m + 1 < f.length; m++) volume += Math.abs(dot(minus(points[f[0]], middle), cross(minus(points[f[m]], points[f[0]]), minus(points[f[m + 1]], points[f[0]])))) / 6; });
  return volume < LEAST ? null : { faces, normals, edges: edges(faces), volume };
}

/** Corners of one face around its middle, counter-clockwise from outside. */
function inOrder(points, flat, normal) {
  const middle = [0, 1, 2].map((k) => flat.reduce((s, m) => s + points[m][k], 0) / flat.length), x = minus(points[flat[0]], middle), y = cross(normal, x);
  const angle = new Map(flat.map((m) => { const d = minus(points[m], middle); return [m, Math.atan2(dot(d, y), dot(d, x))]; }));
  return [...flat].sort((a, b) => angle.get(a) - angle.get(b));
}

function edges(faces) {
  const met = new Map();
  faces.forEach((f, i) => f.forEach((a, m) => {
    const b = f[(m + 1) % f.length], key = `${Math.min(a, b)},${Math.max(a, b)}`;
    if (met.has(key)) met.get(key)[3] = i; else met.set(key, [a, b, i, i]);
  }));
  return [...met.values()];
}

/**
 * Polyhedra at a moment: {atom, corners: [{to, v, frac}], faces, normals, edges, volume}. `dpcdvae.viz.polyhedra.coordination_polyhedra` is the same rule.
 * All neighbours of a centre are more electronegative than it, at least four, and not in one plane. Where some have at most eight corners, larger ones, which would hide them, are left out.
 */
export function polyhedra(film, position) {
  const bonds = neighbors(film, position), frame = Math.min(Math.round(position), film.frames - 1), en = new Map(film.elements.map((e) => [e.z, e.en ?? 0])), of = (i) => en.get(film.number(frame, i));
  const found = bonds.flatMap((corners, atom) => {
    if (corners.length < 4 || corners.length > MOST || corners.some((c) => of(c.to) <= of(atom))) return [];
    const body = hull(corners.map((c) => c.v));
    return body ? [{ atom, corners, ...body }] : [];
  });
  return found.some((p) => p.corners.length <= 8) ? found.filter((p) => p.corners.length <= 8) : found;
}
