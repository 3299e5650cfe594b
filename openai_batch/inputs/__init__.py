"""Prompts and tables, and how they become requests.

Holds: what kind of file an input is (`formats`), reading its rows (`readers`, `sql`), keeping them to join them with
the answers (`source_rows`), what to ask of each row (`request_spec`, `templates`, `json_schema`), writing the requests
(`prepare`), images (`data_url`, `image_columns`, `public_fetch`), and the built-in example
(`example`).

May import: `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `prepare.py`.
"""
