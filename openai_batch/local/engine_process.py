"""One engine process: llama.cpp's server with one model, for its parent process only.

It reads its configuration as one line of JSON from stdin, listens on a socket file that only its user can reach, writes
an empty line to stdout when it is ready, and runs until stdin closes, which happens when the parent ends in any way.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until the parent has ended."""
    answers = os.dup(1)
    os.dup2(2, 1)  # the engine may print: only our line may go to stdout
    config = json.loads(sys.stdin.readline())
    Path(config["socket"]).unlink(missing_ok=True)  # a killed process left it
    try:
        _server = _start(config)  # it serves as long as it is kept
    except (OSError, RuntimeError, ValueError) as exc:
        sys.exit(f"error: the engine cannot load {config['model']}: {exc}")
    os.write(answers, b"\n")
    os.close(answers)
    while sys.stdin.read(4096):
        pass
    os._exit(0)


def _start(config: dict[str, Any]) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.n_parallel = config["slots"]
    params.n_ctx = config["context"] * config["slots"]
    # An embedding's text must fit into one physical batch.
    params.n_batch = params.n_ubatch = config["context"]
    params.n_predict = config["max_output_tokens"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    # With a pooling type the same model answers chats and embeddings.
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.hostnames = [config["socket"]]
    optional = {
        "cache_ram_mib": 0,  # its prompt cache would grow by gigabytes
        "ui": False,
        "cors_origins": "",
        "cors_credentials": False,
        "endpoint_slots": False,
        "model_alias": {config["name"]},
        "verbosity": 0,
        "offline": True,
    }
    for name, value in optional.items():
        if hasattr(params, name):
            setattr(params, name, value)
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
