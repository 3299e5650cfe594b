"""The provider options of the `python -m openai_batch.…` programs of 0.3.4."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from openai_batch.providers.lookup import get_provider_by_base_url, get_provider_by_name, with_key

from .warn import warn_of_unsent_key

if TYPE_CHECKING:
    import argparse

    from openai_batch.providers.provider import Provider


def add_provider_arg(parser: argparse.ArgumentParser) -> None:
    """Add `-p/--provider` to the parser of a program."""
    parser.add_argument("--provider", "-p", default=None, metavar="NAME", help="the provider, e.g. openai or parasail")


def add_provider_args(parser: argparse.ArgumentParser) -> None:
    """Add `-p/--provider`, `--base-url` and `--api-key` to the parser of a program."""
    add_provider_arg(parser)
    parser.add_argument("--base-url", help="the API's base URL, instead of a known provider")
    parser.add_argument(
        "--api-key",
        help="the key; other users of this machine can see it here, so prefer the provider's environment variable",
    )


def provider_of(args: argparse.Namespace) -> Provider | None:
    """Return the provider that `args` name, or None if they name none.

    The key of a provider is never used for another base URL: a `--base-url` that no known provider has needs
    `--api-key`; a warning names the key that is not sent. Raises UnknownProviderError if there is no such provider.
    """
    name, base_url, key = args.provider, getattr(args, "base_url", None), getattr(args, "api_key", None)
    if base_url and not (name and get_provider_by_name(name).is_at(base_url)):
        known = get_provider_by_base_url(base_url)
        provider = with_key(known) if known.name else known
        if name and not known.name:
            named = get_provider_by_name(name)
            provider = dataclasses.replace(
                named,
                base_url=base_url,
                api_key=None,
                api_key_env_var=None,
                api_key_command=(),
                api_key_keyring=None,
                headers={},
            )
            if named.api_key and named.api_key_env_var and not key:
                warn_of_unsent_key(named.api_key_env_var, base_url)
    elif name:
        provider = get_provider_by_name(name)
    elif key:
        provider = get_provider_by_name("openai")
    else:
        return None
    return dataclasses.replace(provider, api_key=key) if key else provider
