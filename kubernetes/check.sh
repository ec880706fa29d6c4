#!/usr/bin/env bash
# Builds every overlay, and production with all that it may take, and holds them against the API's schemas; VALIDATE names
# kubernetes-validate.
set -euo pipefail
cd "$(dirname "$0")"
built=$(mktemp -d)
everything=$(mktemp -d ./everything.XXXXXX)
trap 'rm -rf "$built" "$everything"' EXIT
cat >"$everything/kustomization.yaml" <<'END'
namespace: digits
resources: [../overlays/production]
components: [../components/feedback, ../components/model_rollouts]
configMapGenerator:
  - {name: digits-writes, literals: ["TENSORGATE_ROLLOUT__PLANS=gs://bucket", "TENSORGATE_CAPTURE__PATH=gs://bucket/captured"]}
END
for overlay in overlays/* "$everything"; do
  name=${overlay##*/}
  kubectl kustomize "$overlay" >"$built/$name.yaml"
  "${VALIDATE:-kubernetes-validate}" --strict --quiet "$built/$name.yaml"
  echo "$overlay: $(grep -c '^kind:' "$built/$name.yaml") objects"
done
