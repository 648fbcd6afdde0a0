// Whether Netron reads nets: its own loader on files, in Node instead of a browser.
//
//     pip install netron
//     node tools/peers/netron.mjs "$(python -c 'import netron; print(netron.__path__[0])')" predict_net.pb ...
//
// A line a file: what Netron would show. The exit status is 1 if it refuses one.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";

const [netron, ...files] = process.argv.slice(2);
// The files are modules for browsers; Node takes them as such only where a package.json says so.
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "netron-"));
for (const name of fs.readdirSync(netron)) {
  if (/\.js(on)?$/.test(name)) {
    fs.copyFileSync(path.join(netron, name), path.join(folder, name));
  }
}
fs.writeFileSync(path.join(folder, "package.json"), '{"type": "module"}');
const load = (id) => import(path.join(folder, id.endsWith(".js") ? id : `${id}.js`));
const base = await load("base.js");
const view = await load("view.js");

/** A file, as Netron's browser host hands one to the loader. */
class Opened {
  constructor(file) {
    this.folder = path.dirname(file);
    this.identifier = path.basename(file);
    this.stream = new base.BinaryStream(new Uint8Array(fs.readFileSync(file)));
    this.errors = [];
  }
  async fetch(name) {
    return new base.BinaryStream(new Uint8Array(fs.readFileSync(path.join(this.folder, name))));
  }
  async asset(name) {
    return fs.readFileSync(path.join(folder, name), "utf-8");
  }
  async require(id) {
    return load(id);
  }
  error(error) {
    this.errors.push(error.message);
  }
}

const host = {
  environment: () => null,
  event: () => {},
  require: load,
  exception: (error) => {
    throw error;
  },
};

for (const file of files) {
  try {
    const opened = new Opened(file);
    const model = await new view.ModelFactoryService(host).open(opened);
    const [graph] = model.modules;
    const nodes = graph.nodes.flatMap((node) => [node, ...(node.chain ?? [])]);
    const values = nodes.flatMap((node) => node.inputs.flatMap((input) => input.value));
    const weights = values.filter((value) => value.initializer);
    const shaped = weights.filter((value) => String(value.initializer.type).includes("["));
    const said = opened.errors.length ? `, says ${opened.errors.join("; ")}` : "";
    console.log(
      `${file}: ${model.format} '${graph.name}', ${nodes.length} operators, ` +
        `${weights.length} weights, ${shaped.length} of them with a shape${said}`,
    );
  } catch (error) {
    process.exitCode = 1;
    console.log(`${file}: refused: ${error.message}`);
  }
}
fs.rmSync(folder, { recursive: true });
