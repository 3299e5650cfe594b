"""The report of a job or a file: counts, distributions and causes, as data and as a page. It needs little memory.

May import: `results`, `requests`, `files`, `errors` and `escapes`. Start reading at `report.py`. `chart.umd.min.js` is
Chart.js, unchanged (`docs/dependencies.md`).
"""
