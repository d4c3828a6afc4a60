// The player as a Jupyter widget: one session a model, one view a cell output. The kernel may be slow or gone; the player goes on.
import { readFilms } from "./film.js";
import { DEFAULTS, Session } from "./session.js";
import { PlayerView } from "./view.js";

const KEYS = Object.keys(DEFAULTS), EVERY = 60; // milliseconds between two reports while things move
const sessions = new WeakMap();

const read = (model) => Object.fromEntries(KEYS.map((k) => [k, model.get(k)]).filter(([, v]) => v !== undefined));

/** anywidget gives a widget two seconds to begin; one that a busy page starts later would never hear its kernel. Such a model listens by itself, and asks what it missed. */
async function listen(raw) {
  try { await raw._handle_comm_msg({ content: { data: { method: "custom", content: {} } }, buffers: [] }); } catch {
    const hear = Object.getPrototypeOf(Object.getPrototypeOf(raw))._handle_comm_msg;
    raw.comm?.on_msg((message) => hear.call(raw, message));
    try { raw.comm?.send({ method: "request_state" }); } catch { /* no kernel listens */ }
  }
}

function bind(model) {
  const session = new Session(readFilms(model.get("header"), model.get("data")), read(model));
  let waiting = {}, timer = 0, sent = 0, speaking = false;
  const send = (words, buffers) => { try { model.send(words, undefined, buffers); } catch { /* no kernel listens */ } };
  const flush = () => {
    clearTimeout(timer); timer = 0; sent = performance.now();
    const news = waiting; waiting = {};
    speaking = true;
    try { for (const [k, v] of Object.entries(news)) model.set(k, v); } finally { speaking = false; }
    try { Promise.resolve(model.save_changes()).catch(() => {}); } catch { /* no kernel listens */ }
  };
  const tell = (news, now) => {
    Object.assign(waiting, news);
    const left = EVERY - (performance.now() - sent);
    if (now && left <= 0) flush(); else timer ||= setTimeout(flush, Math.max(left, 0));
  };
  const hear = (changed, origin) => {
    const s = session.state, news = {};
    if (changed.has("drawn")) news.drawn = session.drawn;
    if (origin !== "kernel") for (const k of changed) if (k in DEFAULTS) news[k] = s[k];
    if (changed.has("crystal") || changed.has("films")) news.num_frames = session.film.frames;
    if (Object.keys(news).length) tell(news, !s.playing);
  };
  const have = () => send({ type: "have", frames: session.films.map((f) => f.frames) });
  const onState = () => {
    if (speaking) return;
    const patch = {};
    for (const k of KEYS) { const v = model.get(k); if (v !== undefined && v !== session.state[k] && !(k in waiting)) patch[k] = v; }
    if (Object.keys(patch).length) session.set(patch, "kernel");
  };
  const onFilms = () => {
    if (speaking || loading) return;
    loading = true;
    queueMicrotask(() => { loading = false; Object.assign(session.state, read(model)); session.replace(readFilms(model.get("header"), model.get("data"))); have(); });
  };
  const onDrawn = (raw) => { model.off("change:drawn", onDrawn); listen(raw); };
  let loading = false;
  const onMessage = (words, buffers) => {
    if (words.type === "append" && !session.append(words, buffers[0])) have();
    if (words.type === "snapshot") {
      const view = [...session.views].find((v) => v.width) ?? null;
      Promise.resolve(view?.png()).then(async (blob) => blob && send({ type: "snapshot" }, [await blob.arrayBuffer()]));
    }
  };
  const off = session.on(hear);
  model.on("change:drawn", onDrawn); model.on("change", onState); model.on("change:header", onFilms); model.on("change:data", onFilms); model.on("msg:custom", onMessage);
  have();
  const end = () => {
    off(); clearTimeout(timer); session.stop();
    model.off("change:drawn", onDrawn); model.off("change", onState); model.off("change:header", onFilms); model.off("change:data", onFilms); model.off("msg:custom", onMessage);
    for (const v of [...session.views]) v.dispose();
    sessions.delete(model);
  };
  return { session, end };
}

function open(model) {
  if (!sessions.has(model)) sessions.set(model, bind(model));
  return sessions.get(model);
}

export default {
  initialize({ model }) { return open(model).end; },
  render({ model, el }) {
    const view = new PlayerView(open(model).session, el);
    return () => view.dispose();
  },
};
