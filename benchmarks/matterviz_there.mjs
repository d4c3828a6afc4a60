// Time the matcher of matterviz-wasm on pairs of crystals: node matterviz_there.mjs PACKAGE PAIRS.json OUT.json
import fs from "node:fs"
import path from "node:path"
import { pathToFileURL } from "node:url"

const [home, source, out] = process.argv.slice(2)
const wasm = await import(pathToFileURL(path.resolve(home, "pkg/ferrox.js")))
await wasm.default({ module_or_path: fs.readFileSync(path.resolve(home, "pkg/ferrox_bg.wasm")) })

const blocks = JSON.parse(fs.readFileSync(source))
const matcher = () =>
  new wasm.WasmStructureMatcher().with_latt_len_tol(0.3).with_site_pos_tol(0.5).with_angle_tol(10)
const ask = (name, a, b) => {
  const answer = matcher()[name](a, b)
  if ("error" in answer) throw new Error(answer.error)
  return answer.ok
}
const timed = (name, { crystals, pairs }) => {
  const before = process.cpuUsage()
  const found = pairs.map(([i, j]) => ask(name, crystals[i], crystals[j]))
  const { user, system } = process.cpuUsage(before)
  return { found, seconds: (user + system) / 1e6 }
}
const found = {}
for (const [key, block] of Object.entries(blocks)) {
  ask("get_rms_dist", block.crystals[0], block.crystals[0]) // compiles
  found[key] = { rms: timed("get_rms_dist", block), fit: timed("fit", block) }
}
fs.writeFileSync(out, JSON.stringify(found))
