"""After a broken download, bytes are appended only if they are proven to be the next bytes of the same file."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pytest

from openai_batch.errors import UnreachableError
from openai_batch.net.transfer import DownloadResponse, transfer

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = b"0123456789" * 30, b"abcdefghij" * 30
HALF = len(OLD) // 2


def pieces(data: bytes, *, broken: bool = False) -> Iterator[bytes]:
    """Yield the bytes in two chunks, then raise an error if `broken`."""
    yield data[: len(data) // 2]
    yield data[len(data) // 2 :]
    if broken:
        raise UnreachableError("the line broke")


@pytest.mark.parametrize(
    ("etag", "span", "length", "appended"),
    [
        ('"old"', (HALF, 299, 300), HALF, True),
        ('"new"', (HALF, 299, 300), HALF, False),
        ('W/"old"', (HALF, 299, 300), HALF, False),
        ("", (HALF, 299, 300), HALF, False),
        ('"old"', (HALF - 10, 299, 300), HALF + 10, False),
        ('"old"', (HALF, 298, 300), HALF - 1, False),
        ('"old"', (HALF, 299, 301), HALF, False),
        ('"old"', (HALF, 299, 300), HALF - 1, False),
    ],
)
def test_a_range_is_appended_only_if_it_is_proven_to_match(
    etag: str, span: tuple[int, int, int], length: int, *, appended: bool
) -> None:
    """If the ETag, start, end, total or length differs, the download starts again; two versions are never joined."""
    asked: list[tuple[int, str | None]] = []

    @contextlib.contextmanager
    def read(offset: int, condition: str | None) -> Iterator[DownloadResponse]:
        asked.append((offset, condition))
        shared = {"etag": '"old"', "accept-ranges": "bytes"}
        if len(asked) == 1:
            yield DownloadResponse(200, shared | {"content-length": "300"}, pieces(OLD[:HALF], broken=True))
        elif len(asked) == 2:
            told = {"etag": etag, "content-range": "bytes {}-{}/{}".format(*span), "content-length": str(length)}
            yield DownloadResponse(206, shared | told, pieces(OLD[HALF:] if appended else NEW[HALF:]))
        else:
            yield DownloadResponse(200, {"etag": '"new"', "content-length": "300"}, pieces(NEW))

    target = io.BytesIO()
    assert transfer(read, target, "file x", sleep=lambda _: None) == (300, 300)
    assert target.getvalue() == (OLD if appended else NEW)
    assert asked[:2] == [(0, None), (HALF, '"old"')]
    assert [offset for offset, _ in asked[2:]] == ([] if appended else [0])
