// Colours of elements and of the surroundings.

export const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
export const css = (c, alpha = 1) => `rgba(${c.map((v) => Math.round(255 * v)).join(",")},${alpha})`;
export const mix = (a, b, f) => a.map((v, i) => v + f * (b[i] - v));

// Eight colours that readers with any kind of colour vision can tell apart (Okabe and Ito 2008).
const SAFE = ["#0072b2", "#e69f00", "#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#f0e442", "#555b66"];

/** Atomic number -> colour, the same in all films of a player. */
export function elementColors(films, palette) {
  const all = new Map(films.flatMap((f) => f.elements).map((e) => [e.z, e])), order = [...all.keys()].sort((a, b) => b - a);
  return new Map(order.map((z, i) => [z, rgb(palette === "safe" ? SAFE[i % SAFE.length] : all.get(z).color)]));
}

export const THEMES = {
  light: { back: rgb("#f5f7fa"), cell: rgb("#8b95a5"), axes: ["#d6336c", "#2b8a3e", "#1c6dd0"].map(rgb), arrow: rgb("#343a46"), pick: rgb("#3b5bdb"), ink: "#1f2430", halo: "rgba(255,255,255,.85)", solid: 0.46, tint: 0 },
  dark: { back: rgb("#171b22"), cell: rgb("#77839a"), axes: ["#ff7aa8", "#69db7c", "#74b3ff"].map(rgb), arrow: rgb("#dfe4ee"), pick: rgb("#9db0ff"), ink: "#e8eaf0", halo: "rgba(20,23,28,.8)", solid: 0.46, tint: 0.25 },
};

/** Is the page around an element light or dark? JupyterLab and VS Code say so; otherwise the background behind it tells, and at last the reader's own wish. */
export function surroundings(el) {
  const body = document.body, root = document.documentElement;
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false" ? "dark" : "light";
  if (body.classList.contains("vscode-dark") || body.classList.contains("vscode-high-contrast")) return "dark";
  if (body.classList.contains("vscode-light")) return "light";
  if (!el.closest("[data-dpv-page]")) {
    for (let e = el.parentElement; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor.match(/[\d.]+/g)?.map(Number);
      if (c && (c.length < 4 || c[3] > 0.5)) return 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] < 110 ? "dark" : "light";
    }
    if (getComputedStyle(root).colorScheme === "normal") return "light";
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Tell when the surroundings may have changed. */
export function watchSurroundings(callback) {
  const seen = new MutationObserver(callback), wish = matchMedia("(prefers-color-scheme: dark)");
  seen.observe(document.body, { attributes: true, attributeFilter: ["class", "style", "data-jp-theme-light", "data-jp-theme-name", "data-md-color-scheme"] });
  wish.addEventListener("change", callback);
  return () => { seen.disconnect(); wish.removeEventListener("change", callback); };
}
