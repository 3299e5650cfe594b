"""Read the rows of a data frame, a dataset, a list or an iterable, and give answers back in the same kind."""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias, cast

from openai_batch.errors import InputError
from openai_batch.inputs.readers import PROMPT
from openai_batch.requests.plain_values import plain_value

Row: TypeAlias = dict[str, Any]
Join: TypeAlias = Callable[[list[Row], Sequence[str]], Any]


_ROWS_AT_ONCE = 10_000  # how many rows of a frame are made Python values at a time


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that a program gives. They are read once."""

    rows: Iterator[Row]
    """The rows, as dicts of plain Python values."""
    join: Join | None = None
    """Returns what was given with new cells for each row, in columns with these names; None for an iterable."""
    texts: bool = False
    """Whether the rows are texts."""


def open_rows(given: Any, limit: int | None = None) -> Rows:
    """Return the first `limit` rows (None: all) of a frame, a series, a dataset, a list or an iterable.

    The rows of the last two are dicts or texts. Raises InputError for anything else.
    """
    if isinstance(given, Mapping) and type(given).__module__.startswith("datasets."):
        split = next(iter(given), "train")
        raise InputError("the rows are several splits; nothing was sent", hint=f'give one of them: rows["{split}"]')
    if isinstance(given, str | bytes | Mapping):
        kind = "dict" if isinstance(given, Mapping) else "text"
        raise InputError(f"the rows are one {kind}; nothing was sent", hint="give a list of them")
    if _is_dataset(given):
        dataset = given if limit is None else given.select(range(min(limit, len(given))))
        return Rows(map(_plain, dataset), lambda cells, names: _joined_dataset(dataset, columns_of(cells, names)))
    frame = _frame(given)
    if frame is not None:
        head = frame if limit is None else frame.head(limit)
        names = tuple(map(str, head.columns))
        if len(set(names)) < len(names):  # such as 1 and "1"
            name = next(name for name in names if names.count(name) > 1)
            raise InputError(f"the rows have several columns {name!r}; nothing was sent", hint="rename one of them")
        cells = head.iter_rows(buffer_size=_ROWS_AT_ONCE)
        return Rows(
            (_plain(dict(zip(names, row, strict=True))) for row in cells),
            lambda new, names: _joined(head, columns_of(new, names)),
        )
    if isinstance(given, AsyncIterable):
        raise InputError("the rows are an async iterable; nothing was sent", hint="give them to the async function")
    if not isinstance(given, Iterable):
        raise InputError(
            f"the rows are a {type(given).__name__}; nothing was sent",
            hint="give a data frame, a list of dicts or texts, or another iterable of them",
        )
    listed = list(itertools.islice(given, limit)) if isinstance(given, Sized) else None
    source = itertools.islice(given, limit) if listed is None else iter(listed)
    first = list(itertools.islice(source, 1))
    texts = bool(first) and isinstance(first[0], str)
    rows = _each(itertools.chain(first, source), str if texts else Mapping)
    return Rows(rows, None if listed is None else lambda cells, _: _joined_list(listed, cells), texts)


def _joined_list(rows: list[Any], cells: list[Row]) -> list[Row]:
    return [{**row, **new} for row, new in zip(rows, cells, strict=True)]


def _each(items: Iterable[Any], kind: type) -> Iterator[Row]:
    """Yield dicts or texts as rows. Raises InputError for an item that is not of this kind."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, kind):
            wanted = "a text like the first row" if kind is str else "a dict" if number > 1 else "a dict or a text"
            raise InputError(
                f"row {number} is not {wanted} but {type(item).__name__}; nothing was sent",
                hint="give rows of one kind: all dicts, or all texts",
            )
        yield {PROMPT: str(item)} if kind is str else _plain(cast("Mapping[Any, Any]", item))


def _is_dataset(given: Any) -> bool:
    """Return whether this is a dataset of the library `datasets` that is complete, and not a stream."""
    return type(given).__module__.startswith("datasets.") and hasattr(given, "add_column") and hasattr(given, "__len__")


