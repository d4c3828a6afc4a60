// The one entry: a widget where a notebook asks for it, a page where a page holds a film.
import { page } from "./page.js";
import { Session } from "./session.js";
import { readFilms } from "./film.js";
import { PlayerView } from "./view.js";
import widget from "./widget.js";

export { PlayerView, Session, page, readFilms, widget };
