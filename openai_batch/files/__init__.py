"""The disk. This has no code about batches or providers.

Holds: where files are (`paths`), private folders and files (`private`), atomic writes (`atomic`),
locks between processes (`locks`), work folders (`workspace`), keeping a replaced file (`backups`), reading lines of
limited length (`lines`), a part of a file (`slice`), compressed files (`compression`), files of other kinds by their
first bytes (`signatures`), reading a table of settings (`typed_table`), and the standard streams (`streams`).

May import: `openai_batch.errors`. Start reading at `atomic.py`.
"""
