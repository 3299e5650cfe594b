"""One batch input file: lines of requests, from the user's file to the bytes that are sent.

Holds: which endpoint parameters mean (`endpoints`), building a request (`build`), a file, a pipe or Python objects as
one source (`source`, `join`, `from_python`), checking it line by line (`check`, `fast_check`, `limits`, `report`),
telling requests that are the same (`fingerprints`), splitting it to fit the limits (`split`), and all of that in one
pass (`batch_file`).

May import: `files`, `net`, `openai_batch.errors`. Start reading at `batch_file.py`.
"""
