// The cases that every host of the policy must judge alike, through the package `signature`: in Node
// and in a browser, so nothing here belongs to one of them.

/** What is wrong, as sentences, and the milliseconds that each bundle took. */
export function run({ Policy }, { now, cases }) {
  const wrong = [];
  const times = [];
  const check = (name, holds, what) => holds || wrong.push(`${name}: ${what}`);
  for (const { name, bundle, digest, policy, expected, image } of cases) {
    let found;
    try {
      const judge = new Policy(JSON.stringify(policy));
      const start = performance.now();
      const { verified, reason, explanation } = judge.verifyBundle(bundle, digest, "signer", now);
      times.push(performance.now() - start);
      found = reason.code;
      check(name, verified === (found === "VERIFIED"), `verified is ${verified} with ${found}`);
      check(name, explanation.includes(found), `${found} is not in: ${explanation}`);
      if (image) {
        const evidence = JSON.stringify({ version: 1, staples: { [digest]: { bundles: [bundle] } } });
        const verdict = judge.judge(image, "shop", evidence, now);
        const outcome = expected === "VERIFIED" ? "allow" : "deny";
        check(name, verdict.outcome === outcome, `${verdict.outcome}: ${verdict.explanation}`);
        check(name, judge.plan(image, undefined, evidence).length === 0, "stapled evidence needs no reads");
        check(name, judge.plan(image, undefined, "").length > 0, "without evidence there is something to read");
      }
      judge.free();
    } catch (error) {
      // A broken root is refused when the policy is read.
      if (!(error instanceof Error) || !error.message.startsWith("roots.")) throw error;
      found = "TRUST_ROOT_INVALID";
    }
    check(name, found === expected, `${found}, and ${expected} is expected`);
  }
  let refused;
  try {
    new Policy('{"rules": [], "x": 1}');
  } catch (error) {
    refused = error.message;
  }
  check("an unknown field", /^policy: unknown field `x`.* at line 1 column 17$/.test(refused), `refused with ${refused}`);
  return { wrong, times };
}

/** `45 cases agree; median 12.3 ms a bundle`. */
export function summary({ cases }, times) {
  const sorted = [...times].sort((a, b) => a - b);
  return `${cases.length} cases agree; median ${sorted[sorted.length >> 1].toFixed(1)} ms a bundle`;
}
