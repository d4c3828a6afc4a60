// What changes with time, as small curves: signal, noise, distance to the target. A click jumps there.
import { h, svg } from "./dom.js";
import { time } from "./words.js";

const KINDS = [["alpha_bar", "ᾱ signal left", "dpv-c1", false], ["noise", "noise level", "dpv-c2", false], ["distance", "distance to target (Å)", "dpv-c3", true]];
const PAD = { left: 40, right: 44, top: 8, bottom: 24 }, HEIGHT = 132;

/** Round steps that cover 0 to `top`. */
export function steps(top, many = 3) {
  const raw = top / many, ten = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 2.5, 5, 10].map((m) => m * ten).find((v) => v >= raw * 0.999);
  return Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, i) => +(i * step).toPrecision(6));
}

export class Curves {
  constructor(session) {
    this.session = session;
    this.plot = svg("svg", { class: "dpv-plot", height: HEIGHT, role: "img" });
    this.legend = h("div", { class: "dpv-plotlegend", "aria-hidden": "true" });
    this.el = h("div", { class: "dpv-curves" }, this.legend, this.plot);
    const seek = (e) => {
      const box = this.plot.getBoundingClientRect(), f = (e.clientX - box.left - PAD.left) / Math.max(box.width - PAD.left - PAD.right, 1);
      session.seek(Math.min(Math.max(f, 0), 1) * (session.film.frames - 1));
    };
    this.plot.addEventListener("pointerdown", (e) => { if (e.button === 0) { this.plot.setPointerCapture(e.pointerId); seek(e); } });
    this.plot.addEventListener("pointermove", (e) => { if (e.buttons & 1) seek(e); });
  }

  build(width) {
    const film = this.session.film, found = KINDS.filter(([k]) => film.series[k] && film.series[k].subarray(0, film.frames).some(Number.isFinite));
    this.width = width; this.found = found;
    const inner = width - PAD.left - PAD.right, tall = HEIGHT - PAD.top - PAD.bottom, last = Math.max(film.frames - 1, 1);
    const top = (right) => { let m = 0; for (const [k, , , r] of found) if (r === right) for (let i = 0; i < film.frames; i++) { const v = film.value(k, i); if (v !== null && v > m) m = v; } return m || 1; };
    this.top = [top(false), top(true)];
    this.x = (i) => PAD.left + (inner * i) / last;
    this.y = (v, right) => PAD.top + tall * (1 - v / (this.top[+right] * 1.04));
    const parts = [];
    for (const right of [false, true]) if (found.some(([, , , r]) => r === right)) for (const v of steps(this.top[+right])) {
      if (!right) parts.push(svg("line", { class: "dpv-grid", x1: PAD.left, x2: width - PAD.right, y1: this.y(v, right), y2: this.y(v, right) }));
      parts.push(svg("text", { x: right ? width - PAD.right + 6 : PAD.left - 6, y: this.y(v, right) + 4, "text-anchor": right ? "start" : "end" }, String(v) + (right && v && v === steps(this.top[1]).at(-1) ? " Å" : "")));
    }
    const many = Math.min(5, film.frames - 1) || 1;
    for (let k = 0; k <= many; k++) { const i = Math.round((k * (film.frames - 1)) / many); if (k && film.frames < 2) break; parts.push(svg("text", { x: this.x(i), y: HEIGHT - 6, "text-anchor": "middle" }, (k ? "" : "t = ") + time(film.value("t", i)))); }
    for (const [k, , look, right] of found) {
      let d = "", pen = false, every = Math.max(1, Math.floor(film.frames / 600));
      for (let i = 0; i < film.frames; i += i + every < film.frames || i === film.frames - 1 ? every : film.frames - 1 - i) { const v = film.value(k, i); if (v === null) { pen = false; continue; } d += `${pen ? "L" : "M"}${this.x(i).toFixed(1)} ${this.y(v, right).toFixed(1)}`; pen = true; }
      parts.push(svg("path", { class: `dpv-curve ${look}`, d }));
    }
    this.marker = svg("line", { class: "dpv-marker", y1: PAD.top, y2: HEIGHT - PAD.bottom });
    this.dots = found.map(([, , look]) => svg("circle", { class: `dpv-dot ${look}`, r: 4.5 }));
    this.plot.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`); this.plot.setAttribute("width", width);
    this.plot.replaceChildren(...parts, this.marker, ...this.dots);
    this.plot.setAttribute("aria-label", `Curves over time: ${found.map(([, n]) => n).join(", ")}`);
    this.legend.replaceChildren(...found.map(([, n, look]) => h("span", { class: look }, h("i"), n)));
  }

  /** Move the marker; rebuild when the film, its length or the width changed. */
  update(width) {
    const { film, state, position } = this.session, key = [width, film.frames, state.crystal, this.session.stamp].join();
    if (width < 120) return;
    if (key !== this.key) { this.key = key; this.build(width); }
    const p = Math.min(position, film.frames - 1), x = this.x(p), i = Math.floor(p), f = p - i;
    this.marker.setAttribute("x1", x); this.marker.setAttribute("x2", x);
    this.found.forEach(([k, , , right], q) => {
      const a = film.value(k, i), b = f > 0 ? film.value(k, i + 1) : a, v = a === null ? null : b === null ? a : a + f * (b - a);
      this.dots[q].style.display = v === null ? "none" : "";
      if (v !== null) { this.dots[q].setAttribute("cx", x); this.dots[q].setAttribute("cy", this.y(v, right)); }
    });
  }
}
