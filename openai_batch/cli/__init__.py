"""The command line, obatch: the only place for typer and rich."""
