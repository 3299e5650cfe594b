"""Result lines, and how they become answers. Nothing here calls a provider or writes to the registry.

Holds: reading one line and deciding whether it is a success (`result_line`, `result`), counting (`tally`), finding each
result in the files of a batch (`index`), putting results in the order of the input (`merge`), and writing them as rows
(`flatten`, `export`, `csv_file`, `parquet_file`).

May import: `inputs`, `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `result_line.py`.
"""
