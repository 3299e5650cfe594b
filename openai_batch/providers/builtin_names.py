"""The names of the built-in providers. Shell completion needs only these, so this module imports nothing."""

BUILT_IN_NAMES = ("openai", "parasail", "local", "groq", "nebius", "doubleword", "deepinfra", "dashscope", "cerebras")
