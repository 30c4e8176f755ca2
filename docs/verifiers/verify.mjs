// Checks the signed context that Portcullis puts into `x-tenant-context`.
//
// Copy `verify`. As a program this checks itself: node verify.mjs vectors.tsv

import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

/// The { tenant, subject, requestId } that `context` proves, or null. `keys` is a Map of secrets
/// (Buffer) by their ids; `method` and `target` (path and query) are the request's as it arrived.
export function verify(context, keys, method, target, now = Date.now() / 1000) {
  const dot = context.lastIndexOf(".");
  if (context.length > 2048 || dot < 0) return null;
  const signed = context.slice(0, dot);
  const fields = signed.split(".");
  if (fields.length !== 7 || fields[0] !== "v1") return null;
  const [, key, expires, tenant, subject, requestId, bound] = fields;
  const secret = keys.get(key);
  if (secret === undefined) return null;
  const own = Buffer.from(createHmac("sha256", secret).update(signed).digest("base64url"));
  const mac = Buffer.from(context.slice(dot + 1));
  if (own.length !== mac.length || !timingSafeEqual(own, mac)) return null;
  if (bound !== createHash("sha256").update(`${method}\n${target}`).digest("base64url")) return null;
  if (now >= Number(expires)) return null;
  const decode = (text) => Buffer.from(text, "base64url").toString("utf8");
  return { tenant: decode(tenant), subject: decode(subject), requestId: decode(requestId) };
}

function main(path) {
  const keys = new Map();
  let wrong = 0;
  let count = 0;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [kind, note, ...rest] = line.split("\t");
    if (kind === "key") keys.set(note, Buffer.from(rest[0], "base64"));
    if (kind !== "case") continue;
    const [want, now, method, target, context] = rest;
    const found = verify(context, keys, method, target, Number(now));
    const got = found === null ? "refused" : [found.tenant, found.subject, found.requestId].join("|");
    count += 1;
    if (got !== want) {
      wrong += 1;
      console.log(`${note}: ${got} instead of ${want}`);
    }
  }
  console.log(`${count - wrong} of ${count} agree`);
  process.exitCode = wrong > 0 || count === 0 ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) main(process.argv[2]);
