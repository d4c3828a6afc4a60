// Formulas by KaTeX, figures by plotly.js: both from this site, each loaded where a page needs it.
const base = new URL(".", document.currentScript.src);

function load(file) {
  return new Promise((done, failed) => {
    const script = Object.assign(document.createElement("script"), { src: new URL(file, base), onload: done, onerror: failed });
    document.head.append(script);
  });
}

function formula(element) {
  const text = element.textContent.trim();
  const display = text.startsWith("\\[");
  katex.render(text.slice(2, -2), element, { displayMode: display, throwOnError: false, strict: false });
}

// A displayed formula that is too wide is set smaller; one that is still too wide scrolls, with its number at its end.
function fit(box) {
  const html = box.querySelector(".katex-html");
  const width = (kind) => [...html.querySelectorAll(`:scope > ${kind}`)].reduce((sum, e) => sum + e.offsetWidth, 0);
  const need = width(".katex-base") + (width(".katex-tag") ? 2 * width(".katex-tag") + 20 : 0);
  if (!need || need <= box.offsetWidth) return;
  const scale = Math.max(0.75, box.offsetWidth / need);
  box.style.fontSize = `${scale}em`;
  html.style.minWidth = `${Math.floor(scale * need)}px`;
}

let plotly;
async function live(button) {
  const figure = button.parentElement;
  button.textContent = "loading…";
  await (plotly ??= load("plotly.min.js"));
  const { data, layout } = JSON.parse(figure.querySelector("script").textContent);
  const image = figure.querySelector("img, p");
  const plot = Object.assign(document.createElement("div"), { className: "dp-plot" });
  const height = Math.max(image.clientHeight, 260);
  image.replaceWith(plot);
  button.remove();
  await Plotly.newPlot(plot, data, { ...layout, width: undefined, height, autosize: true }, {
    responsive: true,
    displaylogo: false,
    displayModeBar: innerWidth > 700 ? "hover" : false,
  });
}

function grow(frame) {
  frame.style.height = "0";
  frame.style.height = `${frame.contentDocument.documentElement.scrollHeight + 4}px`;
}

// A film gets the height that it needs; where pages are files, browsers keep frames apart, and the height of the style stays.
function growFilm(frame) {
  try {
    const inside = frame.contentDocument.documentElement.scrollHeight;
    if (inside > frame.clientHeight) frame.style.height = `${inside + 4}px`;
  } catch {
    return;
  }
}

document.addEventListener("DOMContentLoaded", async () => {
  document.querySelectorAll("iframe.dp-film").forEach((f) => f.addEventListener("load", () => setTimeout(growFilm, 800, f)));
  document.querySelectorAll("iframe.dp-frame").forEach((f) => f.addEventListener("load", () => grow(f)));
  document.querySelectorAll("button.dp-live").forEach((b) => b.addEventListener("click", () => live(b)));
  const formulas = document.querySelectorAll(".arithmatex");
  if (!formulas.length) return;
  await load("katex/katex.min.js");
  formulas.forEach(formula);
  await document.fonts.ready;
  document.querySelectorAll(".katex-display").forEach(fit);
  document.documentElement.dataset.formulas = formulas.length;
});
