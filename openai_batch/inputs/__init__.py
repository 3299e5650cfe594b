"""Prompts and tables, and how they become requests.

Holds: what kind of file an input is (`formats`), reading its rows (`readers`, `sql`, `workbook`), keeping the rows to
join them with the answers later (`source_rows`), which request to make from a row (`request_spec`, `default_column`,
`templates`, `template_limits`), writing the requests (`prepare`), images (`data_url`, `image_columns`,
`public_fetch`), and the built-in example (`example`).

May import: `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `prepare.py`.
"""
