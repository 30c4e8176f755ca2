// Runs the cases in the file CASES through the package in the folder PACKAGE, in headless Chromium:
//   node browser.mjs PACKAGE CASES
// The page and all that it loads come from a server on loopback, and the page says there what it found.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { summary } from "./cases.mjs";

const [folder, file] = process.argv.slice(2).map((path) => resolve(path));
const here = dirname(fileURLToPath(import.meta.url));
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
/** How long the browser may take, in milliseconds, on a machine that does other things as well. */
const LIMIT = 120_000;

const PAGE = `<!doctype html><script type="module">
  const say = (document) => fetch("/found", { method: "POST", body: JSON.stringify(document) });
  try {
    const { default: init, ...signature } = await import("/package/portcullis_signature.js");
    await init();
    const { run } = await import("/cases.mjs");
    await say(run(signature, await (await fetch("/cases.json")).json()));
  } catch (error) {
    await say({ wrong: [String(error.stack ?? error)], times: [] });
  }
</script>`;

/** Removes the browser's profile, in which its helpers may write for a moment after it has ended. */
async function remove(profile) {
  for (let tries = 0; ; tries += 1) {
    try {
      return rmSync(profile, { recursive: true, force: true });
    } catch (error) {
      if (tries >= 40) throw error;
      await setTimeout(250);
    }
  }
}

const found = new Promise((resolve, reject) => {
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    if (path === "/") return response.setHeader("content-type", "text/html").end(PAGE);
    if (path === "/found") {
      let body = "";
      for await (const part of request) body += part;
      response.end();
      return resolve({ ...JSON.parse(body), agent: request.headers["user-agent"] });
    }
    const known = { "/cases.mjs": join(here, "cases.mjs"), "/cases.json": file }[path];
    const inPackage = /^\/package\/([a-z_]+\.(?:js|wasm|json))$/.exec(path);
    const source = known ?? (inPackage && join(folder, inPackage[1]));
    try {
      response.setHeader("content-type", TYPES[extname(source)]).end(readFileSync(source));
    } catch {
      response.writeHead(404).end();
    }
  });
  server.listen(0, "127.0.0.1", () => {
    const profile = mkdtempSync(join(tmpdir(), "portcullis-browser-"));
    const chromium = spawn(
      process.env.CHROMIUM ?? "chromium",
      [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", `--user-data-dir=${profile}`, "--remote-debugging-port=0",
        `http://127.0.0.1:${server.address().port}/`,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let log = "";
    chromium.stderr.on("data", (text) => (log = (log + text).slice(-4000)));
    const late = globalThis.setTimeout(() => reject(new Error(`the page said nothing; Chromium's log:\n${log}`)), LIMIT);
    chromium.on("error", (error) => reject(new Error(`Chromium cannot be started (apt-get install chromium): ${error}`)));
    chromium.on("exit", () => reject(new Error(`Chromium ended early; its log:\n${log}`)));
    const over = () => {
      clearTimeout(late);
      chromium.removeAllListeners("exit").on("exit", () => remove(profile));
      chromium.kill();
      server.closeAllConnections();
      server.close();
    };
    found.then(over, over);
  });
});

const { wrong, times, agent } = await found;
assert.deepEqual(wrong, []);
console.log(`${summary(JSON.parse(readFileSync(file, "utf8")), times)}, in ${/\S*Chrome\S*/.exec(agent)}`);
