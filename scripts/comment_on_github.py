#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Write a file as a comment on the pull request of a GitHub workflow, in place of the one that was there before.

The first line of the file is the mark by which the comment is found. The program needs the variables of a runner
and TOKEN, and nothing but Python. Where it may not comment it says so, and ends with 0: the summary of the job has the
same text.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PER_PAGE = 100
MOST_PAGES = 30
TIMEOUT = 30


def main() -> int:
    """Comment, and return the exit code."""
    event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    pull = event.get("pull_request")
    if not pull:
        say("No comment: this is no pull request.")
        return 0
    if not pull["head"]["repo"] or pull["head"]["repo"]["full_name"] != os.environ["GITHUB_REPOSITORY"]:
        say("No comment: this pull request comes from a fork, whose token cannot comment. The summary has the text.")
        return 0
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    mark = text.split("\n", 1)[0]
    comments = f"/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    try:
        before = found(f"{comments}/{pull['number']}/comments", mark)
        if before is None:
            asked("POST", f"{comments}/{pull['number']}/comments", {"body": text})
        elif before["body"] != text:
            asked("PATCH", f"{comments}/comments/{before['id']}", {"body": text})
    except urllib.error.HTTPError as error:
        remedy = "Does the job have the permission pull-requests: write?"
        say(f"::warning title=podfence::No comment: GitHub answered {error.code}. {remedy}")
    except OSError as error:
        say(f"::warning title=podfence::No comment: GitHub cannot be reached: {' '.join(str(error).split())}")
    return 0


def say(text: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def found(path: str, mark: str) -> dict[str, Any] | None:
    """Return the comment of a bot that begins with the mark, None if there is none."""
    for page in range(1, MOST_PAGES + 1):
        items = asked("GET", f"{path}?per_page={PER_PAGE}&page={page}")
        for item in items:
            # Others may quote the mark, and cannot be replaced.
            if item["user"]["type"] == "Bot" and item["body"].split("\n", 1)[0].strip() == mark:
                return dict(item)
        if len(items) < PER_PAGE:
            break
    return None


def asked(method: str, path: str, content: dict[str, str] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Return what the API answers."""
    request = urllib.request.Request(  # noqa: S310 - the address is the runner's
        os.environ["GITHUB_API_URL"] + path,
        method=method,
        data=json.dumps(content).encode() if content else None,
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {os.environ['TOKEN']}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
        return json.load(answer)


if __name__ == "__main__":
    sys.exit(main())
