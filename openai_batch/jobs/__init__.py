"""Jobs: the durable workflow. A killed job continues where it stopped, and nothing is paid twice.

Holds: the public classes (`jobs`, `job`), the use cases, one a file (`submit`, `recover`, `cancel`, `collect`,
`download`, `reuse`, `retry`, `check`), the steps of a job's parts that they call (`workflow`), their tools
(`connections`, `token_limit`, `reporter`, `job_spec`, `result_order`), and what is stored (`store`).

May import: `providers`, `results`, `local`, `inputs`, `requests`, `files`, `net`, `openai_batch.errors`.
Start reading at `jobs.py`, then `submit.py` and `workflow.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openai_batch._lazy import lazy_names

if TYPE_CHECKING:
    from openai_batch.results.result import Result

    from .job import Job
    from .jobs import Jobs
    from .reporter import Reporter

__all__ = ["Job", "Jobs", "Reporter", "Result"]

__getattr__, __dir__ = lazy_names(
    __name__, {"Job": "job", "Jobs": "jobs", "Reporter": "reporter", "Result": ".results.result"}
)
