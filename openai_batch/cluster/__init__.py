"""Batches that are run by workers on many machines, from a shared store.

Holds: the settings (`settings`), the store (`store`), inputs and batches in it (`batches`), what a worker does
(`run_worker`, `worker`, `journal`, `patience`), a model server beside it (`engine`), how far a batch is (`progress`),
and what starts the workers (`keep_running`, `launchers`, `ray_driver`). `providers/shards_api` makes a provider of it.

May import: `local`, `requests`, `net`, `files`, `openai_batch.errors`. Start reading at `batches.py`, then `worker.py`.
"""
