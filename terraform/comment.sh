#!/usr/bin/env bash
# terraform/comment.sh CLOUD/ENVIRONMENT: puts the root's plan.txt under PULL_REQUEST, in the comment that it made before if there is one.
set -euo pipefail
cd "$(dirname "$0")/live/$1"
marker="<!-- plan of $1 -->"
body=$(
  printf '%s\n**Plan of `%s`**: %s\n\n<details><summary>All of it</summary>\n\n```\n' "$marker" "$1" \
    "$(grep -E '^(Plan:|No changes)' plan.txt || echo 'outputs alone')"
  # A comment holds 65,536 characters.
  head -c 60000 plan.txt
  printf '\n```\n\n</details>\n'
)
comment=$(gh api --paginate "repos/{owner}/{repo}/issues/$PULL_REQUEST/comments" \
  --jq ".[] | select(.body | startswith(\"$marker\")) | .id" | sed -n 1p)
if [ -n "$comment" ]; then
  gh api --method PATCH "repos/{owner}/{repo}/issues/comments/$comment" --raw-field body="$body" >/dev/null
else
  gh pr comment "$PULL_REQUEST" --body "$body"
fi
