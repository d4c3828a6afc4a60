// The player as a page of its own: the film is in the page.
import { formula, h } from "./dom.js";
import { fromBase64, readFilms } from "./film.js";
import { Session } from "./session.js";
import { PlayerView } from "./view.js";
import { cellWords } from "./words.js";

export function page(root) {
  const text = (id) => document.getElementById(id).textContent, header = JSON.parse(text("film-header"));
  const session = new Session(readFilms(header, fromBase64(text("film-data"))), header.state);
  const title = h("h1"), facts = h("p", { class: "dpv-facts" }), cell = h("p", { class: "dpv-facts" });
  root.dataset.dpvPage = "";
  root.append(h("header", {}, title, facts, cell));
  const view = new PlayerView(session, root);
  root.append(h("footer", { class: "dpv-foot" }, "Drag to turn, click and then scroll to zoom, click an atom to ask for it. Space plays, arrows step, ? lists all keys. Made with dpcdvae."));
  const write = () => {
    title.replaceChildren(...formula(session.film.formula));
    facts.textContent = session.film.facts.map((f) => f.join(" ")).join(" · ");
    cell.textContent = cellWords(session.film.lattice);
  };
  const dark = new MutationObserver(() => { document.documentElement.dataset.dpvTheme = view.root.dataset.theme; });
  dark.observe(view.root, { attributes: true, attributeFilter: ["data-theme"] });
  session.on((changed) => { if (changed.has("crystal")) write(); });
  write();
  return view;
}
