"""The built-in providers by name. Shell completion needs only these: this module imports nothing and reads no file."""

from __future__ import annotations

KEY_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "parasail": "PARASAIL_API_KEY",
    "local": "",
    "groq": "GROQ_API_KEY",
    "nebius": "NEBIUS_API_KEY",
    "doubleword": "DOUBLEWORD_API_KEY",
    "deepinfra": "DEEPINFRA_TOKEN",
    "dashscope": "DASHSCOPE_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "inference-net": "INFERENCE_API_KEY",
    "moonshot": "MOONSHOT_API_KEY",
    "novita": "NOVITA_API_KEY",
    "siliconflow": "SILICONFLOW_API_KEY",
    "together": "TOGETHER_API_KEY",
    "zhipu": "ZHIPUAI_API_KEY",
    "aibrix": "",
    "litellm": "",
    "llm-d": "",
    "ogx": "",
}
"""The environment variable with the key of each; empty if it needs none. All but the first three are files in
`profiles/`, which say the same; a file is read only if its provider is used."""

BUILT_IN_NAMES = tuple(KEY_VARIABLES)
