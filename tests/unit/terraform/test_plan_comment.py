"""The script that puts a plan under a pull request, against a `gh` that keeps comments in files."""

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[3] / "terraform/comment.sh"

# Comments are files named by their number; the marker is a comment's first line.
GH = r"""#!/usr/bin/env bash
set -euo pipefail
case "$*" in
  "api --paginate"*) { grep -l 'plan of gcp/staging' "$COMMENTS"/* || true; } | xargs -rn1 basename ;;
  "api --method PATCH"*) printf '%s' "${6#body=}" >"$COMMENTS/${4##*/}" ;;
  "pr comment"*) printf '%s' "$5" >"$COMMENTS/$(($(ls "$COMMENTS" | wc -l) + 1))" ;;
esac
"""


def test_one_comment_for_each_root(tmp_path: Path) -> None:
    """The first plan is a new comment; the next replaces it and leaves others alone. A long plan is cut."""
    root = tmp_path / "terraform/live/gcp/staging"
    root.mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "terraform")
    comments = tmp_path / "comments"
    comments.mkdir()
    (comments / "1").write_text("Looks good to me")
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "COMMENTS": str(comments),
        "PULL_REQUEST": "7",
    }
    for plan in ("Plan: 3 to add, 0 to change, 0 to destroy.\n", "No changes. Yours matches.\n" + "x" * 100_000):
        (root / "plan.txt").write_text(plan)
        subprocess.run([tmp_path / "terraform/comment.sh", "gcp/staging"], env=environment, check=True)
        body = (comments / "2").read_text()
        assert body.startswith("<!-- plan of gcp/staging -->\n**Plan of `gcp/staging`**: " + plan.splitlines()[0])
        assert len(body) < 65_536
    assert sorted(path.name for path in comments.iterdir()) == ["1", "2"]
