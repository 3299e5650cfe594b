"""Values of numpy, and of subclasses of str, int and float, as the plain Python values that JSON has."""

from __future__ import annotations

from typing import Any


def plain_value(value: Any) -> Any:
    """Return a value or an array of numpy, a str, an int or a float as plain Python, and any other value as it is."""
    if isinstance(value, str):
        return str.__str__(value)  # str() of a member of an enumeration is its name
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, float):
        return float(value)
    kind = type(value)
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return value.astype("datetime64[us]").item() if kind.__name__ == "datetime64" else value.tolist()
    return value
