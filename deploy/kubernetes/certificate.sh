#!/bin/sh
# The webhook's certificate without cert-manager: makes an authority and a certificate for the
# service, and prints the secret (to apply) and, as a comment, the `caBundle` of webhook.yaml.
#
#   ./certificate.sh | kubectl apply -f -
#
# The authority's key is thrown away: renewing means running it again and putting the new bundle in.
set -eu
name=image-admission.portcullis.svc
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 730 \
  -subj "/CN=portcullis image-admission" -keyout ca.key -out ca.crt \
  -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
  -subj "/CN=$name" -keyout tls.key -out tls.csr 2>/dev/null
printf 'subjectAltName=DNS:%s,DNS:%s.cluster.local\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n' \
  "$name" "$name" > extensions
openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 \
  -extfile extensions -out tls.crt 2>/dev/null
encode() { base64 < "$1" | tr -d '\n'; }
cat <<EOF
# caBundle: $(encode ca.crt)
apiVersion: v1
kind: Secret
metadata: {name: image-admission-tls, namespace: portcullis}
type: kubernetes.io/tls
data:
  tls.crt: $(encode tls.crt)
  tls.key: $(encode tls.key)
EOF
