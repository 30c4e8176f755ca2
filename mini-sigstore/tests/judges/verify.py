"""Asks sigstore-python about each case of the file in argv[1]. Prints one JSON object: the case's
name and null when it is accepted, or the reason when it is refused."""

import base64
import json
import logging
import pathlib
import sys
import tempfile

from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify.policy import Identity

logging.disable(logging.CRITICAL)
document = json.loads(pathlib.Path(sys.argv[1]).read_text())
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "trusted_root.json")
    path.write_text(json.dumps(document["trustedRoot"]))
    verifier = Verifier(trusted_root=TrustedRoot.from_file(str(path)))

answers = {}
for case in document["cases"]:
    try:
        bundle = Bundle.from_json(json.dumps(case["bundle"]))
        policy = Identity(identity=case["name"], issuer=case["issuer"])
        if "dsseEnvelope" in case["bundle"]:
            verifier.verify_dsse(bundle, policy)
        else:
            verifier.verify_artifact(base64.b64decode(case["artifact"]), bundle, policy)
        answers[case["case"]] = None
    except Exception as error:
        answers[case["case"]] = f"{type(error).__name__}: {error}"
print(json.dumps(answers))
