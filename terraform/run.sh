#!/usr/bin/env bash
# terraform/run.sh init|plan|apply|drift CLOUD/ENVIRONMENT: what the workflows do with a live root, and a person can.
# TF_STATE_BUCKET (and TF_STATE_REGION on AWS) say where the state is. plan leaves plan.txt in the root; drift ends with 2
# if what runs is not what is written. Images that terraform.tfvars does not name stay those that run.
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 64; }
cd "$(dirname "$0")/live/$2" || exit 66

terraform init -input=false -no-color \
  ${TF_STATE_BUCKET:+-backend-config="bucket=$TF_STATE_BUCKET"} \
  ${TF_STATE_REGION:+-backend-config="region=$TF_STATE_REGION"} >/dev/null
rm -f deployed.auto.tfvars.json
if ! grep -qsE '^images\b' terraform.tfvars && images=$(terraform output -json -no-color images 2>/dev/null); then
  printf '{"images": %s}\n' "$images" >deployed.auto.tfvars.json
fi
case $1 in
  init) ;;
  plan)
    terraform plan -input=false -no-color -lock=false -out=tfplan >/dev/null
    terraform show -no-color tfplan >plan.txt
    cat plan.txt
    ;;
  apply)
    terraform apply -input=false -no-color -auto-approve
    terraform output -no-color
    ;;
  drift) terraform plan -input=false -no-color -lock=false -detailed-exitcode ;;
  *) sed -n '2,4s/^# //p' "$0" >&2; exit 64 ;;
esac
