"""Jinja's sandbox with limits for each row: for time, for numbers, and for the size of texts.

A template may be untrusted, and a row may contain any number. If the operands show the size of a value, it is checked
before the value is made, else after that.
"""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING, Any

from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from openai_batch.errors import InputError
from openai_batch.files.lines import max_line_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2 import Template
    from jinja2.runtime import Context

MAX_SECONDS = 10.0  # processor time for one row

_MAX_BITS = 1 << 20
_WIDTHS = frozenset(("center", "indent", "batch", "slice", "tojson", "round", "ljust", "rjust", "zfill", "expandtabs"))
_FORMATS = frozenset(("format", "%"))
_WIDE = re.compile(r"(?:%[-#0 +]*|\{[^{}]*:[^{}]*?)(?:(\d{8,})|\*)")
_EACH, _SIZE = "each item of a loop", "size of a text"  # no template can name these filters


class LimitedEnvironment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with the limits of this file. It renders one template at a time."""

    intercepted_binops = frozenset("+*%") | {"**"}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._deadline = 0.0
        self.filters = {name: self.limited(name, function) for name, function in self.filters.items()}
        self.filters |= {_EACH: self._each, _SIZE: _checked}

    def compiled(self, text: str) -> Template:
        """Return a template whose loops count against the time. Raises TemplateError, or RecursionError."""
        tree = self.parse(text)
        for loop in tree.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, _EACH, [], [], None, None, lineno=loop.lineno)
        for joined in list(tree.find_all(nodes.Concat)):  # `~`, which cannot be intercepted as an operator
            joined.nodes = [nodes.Filter(nodes.Concat(joined.nodes), _SIZE, [], [], None, None)]
        return self.from_string(tree)

    def rendered(self, template: Template, values: dict[str, Any]) -> str:
        """Return the text for these values. Raises InputError if it takes too much time or is too large."""
        self._deadline = time.thread_time() + MAX_SECONDS
        pieces: list[str] = []
        size = 0
        for piece in template.generate(values):
            self._step()
            size += len(piece)
            _check_size(size)
            pieces.append(piece)
        return "".join(pieces)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function or a macro of a template."""
        self._step()
        _check_widths(getattr(obj, "__name__", ""), None, (*args, *kwargs.values()))
        return _checked(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate."""
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, int) and isinstance(other, str | bytes | list | tuple):
                    _check_size(one * len(other))
        if isinstance(left, int) and isinstance(right, int) and operator in ("*", "**"):
            bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _MAX_BITS:
                raise InputError("the template makes a number that is too large", hint="fix the template")
        _check_widths(operator, left, right if isinstance(right, tuple) else (right,))
        return _checked(super().call_binop(context, operator, left, right))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Make the method `format` of a text safe."""
        _check_widths("format", getattr(value, "__self__", None), ())
        return super().wrap_str_format(value)

    def limited(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the filter `name` with the limits."""

        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            self._step()
            _check_widths(name, args[0] if args else None, (*args[1:], *kwargs.values()))
            return _checked(function(*args, **kwargs))

        return checked

    def _each(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self._step()
            yield item

    def _step(self) -> None:
        if time.thread_time() > self._deadline:
            raise InputError(
                f"the template takes more than {MAX_SECONDS:.0f} s for this row", hint="make its loops shorter"
            )


def _check_widths(name: str, subject: Any, operands: Iterable[Any]) -> None:
    """Refuse a width or a count that would make a text too long. Other numbers are not limited."""
    found = _WIDE.search(subject) if name in _FORMATS and isinstance(subject, str) else None
    if found is not None and found[1]:
        _check_size(int(found[1]))
    if name in _WIDTHS or found is not None:
        for operand in operands:
            _check_size(abs(operand) if isinstance(operand, int) else 0)


def _check_size(size: int) -> None:
    if size > max_line_bytes():
        raise InputError(
            f"the template makes a text of more than {max_line_bytes():,} characters", hint="make it shorter"
        )


def _checked(value: Any) -> Any:
    """Return a value, if it is not too large."""
    if isinstance(value, str | bytes | list | tuple):
        _check_size(len(value))
    return value
