"""Tells by Apprise, in a process of its own: ``{"urls", "title", "body"}`` as JSON on standard input."""

from __future__ import annotations

import json
import sys
from typing import Any


def main(document: dict[str, Any]) -> int:
    """The exit status: 0 when every URL took it."""
    try:
        import apprise
    except ImportError:
        print("the library is not here; install kdump-net[notify]")
        return 69  # EX_UNAVAILABLE
    told = apprise.Apprise()
    for place, url in enumerate(document["urls"], 1):
        if not told.add(url):
            print(f"URL {place} is none that Apprise knows")  # not the URL: it may hold a password
            return 78  # EX_CONFIG
    if told.notify(title=document["title"], body=document["body"], body_format=apprise.NotifyFormat.TEXT):
        return 0
    print("not every URL took it")
    return 75  # EX_TEMPFAIL


if __name__ == "__main__":
    sys.exit(main(json.load(sys.stdin)))
