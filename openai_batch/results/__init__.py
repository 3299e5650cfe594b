"""Result lines, and how they become answers. Nothing here calls a provider or writes to the registry.

Holds: reading one line (`result_line`), judging it (`result`, `outcome`, `answers`, `reasons`), counting (`tally`),
finding each result in the files of a batch (`index`), putting results in the order of the input (`merge`), and writing
them as rows (`flatten`, `export`, `csv_file`, `parquet_file`).

May import: `inputs`, `requests`, `files`, `net`, `openai_batch.errors`. Start reading at `result.py`.
"""
