"""What is stored about jobs: the registry (SQLite) and one folder for each job.

Holds: the records (`records`), the registry (`registry`, its file
`database`, `rows`, `migrations`), the files of a job (`job_folder`), the
rows that are not sent because another row or job has their answer (`reused_answers`), and what shell completion
needs (`completion`).

May import: `results`, `providers`, `requests`, `files`, `openai_batch.errors`. Start reading at `records.py`.
"""
