// A film as it travels: one header of words, one block of bytes. See `pack` in dpcdvae/plot.py.

const READERS = { f4: Float32Array, u2: Uint16Array, i4: Int32Array, i2: Int16Array, i1: Int8Array, u1: Uint8Array };

/** An ArrayBuffer that starts where the bytes start, whatever the transport handed over. */
export function asBuffer(data) {
  if (data instanceof ArrayBuffer) return data;
  if (ArrayBuffer.isView(data)) return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  throw new TypeError("The film's bytes are missing.");
}

export function fromBase64(text) {
  const raw = atob(text.trim()), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
}

/** All films of a header. */
export function readFilms(header, data) {
  if (header.version !== 1) throw new Error(`This player reads films of version 1, not ${header.version}.`);
  const buffer = asBuffer(data);
  return header.films.map((entry) => new Film(entry, buffer, header.steps));
}

const grow = (array, length) => {
  if (array.length >= length) return array;
  const bigger = new array.constructor(Math.max(length, 2 * array.length));
  bigger.set(array);
  return bigger;
};

/** One film: unwrapped paths, predicted clean places, elements, and what changes with time. Frames may be appended. */
export class Film {
  constructor(entry, buffer, steps) {
    Object.assign(this, { steps, formula: entry.formula, facts: entry.facts, lattice: entry.lattice, elements: entry.elements, frames: entry.frames, atoms: entry.atoms });
    const read = (name) => {
      const a = entry.arrays[name];
      return a ? new READERS[a.dtype](buffer, a.offset, a.shape.reduce((x, y) => x * y, 1)) : null;
    };
    this.place = read("place"); this.x0 = read("x0"); this.cell = Int32Array.from(read("cell")); this.numbers = read("numbers");
    this.constantTypes = entry.arrays.numbers.shape[0] === 1;
    this.series = {};
    for (const name of ["t", "noise", "alpha_bar", "distance"]) if (entry.arrays[name]) this.series[name] = read(name);
    this.target = { frac: read("target"), numbers: read("target_numbers") };
    this.cleanest = this.findCleanest();
  }

  /** The frame nearest to t = 0: where displacements are measured from. */
  findCleanest() {
    const { t } = this.series;
    let best = this.frames - 1;
    for (let i = this.frames - 1; i >= 0; i--) if (t[i] < t[best]) best = i;
    return best;
  }

  number(frame, atom) {
    return this.numbers[(this.constantTypes ? 0 : frame) * this.atoms + atom];
  }

  value(name, frame) {
    const s = this.series[name];
    return s && frame < this.frames && Number.isFinite(s[frame]) ? s[frame] : null;
  }

  /** Unwrapped fractional coordinate of one atom in one frame; nan where unknown. */
  coordinate(frame, atom, axis) {
    const k = 3 * (frame * this.atoms + atom) + axis;
    return this.place[k] === this.steps ? NaN : this.place[k] / this.steps + this.cell[k];
  }

  /** Where every atom is between two frames. Atoms move straight from frame to frame. */
  at(position, out = new Float64Array(3 * this.atoms)) {
    const i = Math.min(Math.max(Math.floor(position), 0), this.frames - 1), j = Math.min(i + 1, this.frames - 1), f = Math.min(Math.max(position - i, 0), 1);
    for (let k = 0; k < 3 * this.atoms; k++) {
      const a = this.coordinate(i, 0, k), b = f > 0 ? this.coordinate(j, 0, k) : a;
      out[k] = f > 0 && Number.isFinite(b) ? a + f * (b - a) : a;
    }
    return out;
  }

  /** Predicted clean place, wrapped; nan where unknown. */
  predicted(frame, out = new Float64Array(3 * this.atoms)) {
    for (let k = 0, o = 3 * frame * this.atoms; k < 3 * this.atoms; k++) out[k] = this.x0[o + k] === this.steps ? NaN : this.x0[o + k] / this.steps;
    return out;
  }

  /** Whether a frame can belong to this film: as many atoms, and elements that its header describes. */
  takes(words, data) {
    const n = this.atoms, known = new Set(this.elements.map((e) => e.z));
    return words.atoms === n && new Uint8Array(asBuffer(data), 24 * n, n).every((z) => known.has(z));
  }

  /** Add one frame; `bytes` holds place, x0 (uint16), cell (int32) and numbers (uint8). */
  append(words, data) {
    const n = this.atoms;
    if (words.atoms !== n) throw new Error(`The new frame has ${words.atoms} atoms, the film ${n}.`);
    const buffer = asBuffer(data), f = this.frames, at = 3 * n * f;
    const part = (Kind, offset, count) => new Kind(buffer.slice(offset, offset + count * Kind.BYTES_PER_ELEMENT));
    if (this.constantTypes) {
      const all = new Uint8Array(n * (f + 1));
      for (let i = 0; i <= f; i++) all.set(this.numbers.subarray(0, n), i * n);
      this.numbers = all; this.constantTypes = false;
    }
    for (const [name, piece, size] of [["place", part(Uint16Array, 0, 3 * n), 3], ["x0", part(Uint16Array, 6 * n, 3 * n), 3], ["cell", part(Int32Array, 12 * n, 3 * n), 3], ["numbers", part(Uint8Array, 24 * n, n), 1]]) {
      this[name] = grow(this[name], (f + 1) * n * size);
      this[name].set(piece, size === 3 ? at : n * f);
    }
    for (const name of Object.keys(this.series)) {
      this.series[name] = grow(this.series[name], f + 1);
      this.series[name][f] = words[name] ?? NaN;
    }
    this.frames = f + 1;
    this.cleanest = this.findCleanest();
    return f;
  }
}

const size = (v) => Math.hypot(...v), between = (v, w) => (Math.acos(Math.min(Math.max(v.reduce((n, x, k) => n + x * w[k], 0) / (size(v) * size(w)), -1), 1)) * 180) / Math.PI;

/** One frame as a CIF in P 1, atoms inside the cell; null where a place is unknown. */
export function frameCif(film, frame) {
  const L = film.lattice, symbols = new Map(film.elements.map((e) => [e.z, e.symbol])), lines = [], inside = (x) => (x - Math.floor(x)).toFixed(6).replace(/^1\./, "0.");
  for (let a = 0; a < film.atoms; a++) {
    const x = [0, 1, 2].map((k) => film.coordinate(frame, a, k)), symbol = symbols.get(film.number(frame, a));
    if (!x.every(Number.isFinite) || !symbol) return null;
    lines.push(`${symbol} ${symbol}${a + 1} ${x.map(inside).join(" ")} 1.0`);
  }
  const cell = [...["a", "b", "c"].map((k, i) => `_cell_length_${k} ${size(L[i]).toFixed(6)}`), ...[["alpha", 1, 2], ["beta", 0, 2], ["gamma", 0, 1]].map(([k, i, j]) => `_cell_angle_${k} ${between(L[i], L[j]).toFixed(6)}`)];
  const head = [`data_${film.formula}_frame_${frame}`, "_symmetry_space_group_name_H-M 'P 1'", "_symmetry_Int_Tables_number 1", ...cell];
  const sites = ["type_symbol", "label", "fract_x", "fract_y", "fract_z", "occupancy"].map((k) => `_atom_site_${k}`);
  return [...head, "loop_", "_symmetry_equiv_pos_site_id", "_symmetry_equiv_pos_as_xyz", "1 'x, y, z'", "loop_", ...sites, ...lines, ""].join("\n");
}
