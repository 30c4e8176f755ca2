
/** What is said, as a word that stays: `VERIFIED`, `SIGNATURE_INVALID`, `IDENTITY_MISMATCH`, … */
export type ReasonCode = string;

/** One node of an explanation. */
export interface Reason {
  code: ReasonCode;
  /** In a sentence: what was found, and what would be right. */
  message: string;
  /** What it is about: a rule, a signer, or the place of a signature. */
  about?: string;
  /** What it follows from. */
  because?: Reason[];
}

/** The answer about one bundle. */
export interface BundleVerdict {
  verified: boolean;
  reason: Reason;
  /** The tree of reasons as text, one a line. */
  explanation: string;
}

/** The answer about an image. */
export interface Verdict {
  /** `missing` where there are reads that nobody has made yet: not an allow. */
  outcome: "allow" | "deny" | "missing";
  image: string;
  digest: string | null;
  /** The reference to run instead, where the image came with a tag only. */
  pinned: string | null;
  reason: Reason;
  /** The tree of reasons as text, one a line. */
  explanation: string;
  warnings: string[];
}

/** A read of a registry that the policy asks for. */
export interface PlannedRead {
  /** As recorded evidence names it. */
  read: unknown;
  registry: string;
  /** Path of the request. */
  path: string;
  /** Value of its `Accept` header. */
  accept: string;
}
