// Times one verification of a bundle: this package beside sigstore-js, in turn, in one process.
//   node bench.mjs PACKAGE FOLDER
// FOLDER has Sigstore's conformance cases (`test/assets/bundle-verify` of sigstore-conformance), and beside
// them their artifact as `a.txt` and the public-good root as `trusted_root_public_good.json`. sigstore-js is found
// as any package is: npm install @sigstore/verify@4.1.3 @sigstore/bundle@5.0.1 @sigstore/protobuf-specs@0.5.2
// in the current folder.
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { createHash } from "node:crypto";

const CASES = ["happy-path-v0.1", "happy-path-v0.3", "happy-path-intoto-in-dsse-v3", "rekor2-happy-path", "rekor2-dsse-happy-path"];
const ROUNDS = 200;

const [folder, vectors] = process.argv.slice(2).map((path) => resolve(path));
const { Policy } = await import(pathToFileURL(join(folder, "node.js")));
const require = createRequire(join(process.cwd(), "x.js"));
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

console.log("| bundle | this package | sigstore-js | ratio |\n|---|--:|--:|--:|");
for (const name of CASES) {
  const file = (file) => join(vectors, name, file);
  const text = readFileSync(file("bundle.sigstore.json"), "utf8");
  const artifact = readFileSync(existsSync(file("artifact")) ? file("artifact") : join(vectors, "a.txt"));
  const root = existsSync(file("trusted_root.json")) ? file("trusted_root.json") : join(vectors, "trusted_root_public_good.json");
  const trusted_root = JSON.parse(readFileSync(root, "utf8"));
  const digest = `sha256:${createHash("sha256").update(artifact).digest("hex")}`;

  // Both read their trusted root once, and the bundle's text each time.
  const policy = new Policy(JSON.stringify({
    roots: { root: { trusted_root } },
    signers: { anybody: { keyless: { issuer: "https://token.actions.githubusercontent.com", subject: "**" } } },
  }));
  const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(trusted_root)));
  const now = Date.now() / 1000;
  const contenders = [
    () => {
      const { verified, explanation } = policy.verifyBundle(text, digest, "anybody", now);
      if (!verified) throw new Error(explanation);
    },
    () => verifier.verify(toSignedEntity(bundleFromJSON(JSON.parse(text)), artifact)),
  ];
  const times = contenders.map(() => []);
  for (let round = -20; round < ROUNDS; round++) {
    contenders.forEach((verify, index) => {
      const start = performance.now();
      verify();
      if (round >= 0) times[index].push(performance.now() - start);
    });
  }
  const [ours, theirs] = times.map(median);
  console.log(`| ${name} | ${ours.toFixed(1)} ms | ${theirs.toFixed(1)} ms | ${(ours / theirs).toFixed(2)} |`);
}
