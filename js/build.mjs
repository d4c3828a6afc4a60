// Build dpcdvae/static/player.js: one ES module with three.js inside. The body is a function that is run once a page, however many notebooks cells load the module.
// The banner carries a hash of the sources, by which the tests know without node whether the bundle is up to date.
import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync, mkdirSync } from "node:fs";
import { build } from "esbuild";

const here = new URL(".", import.meta.url).pathname, out = `${here}../dpcdvae/static/player.js`;
const sources = [...readdirSync(`${here}src`).sort().map((f) => `src/${f}`), "build.mjs", "package-lock.json", "package.json"];
const hash = createHash("sha256");
for (const f of sources) hash.update(f + "\n").update(readFileSync(here + f));
const digest = hash.digest("hex"), { version } = JSON.parse(readFileSync(`${here}node_modules/three/package.json`));
const done = await build({ entryPoints: [`${here}src/main.js`], bundle: true, minify: true, format: "iife", globalName: "player", target: "es2022", loader: { ".css": "text" }, legalComments: "none", write: false, logLevel: "warning" });
const body = done.outputFiles[0].text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
const text = `/* The film player of dpcdvae, MIT licence. Contains three.js ${version}, copyright 2010-2026 three.js authors, MIT licence. Built by js/build.mjs; sources ${digest} */
function make(){${body}return player}
const shared=globalThis[Symbol.for("dpcdvae.player.${digest.slice(0, 16)}")]??=make();
const film=globalThis.document?.getElementById("film-data")&&document.getElementById("film");
if(film&&!film.hasAttribute("data-dpv-page"))shared.page(film);
export default shared.widget;
`;
mkdirSync(`${here}../dpcdvae/static`, { recursive: true });
writeFileSync(out, text);
console.log(`${out.replace(here + "../", "")}: ${(text.length / 1024).toFixed(0)} KiB, three.js ${version}`);
