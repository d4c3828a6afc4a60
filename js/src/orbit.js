// Hands on the picture: drag to turn, right or shift drag to shift, wheel or pinch to zoom, a click to pick.

export function orbit(stage, picture, { changed, pick, focused }) {
  const pointers = new Map();
  let moved = 0, pinch = null, start = 0;
  const size = () => stage.getBoundingClientRect();
  const two = () => { const [p, q] = [...pointers.values()]; return { gap: Math.hypot(p.x - q.x, p.y - q.y), x: (p.x + q.x) / 2, y: (p.y + q.y) / 2, angle: Math.atan2(q.y - p.y, q.x - p.x) }; };
  const down = (e) => {
    if (e.target.closest("button, select, a")) return;
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(e.pointerId);
    pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
    if (pointers.size === 1) { moved = 0; start = performance.now(); }
    if (pointers.size === 2) { pinch = two(); moved = 99; }
  };
  const move = (e) => {
    const p = pointers.get(e.pointerId);
    if (!p) return;
    const dx = e.clientX - p.x, dy = e.clientY - p.y, box = size();
    p.x = e.clientX; p.y = e.clientY;
    moved += Math.abs(dx) + Math.abs(dy);
    if (pointers.size === 2) {
      const now = two();
      picture.view.scale(now.gap / Math.max(pinch.gap, 1));
      picture.view.pan((now.x - pinch.x) / box.height, (now.y - pinch.y) / box.height);
      picture.view.rotate(0, 0, now.angle - pinch.angle);
      pinch = now;
    } else if (e.buttons & 2 || e.buttons & 4 || e.shiftKey) picture.view.pan(dx / box.height, dy / box.height);
    else picture.view.rotate((dx / box.height) * 4.2, (dy / box.height) * 4.2);
    changed();
  };
  const up = (e) => {
    if (!pointers.delete(e.pointerId)) return;
    if (moved < 5 && e.type === "pointerup" && e.button === 0 && performance.now() - start < 700) {
      const box = size();
      pick(((e.clientX - box.left) / box.width) * 2 - 1, 1 - ((e.clientY - box.top) / box.height) * 2);
    }
  };
  const wheel = (e) => { // the page scrolls on unless the player was touched
    if (!focused() && !e.ctrlKey) return;
    e.preventDefault();
    picture.view.scale(Math.exp(-Math.min(Math.max(e.deltaY * (e.deltaMode ? 18 : 1), -160), 160) * 0.0022));
    changed();
  };
  const menu = (e) => e.preventDefault();
  const all = { pointerdown: down, pointermove: move, pointerup: up, pointercancel: up, contextmenu: menu };
  for (const [k, f] of Object.entries(all)) stage.addEventListener(k, f);
  stage.addEventListener("wheel", wheel, { passive: false });
}
