"""The HTML page of a report, read with an HTML parser."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from openai_batch.hidden_keys import hide_key
from openai_batch.report.page import page

ATTACK = "</script><script>alert(1)</script><!--<img src=x onerror=alert(1)>\u2028\u202e\ud800{{ 1 }}"
KEY = "sk-hidden-in-pages-0123456789"


class Reader(HTMLParser):
    """Collects the elements of a page, and the text in those that hold scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember an element."""
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        """Remember the text of a script."""
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def read(title: str, record: dict[str, Any], rows: list[tuple[str, ...]]) -> tuple[str, Reader]:
    """Make a page and parse it."""
    made = page(title, [("label", title)], record, rows)
    reader = Reader()
    reader.feed(made)
    return made, reader


def record(text: str) -> dict[str, Any]:
    """Return a record with this text in every text field."""
    part = {"number": 1, "batch_id": text, "status": text, "requests": 1, "failed": 1, "created_at": text}
    cause = {"outcome": text, "cause": text, "count": 1, "samples": [text]}
    return {"job": 1, "requests": 1, "parts": [part], "causes": [cause], "outcomes": {text: 1}, "errors": [text]}


def test_malicious_text_stays_text() -> None:
    """Text of an answer adds no script, element or event handler to the page."""
    made, reader = read(ATTACK, record(ATTACK), [("r1", "success", ATTACK, ATTACK)])
    assert len(reader.scripts) == 3
    assert not [tag for tag, attributes in reader.elements if tag == "img" or any(map(is_handler, attributes))]
    assert made.isascii() or "\u202e" not in made
    shown = json.loads(reader.scripts[0])["rows"][0][3]
    assert shown == ATTACK.replace("\u2028", r"\u2028").replace("\u202e", r"\u202e").replace("\ud800", r"\ud800")


def is_handler(attribute: str) -> bool:
    """Return whether an attribute of an element is an event handler."""
    return attribute.startswith("on")


def test_the_page_loads_nothing() -> None:
    """The policy allows only the page's own scripts and style, and the page contains no links."""
    _, reader = read("Job 1", record("x"), [])
    policy = next(a["content"] for tag, a in reader.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert not [a for _, a in reader.elements if {"src", "href", "action"} & a.keys()]
    assert not any("sourceMappingURL" in script for script in reader.scripts)


def test_keys_are_not_in_the_page() -> None:
    """A key that a server repeats in an answer or an error is removed."""
    hide_key(KEY)
    made, _ = read(KEY, record(KEY), [("r1", KEY, KEY, KEY)])
    assert KEY not in made