def _frame(given: Any) -> Any:
    """Return a data frame or a series as a frame of narwhals; None for anything else."""
    import narwhals.stable.v2 as nw
    from narwhals.exceptions import DuplicateError

    try:
        read = nw.from_native(_whole(given), pass_through=True, allow_series=True)
    except DuplicateError as exc:
        name = " ".join(str(exc).split()).rpartition(" - ")[2]
        raise InputError(f"the rows have the column {name}; nothing was sent", hint="rename one of them") from None
    if isinstance(read, nw.LazyFrame):
        raise InputError("the rows are a lazy frame; nothing was sent", hint="give it with .collect()")
    if isinstance(read, nw.Series):
        read = (read.alias(PROMPT) if read.name in (None, "") else read).to_frame()
    return read if isinstance(read, nw.DataFrame) else None


def _whole(given: Any) -> Any:
    """Return a batch or an array of Arrow as a table or a column; anything else as it is."""
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and isinstance(given, arrow.RecordBatch):
        return arrow.Table.from_batches([given])
    return arrow.chunked_array([given]) if arrow is not None and isinstance(given, arrow.Array) else given


def _joined(frame: Any, columns: dict[str, list[Any]]) -> Any:
    import narwhals.stable.v2 as nw

    backend = frame.implementation
    series = []
    for name, values in columns.items():
        kinds = {type(value) for value in values if value is not None}
        column: Any = values
        kind = nw.String if not kinds else None  # a column without values is text
        if backend is nw.Implementation.PANDAS and kinds == {int} and None in values:
            column = sys.modules["pandas"].array(values, dtype="Int64")  # whole numbers stay whole
        series.append(in_one_type(partial(nw.new_series, name, dtype=kind, backend=backend), column))
    return frame.with_columns(*series).to_native()


def in_one_type(make: Callable[[Any], Any], values: Any) -> Any:
    """Return what `make` makes of the values of a column; if a list in it has values of several types, as JSON text."""
    from openai_batch.inputs.templates import as_text

    try:
        return make(values)
    except Exception:  # noqa: BLE001 - each library has errors of its own for it
        return make([None if value is None else as_text(value) for value in values])


def _joined_dataset(dataset: Any, columns: dict[str, list[Any]]) -> Any:
    library = sys.modules["datasets"]
    if not len(dataset):  # the library joins nothing to an empty dataset
        features = {**dataset.features, **dict.fromkeys(columns, library.Value("string"))}
        return library.Dataset.from_dict({name: [] for name in features}, features=library.Features(features))
    return library.concatenate_datasets([dataset, dataset_of(columns, library)], axis=1)


def dataset_of(columns: dict[str, list[Any]], library: Any) -> Any:
    """Return columns as a dataset of the library `datasets`."""
    arrow = sys.modules["pyarrow"]  # the library keeps its columns there

    def accepted(cells: list[Any]) -> list[Any]:
        arrow.array(cells)  # raises an error if lists in them have values of several types
        return cells

    columns = {name: in_one_type(accepted, cells) for name, cells in columns.items()}
    made = library.Dataset.from_dict(columns)
    texts = dict.fromkeys(without_values(columns), library.Value("string"))
    return library.Dataset.from_dict(columns, library.Features({**made.features, **texts})) if texts else made


def without_values(columns: dict[str, list[Any]]) -> list[str]:
    """Return the names of the columns that have no value. They become text, so that they fit other rows."""
    return [name for name, values in columns.items() if all(value is None for value in values)]


def columns_of(rows: list[Row], names: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Return rows as columns, each with values of one type. `names` are those of columns that are there in any case."""
    names = list(dict.fromkeys((*names, *(name for row in rows for name in row))))
    return {name: _uniform([row.get(name) for row in rows]) for name in names}


def _uniform(values: list[Any]) -> list[Any]:
    """Return the values of a new column with one type: whole numbers and others as numbers, any other mix as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    from openai_batch.inputs.templates import as_text

    return [None if value is None else as_text(value) for value in values]


def _plain(row: Mapping[Any, Any]) -> Row:
    """Return a row with plain Python values: no values of numpy, and None for what is missing."""
    return {str(name): plain(value) for name, value in row.items()}


def plain(value: Any) -> Any:
    """Return a cell as a plain Python value. Missing values of numpy and pandas become None."""
    if value is None or (isinstance(value, str | int) and type(value) in (str, int, bool)):
        return value
    if isinstance(value, float):
        return None if value != value else float(value)  # noqa: PLR0124 - it is not a number
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    made = plain_value(value)
    return made if made is value or isinstance(made, str) else plain(made)
