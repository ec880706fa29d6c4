#!/usr/bin/env bash
# Builds every overlay and holds it against the API's schemas; VALIDATE names kubernetes-validate.
set -euo pipefail
cd "$(dirname "$0")"
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
for overlay in overlays/*; do
  name=${overlay#*/}
  kubectl kustomize "$overlay" >"$built/$name.yaml"
  "${VALIDATE:-kubernetes-validate}" --strict --quiet "$built/$name.yaml"
  echo "$overlay: $(grep -c '^kind:' "$built/$name.yaml") objects"
done
