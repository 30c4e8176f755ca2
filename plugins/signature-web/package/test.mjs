// Runs the cases in the file CASES through the package in the folder PACKAGE, in Node:
//   node test.mjs PACKAGE CASES
// CASES is written by `PORTCULLIS_CASES=FILE cargo test -p portcullis-signature --test conformance`.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { run, summary } from "./cases.mjs";

/** What a browser may have to fetch, in bytes. */
const MOST = 500_000;

const [folder, file] = process.argv.slice(2).map((path) => resolve(path));
const signature = await import(pathToFileURL(join(folder, "node.js")));
const given = JSON.parse(readFileSync(file, "utf8"));

const { wrong, times } = run(signature, given);
assert.deepEqual(wrong, []);

// GitHub's root is beside the module, not in it.
const github = JSON.parse(readFileSync(join(folder, "github_trusted_root.json"), "utf8"));
new signature.Policy(JSON.stringify({ roots: { github: { trusted_root: github } } }));
assert.throws(() => new signature.Policy('{"roots": {"github": {"builtin": "github"}}}'), /not built in here/);

const module = join(folder, "portcullis_signature_bg.wasm");
// Node's own gzip is made for speed and leaves 1 % more.
const zipped = execFileSync("gzip", ["-9", "-c", module], { maxBuffer: 2 ** 24 }).length;
console.log(summary(given, times));
console.log(`the module: ${statSync(module).size} bytes, ${zipped} gzipped`);
assert.ok(zipped < MOST, `${zipped} bytes gzipped; at most ${MOST} are expected`);
