// Many copies of one shape in one call: an instanced geometry whose buffers grow when needed.
import { BufferAttribute, DoubleSide, DynamicDrawUsage, FrontSide, GLSL3, InstancedBufferAttribute, InstancedBufferGeometry, IcosahedronGeometry, Mesh, RawShaderMaterial } from "three";

export class Batch {
  /** `layout`: attribute name -> numbers an instance. */
  constructor(shader, positions, index, layout, uniforms, options = {}) {
    this.layout = layout; this.capacity = 0; this.count = 0;
    this.geometry = new InstancedBufferGeometry();
    this.geometry.setAttribute("position", new BufferAttribute(positions, 3));
    if (index) this.geometry.setIndex(new BufferAttribute(index, 1));
    this.material = new RawShaderMaterial({ ...shader, uniforms, glslVersion: GLSL3, transparent: true, side: index?.length === 6 ? DoubleSide : FrontSide, ...options });
    this.mesh = new Mesh(this.geometry, this.material);
    this.mesh.frustumCulled = false; this.mesh.matrixAutoUpdate = false;
    this.reserve(16);
  }

  reserve(count) {
    if (count <= this.capacity) return;
    this.capacity = Math.max(count, 2 * this.capacity);
    this.arrays = {};
    for (const [name, size] of Object.entries(this.layout)) {
      this.arrays[name] = new Float32Array(this.capacity * size);
      const a = new InstancedBufferAttribute(this.arrays[name], size);
      a.setUsage(DynamicDrawUsage);
      this.geometry.setAttribute(name, a);
    }
    this.geometry.dispose(); // the old buffers go; the next drawing makes new ones
  }

  begin(most) { this.reserve(most); this.count = 0; }

  /** One instance: values in the order of the layout. */
  add(...values) {
    let v = 0;
    for (const [name, size] of Object.entries(this.layout)) {
      const to = this.arrays[name], o = this.count * size;
      for (let i = 0; i < size; i++) to[o + i] = values[v++];
    }
    this.count++;
  }

  end() {
    this.geometry.instanceCount = this.count;
    this.mesh.visible = this.count > 0;
    for (const [name, size] of Object.entries(this.layout)) {
      const a = this.geometry.getAttribute(name);
      a.clearUpdateRanges(); a.addUpdateRange(0, this.count * size); a.needsUpdate = true;
    }
  }

  dispose() { this.geometry.dispose(); this.material.dispose(); }
}

/** The half of a sphere that a reader can see: corners and triangles. */
export function dome(detail) {
  const full = new IcosahedronGeometry(1, detail).getAttribute("position").array, corners = [], index = [], known = new Map();
  for (let i = 0; i < full.length; i += 9) if (Math.max(full[i + 2], full[i + 5], full[i + 8]) > -0.25) for (let k = i; k < i + 9; k += 3) {
    const p = full.slice(k, k + 3), key = p.map((x) => Math.round(x * 1e5)).join();
    if (!known.has(key)) { known.set(key, known.size); corners.push(...p); }
    index.push(known.get(key));
  }
  return [new Float32Array(corners), new Uint16Array(index)];
}

/** A tube of `sides`, with a cone on its end where `head`. */
export function tube(sides, head) {
  const p = [], index = [], rows = head ? [0, 1, 2, 3] : [0, 1];
  for (const stage of rows) for (let i = 0; i < sides; i++) p.push(Math.cos((2 * Math.PI * i) / sides), Math.sin((2 * Math.PI * i) / sides), stage);
  for (const r of head ? [0, 2] : [0]) for (let i = 0; i < sides; i++) {
    const a = r * sides + i, b = r * sides + ((i + 1) % sides);
    index.push(a, b, a + sides, b, b + sides, a + sides);
  }
  return [new Float32Array(p), new Uint16Array(index)];
}

export const THREE = [new Float32Array([0, 0, 0, 1, 0, 0, 2, 0, 0]), null]; // a triangle whose corners come with each instance
export const QUAD = [new Float32Array([-0.5, 0, 0, 0.5, 0, 0, -0.5, 1, 0, 0.5, 1, 0]), new Uint16Array([0, 1, 2, 1, 3, 2])];
export const SQUARE = [new Float32Array([-1, -1, 0, 1, -1, 0, -1, 1, 0, 1, 1, 0]), new Uint16Array([0, 1, 2, 1, 3, 2])];
