"""The command line `obatch`. Only this package uses typer and rich.

Holds: the start (`main`, `app`, `signals`, `session`), one file per command (`commands`), options (`options`, and the
groups that commands share: `request_options`, `job_options`, `export_options`, `option_groups`), output (`output`:
tables, JSON and messages; `job_format`: how jobs are printed; `progress`, `start`, `deliver`), and the generator of
shell completions (`completion_scripts`).

May import: every other package, inside the function that needs it, so that each command starts fast. Start reading at
`main.py`, then `commands/run.py`.
"""
