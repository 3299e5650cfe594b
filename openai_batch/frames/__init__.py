"""Rows in, answers out: `map`, `embed`, `start` and `attach`, for data frames, lists and iterables.

Holds: the functions (`map`, `start`), their options, reading rows of any kind and giving them back (`tables`), the new
columns, structured answers (`schema`), the durable run behind them (`run`), and a progress bar. A library of data
frames is imported only if an object of it is given.

May import: `jobs` and everything below it. Start reading at `map.py`.
"""
