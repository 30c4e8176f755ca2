// Asks sigstore-js about each case of the file in argv[2]. Prints one JSON object: the case's name
// and null when it is accepted, or the reason when it is refused.
const { readFileSync } = require("node:fs");
const { bundleFromJSON } = require("@sigstore/bundle");
const { TrustedRoot } = require("@sigstore/protobuf-specs");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");
const { createPublicKey } = require("node:crypto");

const { trustedRoot, cases } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const root = TrustedRoot.fromJSON(trustedRoot);

function judge({ bundle, artifact, name, issuer, key }) {
  const keys = key && ((hint) => ({ publicKey: createPublicKey(key), validFor: () => true, hint }));
  const material = keys ? toTrustMaterial(root, keys) : toTrustMaterial(root);
  const ctlogThreshold = key ? 0 : 1;
  const verifier = new Verifier(material, { ctlogThreshold, tlogThreshold: 1, timestampThreshold: 1 });
  const entity = toSignedEntity(bundleFromJSON(bundle), Buffer.from(artifact, "base64"));
  const policy = key ? undefined : { subjectAlternativeName: name, extensions: { issuer } };
  verifier.verify(entity, policy);
}

const answers = {};
for (const each of cases) {
  try {
    judge(each);
    answers[each.case] = null;
  } catch (error) {
    answers[each.case] = `${error.code ?? error.name}: ${error.message}`;
  }
}
console.log(JSON.stringify(answers));
