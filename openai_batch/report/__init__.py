"""What became of a job or a file: counts, distributions and causes in little memory, as data and as a page.

May import: `results`, `requests`, `files`, `errors` and `escapes`. Start reading at `report.py`. `chart.umd.min.js` is
Chart.js as its makers publish it (`docs/dependencies.md`).
"""
