# Judges tokens as a careful user of PyJWT would: the algorithm of the key that `kid` names, issuer,
# audience, expiry and start. One JSON string a line in; `ok` or the reason out.
import json
import sys

import jwt

setting = json.loads(sys.stdin.readline())
keys = [(key.get("kid"), key["alg"], jwt.PyJWK(key)) for key in setting["jwks"]["keys"]]
options = {"require": ["exp", "iss", "aud"]}


def judge(token):
    header = jwt.get_unverified_header(token)
    kid, alg = header.get("kid"), header.get("alg")
    error = "no key"
    for own, own_alg, key in keys:
        if own_alg != alg or (kid is not None and kid != own):
            continue
        try:
            jwt.decode(
                token,
                key,
                algorithms=[own_alg],
                audience=setting["audience"],
                issuer=setting["issuer"],
                leeway=setting["leeway"],
                options=options,
            )
            return "ok"
        except Exception as why:
            error = why
    return f"{type(error).__name__}: {error}"


for line in sys.stdin:
    try:
        verdict = judge(json.loads(line))
    except Exception as why:
        verdict = f"{type(why).__name__}: {why}"
    print(verdict.replace("\n", " ").replace("\r", " "), flush=True)
