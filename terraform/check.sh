#!/usr/bin/env bash
# terraform/check.sh [DIRECTORY...]: checks these modules and roots, or all of them.
# Modules are validated and tested; roots are planned, applied to a fake cloud, planned again (no change) and destroyed.
# TFCHECK names the program that does so offline; without it the registry's providers validate and test.
# CHECKOV names checkov, which is left out without it.
set -euo pipefail
cd "$(dirname "$0")"
TFCHECK=${TFCHECK:-../../shared/tfcheck/run.sh}

check() {
  local root=$1 output status=0
  if [ -x "$TFCHECK" ]; then
    case $root in
      modules/*) output=$("$TFCHECK" "$root" --steps init,validate,test 2>&1) || status=$? ;;
      *) output=$("$TFCHECK" "$root" --var-file "$root/example.tfvars" --steps init,validate,plan,apply,rules,replan,destroy 2>&1) || status=$? ;;
    esac
  else
    output=$(terraform -chdir="$root" init -backend=false -input=false 2>&1 && terraform -chdir="$root" validate && terraform -chdir="$root" test) || status=$?
  fi
  printf '%s\n' "$output"
  return "$status"
}
export -f check
export TFCHECK

[ $# -gt 0 ] || set -- modules/* live/*/* bootstrap/*
terraform fmt -check -recursive -diff .
# It sets itself up the first time, which several at once must not.
[ ! -x "$TFCHECK" ] || "$TFCHECK" env >/dev/null
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'check {}'
[ -z "${CHECKOV:-}" ] || "$CHECKOV" --directory . --framework terraform --quiet --compact --skip-download
