"""One batch input file: lines of requests, from the user's file to the bytes that are sent.

Holds: the endpoints (`endpoints`), building a request (`build`, `json_schema`,
`answer_types`, `plain_values`), opening a file, a pipe or Python objects as one source
(`source`, `join`, `from_python`), checking it line by line (`check`, `fast_check`, `request_line`, `strict_json`,
`unique_ids`), what a provider accepts (`limits`), what a check found (`check_report`), finding equal requests
(`fingerprints`, `row_set`), splitting the file to fit the limits (`split`), and all of that in one pass (`batch_file`).

May import: `files`, `net`, `openai_batch.errors`. Start reading at `batch_file.py`.
"""
