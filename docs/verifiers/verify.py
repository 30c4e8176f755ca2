"""Checks the signed context that Portcullis puts into `x-tenant-context`.

Copy `verify`. As a program this checks itself: python3 verify.py vectors.tsv
"""

import base64
import hashlib
import hmac
import sys
import time


def verify(context, keys, method, target, now=None):
    """The (tenant, subject, request id) that `context` proves, or None.

    `keys` has the secrets (bytes) by their ids, `method` and `target` (path and query) are the
    request's as it arrived here.
    """
    if len(context) > 2048:
        return None
    signed, _, mac = context.rpartition(".")
    fields = signed.split(".")
    if len(fields) != 7 or fields[0] != "v1":
        return None
    _, key, expires, tenant, subject, request_id, bound = fields
    if key not in keys:
        return None
    own = encode(hmac.new(keys[key], signed.encode(), hashlib.sha256).digest())
    if not hmac.compare_digest(own.encode(), mac.encode()):
        return None
    if bound != encode(hashlib.sha256(f"{method}\n{target}".encode()).digest()):
        return None
    if int(time.time() if now is None else now) >= int(expires):
        return None
    return tuple(decode(field) for field in (tenant, subject, request_id))


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def main(path):
    keys, wrong, count = {}, 0, 0
    for line in open(path, encoding="utf-8").read().split("\n"):
        if line.startswith("key\t"):
            _, name, secret = line.split("\t")
            keys[name] = base64.b64decode(secret)
        elif line.startswith("case\t"):
            _, note, want, now, method, target, context = line.split("\t")
            found = verify(context, keys, method, target, int(now))
            got = "refused" if found is None else "|".join(found)
            count += 1
            if got != want:
                wrong += 1
                print(f"{note}: {got} instead of {want}")
    print(f"{count - wrong} of {count} agree")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
