"""How servers change the marks of a batch, for the words of the plan's `shape` setting.

In the batch itself: nometadata (metadata is dropped), upperkeys (keys in upper case), cutvalues (values cut to 64
characters). In lists only: barelist (no metadata), userlist (without our metadata), nofilemark (no input_file_id). In
the record of a file: prefixname (a prefix before its name), othername (another name).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def kept(metadata: Mapping[str, str] | None, shape: Collection[str]) -> dict[str, str]:
    """Return the metadata that the server stores."""
    kept = {} if "nometadata" in shape else dict(metadata or {})
    if "upperkeys" in shape:
        kept = {key.upper(): value for key, value in kept.items()}
    return {key: value[:64] for key, value in kept.items()} if "cutvalues" in shape else kept


def listed(view: dict[str, Any], shape: Collection[str]) -> dict[str, Any]:
    """Return a batch as a list shows it."""
    if "nofilemark" in shape:
        view["input_file_id"] = None
    if "barelist" in shape:
        view["metadata"] = None
    if "userlist" in shape:
        view["metadata"] = {k: v for k, v in (view["metadata"] or {}).items() if not k.startswith("obatch")}
    return view


def renamed(name: str, shape: Collection[str]) -> str:
    """Return the name that the server shows for an uploaded file."""
    if "othername" in shape:
        return "input.jsonl"
    return f"2026/uploads/1_{name}" if "prefixname" in shape else name
