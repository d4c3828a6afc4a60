// Where the reader stands: a turn, a zoom, and a shift from home, where the crystal is in the middle of the picture. Orthographic or in perspective.
import { Matrix4, OrthographicCamera, PerspectiveCamera, Quaternion, Vector3 } from "three";

const FIELD = 26; // degrees of view in perspective
const vector = (v) => new Vector3(v[0], v[1], v[2]);

export class View {
  constructor() {
    this.turn = new Quaternion(); this.zoom = 1; this.shift = new Vector3(); this.home = new Vector3(); this.center = new Vector3(); this.half = 5; this.radius = 5;
    this.flat = new OrthographicCamera(); this.deep = new PerspectiveCamera(FIELD);
  }

  /** Look from a direction (Å, any length), with another one upwards. */
  look(from, up) {
    const eye = vector(from).normalize();
    let top = vector(up);
    if (top.clone().cross(eye).length() < 1e-3 * top.length()) top = new Vector3(eye.z, eye.x, eye.y);
    this.turn.setFromRotationMatrix(new Matrix4().lookAt(eye, new Vector3(), top));
  }

  /** Make points (Å) fill the picture. */
  fit(points, aspect, margin = 0.9) {
    const box = [new Vector3(Infinity, Infinity, Infinity), new Vector3(-Infinity, -Infinity, -Infinity)], back = this.turn.clone().invert();
    for (const p of points) { box[0].min(vector(p)); box[1].max(vector(p)); }
    this.center = box[0].clone().add(box[1]).multiplyScalar(0.5);
    const low = new Vector3(Infinity, Infinity, Infinity), high = new Vector3(-Infinity, -Infinity, -Infinity); // as they are seen
    let far = 0;
    for (const p of points) {
      const v = vector(p).sub(this.center), q = v.clone().applyQuaternion(back);
      low.min(q); high.max(q); far = Math.max(far, v.length());
    }
    this.home = low.clone().add(high).multiplyScalar(0.5).setZ(0);
    this.radius = far + margin;
    this.half = Math.max((high.y - low.y) / 2 + margin, ((high.x - low.x) / 2 + margin) / Math.max(aspect, 0.2), 0.56 * this.radius);
    this.zoom = 1; this.shift.set(0, 0, 0);
  }

  /** Turn by a drag, in radians. */
  rotate(dx, dy, roll = 0) {
    const by = new Quaternion().setFromAxisAngle(new Vector3(0, 1, 0), -dx).multiply(new Quaternion().setFromAxisAngle(new Vector3(1, 0, 0), -dy)).multiply(new Quaternion().setFromAxisAngle(new Vector3(0, 0, 1), roll));
    this.turn.multiply(by).normalize();
  }

  /** Shift by a drag, in parts of the height of the picture. */
  pan(dx, dy) { this.shift.add(new Vector3(-dx, dy, 0).multiplyScalar((2 * this.half) / this.zoom)); }
  scale(factor) { this.zoom = Math.min(Math.max(this.zoom * factor, 0.15), 12); }

  /** The camera of three.js for this place. */
  camera(projection, aspect) {
    const deep = projection === "perspective", half = (this.half / this.zoom) * (deep ? 1.14 : 1), c = deep ? this.deep : this.flat;
    const far = deep ? half / Math.tan((FIELD * Math.PI) / 360) : 4 * this.radius + 4 * this.half;
    const middle = this.center.clone().add(this.home.clone().add(this.shift).applyQuaternion(this.turn));
    c.position.copy(middle).add(new Vector3(0, 0, far).applyQuaternion(this.turn));
    c.quaternion.copy(this.turn);
    if (deep) { c.aspect = aspect; c.near = Math.max(far - 3 * this.radius, 0.02 * far); } else { c.left = -half * aspect; c.right = half * aspect; c.top = half; c.bottom = -half; c.near = 0.01; }
    c.far = far + 6 * this.radius;
    c.updateProjectionMatrix(); c.updateMatrixWorld();
    this.distance = far;
    return c;
  }
}
