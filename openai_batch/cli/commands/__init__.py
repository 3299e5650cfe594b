"""The commands, one a file: each parses its options, calls the library, and shows what it returns."""
