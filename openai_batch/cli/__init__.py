"""The command line, obatch: the only place for typer and rich.

Holds: the entry (`main`, `app`, `signals`), one file a command (`commands`), options (`options` and the groups that
commands share: `request_options`, `job_options`, `export_options`), and what is printed (`output`, `progress`,
`job_format`, `announce`, `deliver`).

May import: everything below it, each inside the function that needs it. Start reading at `main.py`, then
`commands/run.py`.
"""
