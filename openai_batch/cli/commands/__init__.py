"""The commands, one a file: each parses its options, calls the library, and shows what it returns.

May import: the toolkit in `cli`, never another command. Start reading at `submit.py`, the shortest of the main ones.
"""
