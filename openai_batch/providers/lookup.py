"""Providers by name, by model and by base URL: the public names of 0.3.4, and the user's own profiles.

from openai_batch.providers import get_provider_by_name

provider = get_provider_by_name("parasail")
"""

from __future__ import annotations

import dataclasses
from typing import Any

from openai_batch.errors import UnknownProviderError, UsageError

from .builtin import all_providers, is_openai_model, openai_provider, parasail_provider
from .keys import key_from_environment
from .provider import Provider

__all__ = [
    "Provider",
    "all_providers",
    "askable_providers",
    "get_provider_by_base_url",
    "get_provider_by_model",
    "get_provider_by_name",
    "known_providers",
    "openai_models",
    "openai_provider",
    "parasail_provider",
    "pick_provider",
]

openai_models: list[str]


def __getattr__(name: str) -> Any:
    """Make `openai_models` at its first use: the names come from the openai package, which is slow to import."""
    if name == "openai_models":
        from .client import sdk_model_names

        return sdk_model_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def known_providers() -> dict[str, Provider]:
    """Return every provider by name, built in or from the configuration file, with its key where one is set.

    Raises ConfigError if the file is invalid.
    """
    from .config import load

    return {name: with_key(profile) for name, profile in load().profiles.items()}


def askable_providers() -> list[Provider]:
    """Return the providers that can be asked now: with a key, without need of one, or the local one if it runs.

    Those whose key a command prints come last, since the command may ask its user for a password. Raises ConfigError
    if the configuration file is invalid.
    """
    from openai_batch.local import launch

    def can_be_asked(provider: Provider) -> bool:
        if provider.is_local:
            return launch.running() is not None
        return bool(provider.api_key or provider.api_key_command) or not provider.needs_key

    found = [provider for provider in known_providers().values() if can_be_asked(provider)]
    return sorted(found, key=lambda provider: not provider.api_key and bool(provider.api_key_command))


def get_provider_by_name(name: str) -> Provider:
    """Return the provider called `name`, with its key from the environment.

    Raises UnknownProviderError (a ValueError) if there is none.
    """
    from .config import load

    profiles = load().profiles
    if name not in profiles:
        raise UnknownProviderError(
            f"No provider found with name: {name}", hint=f"known providers: {', '.join(sorted(profiles))}"
        )
    return with_key(profiles[name])


def get_provider_by_model(model: str) -> Provider:
    """Return the provider that serves `model`.

    A profile of the configuration file that claims the name comes first, then OpenAI for its own models and
    fine-tunes, then the local provider for its built-in model; any other name goes to Parasail.
    """
    from .config import load

    settings = load()
    for name, profile in settings.profiles.items():
        if (name in settings.own or profile.is_local) and profile.claims(model):
            return with_key(profile)
    return get_provider_by_name("openai" if is_openai_model(model) else "parasail")


def get_provider_by_base_url(base_url: str) -> Provider:
    """Return the provider at `base_url` (a str or a URL object), or a new one if no known provider is there.

    As in 0.3.4 it carries no key from the environment.
    """
    from .config import load

    for profile in load().profiles.values():
        if profile.same_place(str(base_url)):
            return dataclasses.replace(profile)
    return Provider(base_url=str(base_url))


def with_key(profile: Provider) -> Provider:
    """Return a copy with the key of its environment variable, unless it has one; so did the copies of 0.3.4."""
    return dataclasses.replace(profile, api_key=profile.api_key or key_from_environment(profile.api_key_env_var))


def pick_provider(name: str | None, model: str | None) -> Provider:
    """Return the provider called `name`, else the configured default one, else the one that serves `model`.

    Raises UnknownProviderError if there is no such provider, or UsageError if nothing says which one.
    """
    from .config import load

    chosen = name or load().default_provider
    if chosen:
        return get_provider_by_name(chosen)
    if model:
        return get_provider_by_model(model)
    raise UsageError("which provider?", hint="name it with -p; `obatch providers` shows them")
