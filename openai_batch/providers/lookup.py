"""Find a provider by name, by model or by base URL: a built-in one, or one of the configuration file.

from openai_batch.providers import get_provider_by_name

provider = get_provider_by_name("parasail")
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from openai_batch.errors import UnknownProviderError, UsageError, did_you_mean

from .builtin import is_openai_model
from .keys import key_from_environment
from .provider import Provider

if TYPE_CHECKING:
    from collections.abc import Iterable

openai_models: list[str]


def __getattr__(name: str) -> Any:
    """Make `openai_models` when it is used: its names come from the openai package, which is slow to import."""
    if name == "openai_models":
        from .client import sdk_model_names

        return sdk_model_names()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def known_providers() -> dict[str, Provider]:
    """Return every provider by name, each with the key of its environment variable if that is set.

    Raises ConfigError if the configuration file is invalid.
    """
    from .config import load

    return {name: with_key(profile) for name, profile in load().profiles.items()}


def providers_in_use() -> list[Provider]:
    """Return the providers that are configured or have a key, and OpenAI, Parasail and the local one.

    Each has the key of its environment variable if that is set. Raises ConfigError if the configuration file is
    invalid.
    """
    from .config import load

    settings = load()
    return [with_key(settings.profiles[name]) for name in settings.in_use()]


def is_known(provider: Provider) -> bool:
    """Return whether this is a built-in or configured provider, and not only a base URL that a program has given."""
    from .config import load

    profile = load().profiles.get(provider.name or "")
    return profile is not None and profile.is_at(str(provider.base_url))


def askable_providers() -> list[Provider]:
    """Return the providers that can be asked now: those that have a key or need none, and the local one if it runs.

    Those whose key a command prints are last, since the command may ask its user for a password. Raises ConfigError if
    the configuration file is invalid.
    """
    from openai_batch.local import launch

    def can_be_asked(provider: Provider) -> bool:
        if provider.is_local:
            return launch.running() is not None
        return not provider.is_template and (provider.has_key or not provider.needs_key)

    found = [provider for provider in providers_in_use() if can_be_asked(provider)]
    return sorted(found, key=lambda provider: not provider.api_key and provider.has_key)


def get_provider_by_name(name: str) -> Provider:
    """Return the provider called `name`, with the key of its environment variable.

        provider = get_provider_by_name("openai")

    Raises UnknownProviderError (a ValueError) if there is none, ConfigError if the configuration file is invalid.
    """
    from .config import load

    profiles = load().profiles
    if name not in profiles:
        raise UnknownProviderError(f"No provider found with name: {name}", hint=_known_names(name, profiles))
    return with_key(profiles[name])


def _known_names(name: str, profiles: Iterable[str]) -> str:
    """Return a hint with the most similar name, if there is one, and all names."""
    return f"{did_you_mean(name, profiles)} known providers: {', '.join(sorted(profiles))}".lstrip()


def get_provider_by_model(model: str) -> Provider:
    """Return the provider that serves `model`, with the key of its environment variable.

        provider = get_provider_by_model("gpt-4o-mini")

    That is a profile of the configuration file whose `models` has the name, or the local provider for its own model,
    else OpenAI for its models and fine-tunes, else Parasail. Raises ConfigError if the configuration file is invalid.
    """
    from .config import load

    settings = load()
    for name in settings.profiles:  # those of the file, in its order, and the local one
        if (name in settings.own or name == "local") and settings.profiles[name].serves(model):
            return with_key(settings.profiles[name])
    return get_provider_by_name("openai" if is_openai_model(model) else "parasail")


def get_provider_by_base_url(base_url: str) -> Provider:
    """Return the provider whose base URL this is (a str or a URL object), or a new one if no known provider has it.

        provider = get_provider_by_base_url("https://api.openai.com/v1")

    As in 0.3.4 it has no key from the environment. Raises ConfigError if the configuration file is invalid.
    """
    from .config import load

    for profile in load().profiles.values():
        if profile.is_at(str(base_url)):
            return dataclasses.replace(profile)
    return Provider(base_url=str(base_url))


def with_key(profile: Provider) -> Provider:
    """Return a copy of `profile`. If it has no key, the copy has that of its environment variable, as in 0.3.4."""
    return dataclasses.replace(profile, api_key=profile.api_key or key_from_environment(profile.api_key_env_var))


def default_provider() -> str | None:
    """Return the name of the default provider, or None.

    Raises UnknownProviderError, which names the variable, if there is no provider of that name.
    """
    from .config import load

    settings = load()
    name = settings.default_provider
    if name is not None and name not in settings.profiles:
        message = f"{settings.default_origin} names {name!r}, and there is no such provider"
        raise UnknownProviderError(message, hint=_known_names(name, settings.profiles))
    return name


def pick_provider(name: str | None, model: str | None) -> Provider:
    """Return the provider called `name`, else the configuration file's default, else the one that serves `model`.

    Raises UnknownProviderError if there is no such provider, UsageError if all three are missing.
    """
    chosen = name or default_provider()
    if chosen:
        return get_provider_by_name(chosen)
    if model:
        return get_provider_by_model(model)
    raise UsageError("which provider?", hint="name it with -p; `obatch providers` shows them")
