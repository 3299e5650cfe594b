"""The names of the built-in providers, in a module that loads nothing: shell completion needs only these."""

BUILT_IN_NAMES = ("openai", "parasail", "local", "groq", "nebius", "doubleword", "deepinfra", "dashscope", "cerebras")
