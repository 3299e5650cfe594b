"""The commands, one file for each: each reads its options, calls the library and prints the result.

May import: the toolkit in `cli`, never another command. Start reading at `submit.py`, the shortest of the main ones.
"""
