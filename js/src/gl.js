// One WebGL device for all players of a page: browsers allow only a few, and a notebook may show many players.
import { WebGLRenderer } from "three";

let device = null;

export const NO_WEBGL = "This browser offers no WebGL 2, so atoms cannot be drawn here; time and all controls still work. Switch on hardware acceleration, or use another browser.";
export const LOST = "The graphics device was lost (too many 3D pages, or the computer slept). It comes back by itself; if it does not, reload the page.";

/** Does the processor draw instead of a graphics card? Then smoothing waits until the picture is at rest. */
function isSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2");
  if (!gl) return false;
  const told = gl.getExtension("WEBGL_debug_renderer_info"), name = String(gl.getParameter(told ? told.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(name);
}

class Device {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.watchers = new Set(); this.lost = false; this.width = 0; this.height = 0;
    this.software = isSoftware();
    const antialias = !this.software, context = this.canvas.getContext("webgl2", { alpha: true, antialias, premultipliedAlpha: true });
    if (!context) throw new Error(NO_WEBGL);
    this.canvas.addEventListener("webglcontextlost", (e) => { e.preventDefault(); this.lost = true; this.tell(); });
    this.canvas.addEventListener("webglcontextrestored", () => { this.lost = false; this.tell(); });
    this.renderer = new WebGLRenderer({ canvas: this.canvas, context, antialias, alpha: true });
    this.renderer.setPixelRatio(1);
    this.renderer.setClearColor(0x000000, 0);
    this.renderer.autoClear = false;
  }

  tell() { for (const f of [...this.watchers]) f(); }

  /** Draw a scene and copy it to a flat canvas of the page; `fine` times as many pixels are drawn and averaged. */
  draw(scene, camera, context, width, height, fine = 1) {
    const flat = [width, height];
    width *= fine; height *= fine;
    if (width > this.width || height > this.height) {
      this.width = Math.max(this.width, width); this.height = Math.max(this.height, height);
      this.renderer.setSize(this.width, this.height, false);
    }
    this.renderer.setViewport(0, 0, width, height);
    this.renderer.setScissor(0, 0, width, height);
    this.renderer.setScissorTest(true);
    this.renderer.clear();
    this.renderer.render(scene, camera);
    context.clearRect(0, 0, ...flat);
    context.drawImage(this.canvas, 0, this.height - height, width, height, 0, 0, ...flat);
  }
}

/** The device of this page, or null where there is none. */
export function graphics() {
  try { device ??= new Device(); } catch { return null; }
  return device;
}
