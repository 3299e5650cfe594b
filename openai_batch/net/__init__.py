"""The network. This has no code about batches or providers.

Holds: which hosts are this machine or OpenAI (`hosts`), which addresses are public (`addresses`), how long to wait
before the next try (`delays`), a download that continues where it stopped (`transfer`), reading a file elsewhere
(`plain_get`), and answers that are limited in size (`answers`) and in time (`time_limit`).

May import: `files`, `openai_batch.errors`. Start reading at `transfer.py`.
"""
