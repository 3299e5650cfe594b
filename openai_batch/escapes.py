"""Make text from servers, models, files and users safe to show on a screen, in a log or in an error."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, TextIO, cast

from .hidden_keys import without_used_keys

if TYPE_CHECKING:
    from typing import Any

# What can control a terminal or hide text: C0 except newline and tab, DEL, C1, soft hyphens, zero-width characters,
# characters that change the direction of writing, separators of lines, lone surrogates, annotations and tags.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def escape_controls(text: str) -> str:
    """Return `text` with escapes for characters that could control a terminal or hide text, and without our keys."""
    text = without_used_keys(text)
    if text.isprintable():  # the usual case, and quicker to find out
        return text
    return _UNSAFE.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def escape_newlines(text: str) -> str:
    """Return `text` on one line: like `escape_controls`, with newlines escaped too."""
    return escape_controls(text).replace("\n", r"\n")


def escape_json(text: str) -> str:
    """Return JSON text with the same meaning, without characters that could control a terminal and without our keys."""
    # They can only be within strings: what JSON allows between values is spaces, tabs, newlines and CR.
    text = without_used_keys(text.replace("\r\n", "\n"))
    return _UNSAFE.sub(lambda match: _json_escape(match.group()), text)


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))


class EscapingStream:
    """A text stream that escapes what is written to it; everything else is that of `inner`.

    It replaces standard error, so that the output of other libraries and the interpreter is safe too. Our own colours
    are written to `inner`.
    """

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner

    def write(self, text: str) -> int:
        """Write a text with its control characters escaped."""
        self.inner.write(escape_controls(text))
        return len(text)

    def writelines(self, texts: Any) -> None:
        """Write several texts."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def escaping(stream: TextIO) -> TextIO:
    """Return a stream that escapes what is written to `stream`; what has no valid encoding is escaped as well."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream if isinstance(stream, EscapingStream) else cast("TextIO", EscapingStream(stream))


def unescaped(stream: TextIO) -> TextIO:
    """Return the stream that an EscapingStream writes to, for text that is escaped already; any other one as it is."""
    return stream.inner if isinstance(stream, EscapingStream) else stream
