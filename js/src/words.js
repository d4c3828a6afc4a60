// What the player says, in one place.

export const number = (v, digits = 3) => (v === null || !Number.isFinite(v) ? "–" : v.toFixed(digits));
export const time = (v) => (v === null ? "–" : String(+v.toPrecision(6)));

/** The line beside the slider: time, noise, distance. */
export function reading(film, frame) {
  const said = [`t = ${time(film.value("t", frame))}`], noise = film.value("noise", frame), far = film.value("distance", frame);
  if (noise !== null) said.push(`noise ${noise.toFixed(3)}`);
  if (far !== null) said.push(`${far.toFixed(2)} Å from target`);
  return said.join(" · ");
}

export const spoken = (film, frame) => `frame ${frame + 1} of ${film.frames}, ${reading(film, frame).replaceAll(" · ", ", ").replace("Å", "ångström")}`;

export const TOGGLES = [
  ["wrapped", "Wrap", "w", "Keep every atom inside the cell; off, atoms follow their unwrapped paths"],
  ["ghosts", "Ghosts", "g", "Periodic images near the faces of the cell"],
  ["bonds", "Bonds", "b", "Bonds by distance, over all faces"],
  ["polyhedra", "Polyhedra", "h", "Coordination polyhedra: an atom inside its more electronegative neighbours"],
  ["arrows", "Arrows", "x", "Arrows to the clean places the network predicts at this moment"],
  ["trails", "Trails", "t", "The paths the atoms came along"],
  ["target", "Target", "o", "Outlines of the true crystal"],
  ["axes", "Axes", "a", "The axes a, b, c of the cell"],
];

export const KEYS = [
  ["space", "play or pause"], ["← →", "one frame back or forward"], ["page ↑ ↓", "a tenth of the film"], ["home end", "first or last frame"], ["shift + arrows", "turn the crystal"], ["+ −", "zoom"],
  ["r", "reset the view"], ["p", "perspective or orthographic"], ["c", "colours for all readers"], ["l", "loop"], ["1 2 3", "repeat the cell"], ["s", "settings"], ["[ ]", "pick an atom"], ["esc", "let it go"],
  ...TOGGLES.map(([, name, key]) => [key, name.toLowerCase()]),
];

export function cellWords(L) {
  const n = L.map((v) => Math.hypot(...v)), dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const angle = [[1, 2], [0, 2], [0, 1]].map(([i, j]) => (Math.acos(Math.min(Math.max(dot(L[i], L[j]) / (n[i] * n[j]), -1), 1)) * 180) / Math.PI);
  return `a, b, c = ${n.map((x) => x.toFixed(3)).join(", ")} Å · α, β, γ = ${angle.map((x) => x.toFixed(1)).join(", ")}°`;
}
