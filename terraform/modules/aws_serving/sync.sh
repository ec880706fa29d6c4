#!/usr/bin/env bash
# Copies the model store and the gateway's keys into the task, again and again.
# BUCKET, MODELS (names), LOADED_VERSIONS, MODELS_PATH, KEYS_SECRET (may be empty), KEYS_PATH, POLL_SECONDS.
#
# A version appears complete or not at all: it is fetched once its saved_model.pb, which is published last, is there, into
# a directory that the server does not look at, and renamed. What cannot be read leaves everything as it was.
set -euo pipefail

fetch_config() {
  aws s3 cp --only-show-errors "s3://$BUCKET/models.config" "$MODELS_PATH/.models.config" &&
    mv "$MODELS_PATH/.models.config" "$MODELS_PATH/models.config"
}

fetch_keys() {
  [ -n "$KEYS_SECRET" ] || return 0
  aws secretsmanager get-secret-value --secret-id "$KEYS_SECRET" --query SecretString --output text >"$KEYS_PATH/.keys.json" || return
  # The gateway reads a file again that has changed.
  [ "$(<"$KEYS_PATH/.keys.json")" = "$(cat "$KEYS_PATH/keys.json" 2>/dev/null)" ] || mv "$KEYS_PATH/.keys.json" "$KEYS_PATH/keys.json"
}

# The newest versions of a model that are complete, one a line.
published() {
  local keys
  keys=$(aws s3api list-objects-v2 --bucket "$BUCKET" --prefix "$1/" \
    --query "Contents[?ends_with(Key, '/saved_model.pb')].[Key]" --output text) || return
  sed -nE 's#^.*/([0-9]+)/saved_model\.pb$#\1#p' <<<"$keys" | sort -n | tail -n "$LOADED_VERSIONS"
}

fetch_model() {
  local directory="$MODELS_PATH/$1" versions version incoming
  versions=$(published "$1") || return
  if [ -z "$versions" ]; then
    echo "no version of $1 is published in $BUCKET" >&2
    return 1
  fi
  mkdir -p "$directory"
  for version in $versions; do
    [ -d "$directory/$version" ] && continue
    incoming="$directory/.incoming-$version"
    rm -rf "$incoming"
    aws s3 cp --recursive --only-show-errors "s3://$BUCKET/$1/$version/" "$incoming" || return
    mv "$incoming" "$directory/$version"
    echo "fetched version $version of $1"
  done
  for version in "$directory"/[0-9]*; do
    grep -qx "${version##*/}" <<<"$versions" || rm -rf "$version"
  done
}

synchronise() {
  local model failed=0
  fetch_config || failed=1
  fetch_keys || failed=1
  for model in $MODELS; do fetch_model "$model" || failed=1; done
  return "$failed"
}

trap exit TERM INT
while :; do
  if synchronise; then touch "$MODELS_PATH/.synchronised"; fi
  # In the background, so that a signal does not wait for it.
  sleep "$POLL_SECONDS" &
  wait $!
done
