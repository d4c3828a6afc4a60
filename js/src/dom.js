// A little help with elements.

const SVG = "http://www.w3.org/2000/svg";

function fill(el, attributes, children) {
  for (const [k, v] of Object.entries(attributes)) {
    if (v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return el;
}

export const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

/** A formula with its numbers set low. */
export const formula = (text) => text.split(/(\d+)/).filter(Boolean).map((part) => (/^\d+$/.test(part) ? h("sub", {}, part) : part));

const SHAPES = {
  play: "M7 4.5v15l12.5-7.5z", pause: "M6.5 4.5h4v15h-4zM13.5 4.5h4v15h-4z", back: "M17 5v14L7.5 12zM5 5h2.5v14H5z", forward: "M7 5v14l9.5-7zM16.5 5H19v14h-2.5z",
  loop: "M6 8h10v-3.2L21 9l-5 4.2V10H8v3.5H6zM18 16H8v3.2L3 15l5-4.2V14h8v-3.5h2z", reset: "M12 5a7 7 0 1 1-6.7 5h2.1A5 5 0 1 0 12 7v3L7.5 6 12 2z",
  gear: "M10.600 3h2.800l.5 2.300 1.600.7 2-1.300 2 2-1.300 2 .7 1.600 2.300.5v2.800l-2.300.5-.7 1.600 1.300 2-2 2-2-1.300-1.600.7-.5 2.300h-2.800l-.5-2.300-1.600-.7-2 1.300-2-2 1.300-2-.7-1.600-2.300-.5v-2.800l2.300-.5.7-1.600-1.300-2 2-2 2 1.300 1.600-.7zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  camera: "M8.5 5 10 3h4l1.5 2H20v14H4V5zM12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zm0 2a2 2 0 1 1 0 4 2 2 0 0 1 0-4z", full: "M4 4h6v2H6v4H4zM14 4h6v6h-2V6h-4zM4 14h2v4h4v2H4zM18 14h2v6h-6v-2h4z",
  file: "M6 3h8l5 5v13H6zM8 5v14h9V9h-4V5zM11.500 10.500h2v4h2.200L12.500 18 9.300 14.500h2.200z",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zm-1 13h2v2h-2zm1-10a3.6 3.6 0 0 1 1.4 6.9c-.4.2-.4.5-.4 1.1v.5h-2V14c0-1.300.4-2.200 1.300-2.600A1.600 1.600 0 1 0 10.400 9.600h-2A3.600 3.600 0 0 1 12 6z", close: "M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12 19 17.600 17.600 19 12 13.400 6.400 19 5 17.600 10.600 12 5 6.400z",
};

export const icon = (name) => svg("svg", { viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true", focusable: "false" }, svg("path", { d: SHAPES[name], fill: "currentColor", "fill-rule": "evenodd" }));
export const setIcon = (button, name) => { if (button.dataset.icon !== name) { button.dataset.icon = name; button.replaceChildren(icon(name)); } };
