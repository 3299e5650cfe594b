"""The network. It knows nothing of batches or providers.

Holds: which hosts are this machine or OpenAI (`hosts`), which addresses are public (`addresses`), how long to wait
before the next try (`delays`), and a download that continues where it stopped (`transfer`).

May import: `files`, `openai_batch.errors`. Start reading at `transfer.py`.
"""
